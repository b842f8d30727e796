"""Outcomes: what became of the work that an answer was part of, told by the business, often days later.

An outcome names its answer by ids, or by a *join key* that the application declared for the turn. With ids it is a vote
at once. With a key it waits here until a turn of that key is known: the last one that ended before the outcome, else
the first one after it. Either way it is kept here as well, also where no model helped (``assisted`` false), because
reports compare the two.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Boolean, Column, Connection, Float, Index, String, Table

from backspan import semconv
from backspan.context import Target
from backspan.store.model import Vote
from backspan.store.schema import BIG, chunks, dumps, metadata, turns, upsert
from backspan.store.votes import Batch, put

outcomes = Table(
    "outcomes", metadata,
    Column("id", String, primary_key=True), Column("version", BIG, nullable=False),
    Column("name", String, nullable=False), Column("value", Float), Column("label", String),
    Column("polarity", String, nullable=False), Column("assisted", Boolean), Column("join_key", String),
    Column("waiting", Boolean, nullable=False), Column("vote_id", String),
    Column("trace_id", String), Column("span_id", String),
    Column("time", Float, nullable=False), Column("received", Float, nullable=False),
    Index("outcomes_waiting", "waiting", "join_key"), Index("outcomes_time", "time"),
    Index("outcomes_vote", "vote_id"),
)
"""One row per outcome as it stands. ``waiting``: no turn with its key is known yet. ``vote_id``: the vote it became."""

MOST_AT_ONCE = 500
"""Waiting outcomes that are looked at in one transaction."""
Identify = Callable[[Target, str, "str | None"], str]


@dataclass(frozen=True)
class Outcome:
    """One outcome. ``time``: Unix seconds when it came about. ``assisted``: None where nobody said."""

    id: str
    name: str
    polarity: str
    time: float
    value: float | None = None
    label: str | None = None
    assisted: bool | None = None
    join_key: str | None = None
    vote: Vote | None = None
    """The vote that it is, where it names its answer by ids."""


@dataclass(frozen=True)
class Noted:
    """What became of an outcome: ``add``, ``change`` or ``unchanged``, and the votes to be stored for it."""

    id: str
    status: str
    waiting: bool
    votes: Sequence[Vote]


def outcome_id(given: str | None, subject: str, name: str) -> str:
    """32 hex digits: of the id that the teller gave, else of what it is about and its name."""
    return hashlib.sha256(dumps([given or subject, name]).encode()).hexdigest()[:32]


def note(conn: Connection, received: Sequence[Outcome], identify: Identify, now: float) -> list[Noted]:
    """Keep outcomes, in order; the votes that come of them still have to be stored."""
    rows = _known(conn, [one.id for one in received])
    before = dict(rows)
    there = _turns_of(conn, sorted({one.join_key for one in received if one.join_key is not None}))
    noted: list[Noted] = []
    for one in received:
        stood = rows.get(one.id)
        status = _status(stood, one)
        row = _row(stood, one, now) if stood is None or status != semconv.UNCHANGED else dict(stood)
        _place(row, there, identify)
        rows[one.id] = row
        noted.append(Noted(one.id, status, row["waiting"], _votes(conn, rows, stood, one)))
    upsert(conn, outcomes, [row for key, row in rows.items() if row != before.get(key)])
    return noted


def resolve(conn: Connection, identify: Identify) -> list[Vote]:
    """Give outcomes that wait the turns that have come since; the votes of those that are settled now."""
    of_key = sa.exists().where(turns.c.join_key == outcomes.c.join_key, turns.c.answered.is_(True))
    due = sa.select(outcomes).where(outcomes.c.waiting.is_(True), of_key).order_by(outcomes.c.id).limit(MOST_AT_ONCE)
    rows = [dict(row) for row in conn.execute(due).mappings()]
    if not rows:
        return []
    there = _turns_of(conn, sorted({row["join_key"] for row in rows}))
    for row in rows:
        _place(row, there, identify)
    upsert(conn, outcomes, rows)
    return [_vote_of(row) for row in rows if not row["waiting"]]


def accept(batch: Batch, received: Sequence[Outcome], identify: Identify) -> list[Noted]:
    """Keep outcomes, and store the votes that they are."""
    noted = note(batch.conn, received, identify, batch.now)
    put(batch, [[vote] for one in noted for vote in one.votes])
    return noted


def settle(batch: Batch, identify: Identify) -> None:
    """`resolve`, and store the votes."""
    put(batch, [[vote] for vote in resolve(batch.conn, identify)])


def forget(conn: Connection, before: float, most: int) -> int:
    """Forget outcomes that were told before ``before``, ``most`` of them; returns how many."""
    old = sa.select(outcomes.c.id).where(outcomes.c.time < before, outcomes.c.received < before).limit(most)
    return conn.execute(sa.delete(outcomes).where(outcomes.c.id.in_(old))).rowcount


def _known(conn: Connection, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for part in chunks(sorted(set(ids))):
        for row in conn.execute(sa.select(outcomes).where(outcomes.c.id.in_(part))).mappings():
            found[row["id"]] = dict(row)
    return found


_SAID = ("name", "value", "label", "polarity", "assisted", "join_key")


def _status(before: Mapping[str, Any] | None, one: Outcome) -> str:
    if before is None:
        return semconv.ADD
    same = all(before[name] == getattr(one, name) for name in _SAID)
    same = same and (one.vote is None or before["vote_id"] == one.vote.id)
    return semconv.UNCHANGED if same else semconv.CHANGE


def _row(before: Mapping[str, Any] | None, one: Outcome, now: float) -> dict[str, Any]:
    """The row of an outcome: with another join key it looks for its turn anew, else it keeps the one it has.

    Work that no model helped with judges none.
    """
    vote = one.vote
    place: dict[str, Any] = {"vote_id": vote and vote.id, "trace_id": vote and vote.trace_id,
                             "span_id": vote and vote.span_id}
    alone = one.assisted is False
    if before is not None and vote is None and not alone and before["join_key"] == one.join_key:
        place = {name: before[name] for name in place}
    joined = one.join_key is not None and not alone
    return {
        "id": one.id, "version": before["version"] + 1 if before is not None else 1,
        **{name: getattr(one, name) for name in _SAID}, **place, "waiting": joined and place["vote_id"] is None,
        "time": one.time, "received": now,
    }


def _place(row: dict[str, Any], there: Mapping[str, list[Mapping[Any, Any]]], identify: Identify) -> None:
    """Give an outcome that waits its turn, if that is among those that are ``there``."""
    turns = there.get(row["join_key"], []) if row["waiting"] else []
    if turns:
        before = [turn for turn in turns if turn["ended"] <= row["time"]]
        turn = before[-1] if before else turns[0]
        target = Target(trace_id=turn["trace_id"], span_id=turn["span_id"])
        row.update(waiting=False, trace_id=target.trace_id, span_id=target.span_id,
                   vote_id=identify(target, row["name"], None))


def _turns_of(conn: Connection, keys: Sequence[str]) -> dict[str, list[Mapping[Any, Any]]]:
    """Answered turns by join key, in the order in which they ended."""
    found: dict[str, list[Mapping[Any, Any]]] = {}
    for part in chunks(keys):
        query = sa.select(turns.c.join_key, turns.c.trace_id, turns.c.span_id, turns.c.ended).where(
            turns.c.join_key.in_(part), turns.c.answered.is_(True))
        for turn in conn.execute(query.order_by(turns.c.ended, turns.c.turn_id)).mappings():
            found.setdefault(turn["join_key"], []).append(turn)
    return found


def _votes(
    conn: Connection, rows: Mapping[str, Mapping[str, Any]], stood: Mapping[str, Any] | None, one: Outcome
) -> list[Vote]:
    """The votes that come of an outcome: what it was is taken back where it has moved, and it is what it is now."""
    row, found = rows[one.id], list[Vote]()
    if stood is not None and stood["vote_id"] not in (None, row["vote_id"]):
        found.append(_left(conn, rows, stood, row["time"]))
    if row["vote_id"] is not None and row != stood:
        found.append(one.vote or _vote_of(row))
    return found


def _left(conn: Connection, rows: Mapping[str, Mapping[str, Any]], stood: Mapping[str, Any], time: float) -> Vote:
    """What the vote is that an outcome has left: none, or that of another outcome of the same name on that answer."""
    others: list[Mapping[Any, Any]] = [row for row in rows.values() if row["vote_id"] == stood["vote_id"]]
    stored = sa.select(outcomes).where(outcomes.c.vote_id == stood["vote_id"], outcomes.c.id.not_in(list(rows)))
    others += list(conn.execute(stored.order_by(outcomes.c.received.desc(), outcomes.c.id).limit(1)).mappings())
    return _vote_of(others[0]) if others else replace(_vote_of(stood), time=time, retract=True)


def _vote_of(row: Mapping[Any, Any]) -> Vote:
    return Vote(
        id=row["vote_id"], name=row["name"], time=row["time"], value=row["value"], label=row["label"],
        polarity=row["polarity"], source=semconv.OUTCOME, trace_id=row["trace_id"], span_id=row["span_id"])
