"""What may be kept of a turn: no content without its user's consent, and none of what was erased or withdrawn.

A turn whose own span says ``backspan.consent: [none]`` keeps numbers, ids and dimensions; so do its calls, whichever
process sends them and whatever comes first. A turn that says nothing about consent keeps its content: whoever must ask
first says ``none`` until the person has agreed. What a person took back stays away when the same spans are sent again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import Column, Connection, Float, Index, String, Table

from backspan.store.model import Call, Vote
from backspan.store.schema import calls, chunks, metadata, turns, upsert
from backspan.store.sealing import sealed

REFUSED = "none"
"""The purpose of whoever agrees to nothing."""

erased = Table(
    "erased", metadata, Column("rater", String, primary_key=True), Column("time", Float, nullable=False),
)
"""Tombstones: pseudonyms of erased persons, and when. What they say later is theirs to say, and not erased."""

erased_traces = Table(
    "erased_traces", metadata, Column("hash", String, primary_key=True), Column("time", Float, nullable=False),
    Index("erased_traces_time", "time"),
)
"""Traces of erased persons, as hashes, and when: a span that names nobody may come late. Kept as long as turns are."""

withdrawals = Table(
    "withdrawals", metadata, Column("rater", String, primary_key=True), Column("time", Float, nullable=False),
)
"""Pseudonyms of persons who took their consent back, and when. What they agree to later holds."""


def hash_of(trace_id: str) -> str:
    """A trace as it is noted when its person is erased: nothing leads from it to a trace that is not at hand."""
    return hashlib.sha256(trace_id.encode()).hexdigest()[:32]


def forget(conn: Connection, before: float, most: int) -> None:
    """Forget traces of erased persons that were noted ``before`` (Unix seconds), ``most`` at once."""
    old = sa.select(erased_traces.c.hash).where(erased_traces.c.time < before).limit(most)
    conn.execute(sa.delete(erased_traces).where(erased_traces.c.hash.in_(old)))


def refused(said: str) -> bool:
    """Tell whether the purposes ``said`` (comma-separated) are none at all."""
    return REFUSED in said.split(",")


def bare(row: Mapping[str, Any]) -> dict[str, Any]:
    """A call or a turn without content. Which documents it rests on, and how well they fit, stays."""
    given: list[Any] = row["documents"] or []
    known = [cast("dict[str, Any]", one) for one in given if isinstance(one, dict)]
    documents = [{name: one[name] for name in ("id", "score") if name in one} for one in known]
    return {**row, "query": "", "answer": "", "documents": documents, **({"messages": []} if "messages" in row else {})}


def full(row: Mapping[str, Any]) -> bool:
    """Tell whether a call or a turn has content."""
    said = row["query"] or row["answer"] or row.get("messages")
    return bool(said) or bare(row)["documents"] != (row["documents"] or [])


# --- on the way in --------------------------------------------------------------------------------------------------
def allowed(conn: Connection, received: Sequence[Call]) -> list[Call]:
    """The calls as they may be kept: without content where there is no consent, of nobody where she was erased."""
    users = {call.user_id for call in received if call.user_id}
    gone, back = (_times(conn, table, users) for table in (erased, withdrawals))
    late = _late(conn, {call.trace_id for call in received if not call.user_id})
    return [_allowed(call, gone.get(call.user_id) if call.user_id else late.get(call.trace_id), back.get(call.user_id))
            for call in received]


def _late(conn: Connection, traces: Iterable[str]) -> dict[str, float]:
    """When the persons of those of the traces that are noted were erased."""
    hashes = {hash_of(trace): trace for trace in traces}
    found: dict[str, float] = {}
    for part in chunks(sorted(hashes)):
        noted = conn.execute(sa.select(erased_traces).where(erased_traces.c.hash.in_(part)))
        found.update((hashes[row.hash], row.time) for row in noted)
    return found


def _allowed(call: Call, erased_at: float | None, withdrawn_at: float | None) -> Call:
    if erased_at is not None and call.started <= erased_at:
        return _bare(replace(call, user_id="", conversation_id="", join_key="", consent=REFUSED))
    if withdrawn_at is not None and call.started <= withdrawn_at:
        return _bare(replace(call, consent=REFUSED))
    return _bare(call) if refused(call.consent) else call


def _bare(call: Call) -> Call:
    return Call(**bare(vars(call)))


def living(conn: Connection, said: Sequence[Vote]) -> list[Vote]:
    """Without the votes that somebody gave before she was erased: a queue may bring them once more."""
    gone = _times(conn, erased, {vote.rater for vote in said if vote.rater})
    return [vote for vote in said if vote.rater is None or vote.time > gone.get(vote.rater, 0.0)]


def _times(conn: Connection, table: Table, people: Iterable[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in chunks(sorted(people)):
        found.update((row.rater, row.time) for row in conn.execute(sa.select(table).where(table.c.rater.in_(part))))
    return found


def silenced(conn: Connection, traces: Iterable[str]) -> set[str]:
    """Those of the traces with a turn that nobody agreed to: what retrievals in them found goes as well."""
    found: set[str] = set()
    for part in chunks(sorted(set(traces))):
        said = sa.select(turns.c.trace_id).where(turns.c.trace_id.in_(part), turns.c.consent == REFUSED)
        found.update(conn.execute(said).scalars())
    return found


def strip(conn: Connection, where: Any) -> int:
    """Take the content out of stored calls; returns of how many."""
    rows = [dict(row) for row in conn.execute(sa.select(calls).where(where)).mappings()]
    said = [row for row in rows if full(row)]
    upsert(conn, calls, [sealed("calls", bare(row)) for row in said])
    return len(said)
