"""Votes: the state of each key, the append-only log, and what each revision adds to the counters.

Rules (order of arrival never matters):

- A first vote counts as ``add``, a new value as ``change``.
- A ``change`` and a ``retract`` take away the value before: it counts as ``retract`` under the labels it was counted
  under, as soon as both revisions are known.
- Nothing is counted before the label dimensions are known: they come with a token, or from the judged turn when its own
  span and that of its model are there (what the caller says of them wins). If they are not there `GRACE_SECONDS` after
  the vote, the unknown ones are empty. The first count freezes them for the vote's life, so that what is added and what
  is taken away meet in the same series.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from backspan.store import turns as turn_table
from backspan.store.batch import MOST_REVISIONS, TOO_MANY, Batch
from backspan.store.model import Receipt, Vote
from backspan.store.policy import Policy
from backspan.store.schema import calls, chunks, vote_log, votes

__all__ = ["GRACE_SECONDS", "MOST_REVISIONS", "TOO_MANY", "Batch", "Policy", "expire", "pack", "put", "settle",
           "unpack"]

GRACE_SECONDS = 10.0
"""How long a vote that names only ids waits for its turn before it is counted without dimensions."""


def put(batch: Batch, received: Sequence[Sequence[Vote]]) -> list[list[Receipt]]:
    """Apply groups of votes in order; returns a receipt for each."""
    flat = [vote for group in received for vote in group]
    batch.load(vote.id for vote in flat)
    unknown = [vote for vote in flat if not (batch.states.get(vote.id) or {}).get("turn_id")]
    found = turn_table.find(
        batch.conn, ((vote.trace_id or "", vote.span_id or "") for vote in unknown if vote.trace_id),
        (vote.response_id for vote in unknown if vote.response_id and not vote.trace_id))
    return [[batch.accept(vote, _match(found, vote)) for vote in group] for group in received]


def _match(found: Mapping[Any, turn_table.Found], vote: Vote) -> turn_table.Found | None:
    return found.get((vote.trace_id, vote.span_id)) if vote.trace_id else found.get(vote.response_id)


def settle(batch: Batch, traces: Iterable[str]) -> None:
    """Give votes that wait for their turn what arrived for it, in ``traces``."""
    open_votes: list[dict[str, Any]] = []
    for part in chunks(sorted(set(traces))):
        answers = sa.select(calls.c.response_id).where(calls.c.trace_id.in_(part), calls.c.response_id != "")
        for of_them in (votes.c.trace_id.in_(part), votes.c.response_id.in_(answers)):
            waiting = sa.select(votes).where(sa.or_(votes.c.turn_id.is_(None), votes.c.dims.is_(None)), of_them)
            open_votes += map(dict, batch.conn.execute(waiting).mappings())
    if not open_votes:
        return
    batch.load(row["id"] for row in open_votes)
    for row, match in _matched(batch, open_votes):
        batch.resolve(row["id"], match)
        if match.whole:
            batch.freeze(row["id"], match.dims)
        batch.count(row["id"])


def _matched(
    batch: Batch, open_votes: Sequence[Mapping[str, Any]]
) -> list[tuple[Mapping[str, Any], turn_table.Found]]:
    """Votes whose turn is known, each with it, in the order in which they came."""
    found = turn_table.find(
        batch.conn, ((row["trace_id"], row["span_id"]) for row in open_votes if row["trace_id"]),
        (row["response_id"] for row in open_votes if row["response_id"] and not row["trace_id"]))
    matches = ((row, found.get((row["trace_id"], row["span_id"])) if row["trace_id"] else found.get(row["response_id"]))
               for row in sorted(open_votes, key=lambda row: (row["received"], row["id"])))
    return [(row, match) for row, match in matches if match is not None]


def expire(batch: Batch) -> None:
    """Count votes whose turn did not come in time, or not whole, by what is known of it."""
    late = sa.select(vote_log.c.id).where(
        vote_log.c.counted.is_(False), vote_log.c.received <= batch.now - GRACE_SECONDS)
    ids = list(dict.fromkeys(batch.conn.execute(late.order_by(vote_log.c.seq).limit(1000)).scalars()))
    batch.load(ids)
    for row, match in _matched(batch, [batch.states[key] for key in ids]):
        batch.resolve(row["id"], match)
        batch.freeze(row["id"], match.dims)
    for key in ids:
        batch.freeze(key, {})
        batch.count(key)


def pack(receipts: list[Receipt]) -> list[dict[str, Any]]:
    """Receipts as JSON."""
    return [asdict(receipt) for receipt in receipts]


def unpack(stored: list[dict[str, Any]]) -> list[Receipt]:
    """What `pack` was given."""
    return [Receipt(**row) for row in stored]
