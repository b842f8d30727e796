"""What the rules of implicit signals read and keep: turns that are due, what surrounds them, what was found of them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Connection, Float, Index, String, Table

from backspan.store.counters import SUM, Increments
from backspan.store.model import INFERENCE
from backspan.store.schema import BIG, JSON, calls, chunks, meta, metadata, turns, upsert, vote_log, votes

evidence = Table(
    "evidence", metadata,
    Column("turn_id", String, primary_key=True), Column("name", String, primary_key=True),
    Column("rule", BIG, nullable=False), Column("value", Float, nullable=False), Column("vote_id", String),
    Column("found", JSON), Column("time", Float, nullable=False),
    Index("evidence_time", "time"),
)
"""What a rule found of a turn: numbers and ids that it went by, no text."""

MOST_TURNS = 2000
"""Turns of the conversations, and of the users, that are looked at in one step."""
_CURSORS = "signals"
"""Key in `meta`."""
SETTLED = 5.0
"""Seconds after its last change that a turn is looked at."""

_COLUMNS = ("turn_id", "trace_id", "span_id", "conversation_id", "user_id", "response_id", "consent", "started",
            "ended", "outcome", "finish", "error", "query", "answer", "output_tokens", "model", "prompt_name",
            "prompt_version", "variant", "segment", "index_version", "environment", "service")
_TURNS = sa.select(*(turns.c[name] for name in _COLUMNS))
Row = Mapping[str, Any]


@dataclass
class Cursors:
    """How far the rules have read: turns by when they changed, votes by their number, turns by when they ended."""

    touched: float = 0.0
    touched_id: str = ""
    seq: int = 0
    ended: float = 0.0
    ended_id: str = ""


def cursors(conn: Connection) -> Cursors:
    """Where the rules left off."""
    found: dict[str, Any] | None = conn.execute(sa.select(meta.c.value).where(meta.c.key == _CURSORS)).scalar()
    return Cursors(**(found or {}))


def move(conn: Connection, to: Cursors) -> None:
    """Note how far the rules have read."""
    upsert(conn, meta, [{"key": _CURSORS, "value": vars(to)}])


def due(conn: Connection, at: Cursors, now: float, quiet: float, most: int) -> tuple[list[str], Cursors, bool]:
    """Turns to look at, how far that is, and whether there may be more: ``most`` of each kind.

    A turn is due when it or its votes changed, and again when it has been ``quiet`` seconds without a next one.
    """
    to, found = Cursors(**vars(at)), list[str]()
    changed = _page(conn, turns.c.touched, (at.touched, at.touched_id), now - SETTLED, most)
    rested = _page(conn, turns.c.ended, (at.ended, at.ended_id), now - quiet, most)
    judged = conn.execute(
        sa.select(vote_log.c.seq, votes.c.turn_id).join(votes, votes.c.id == vote_log.c.id)
        .where(vote_log.c.seq > at.seq).order_by(vote_log.c.seq).limit(most)).all()
    if changed:
        to.touched, to.touched_id = changed[-1]
    if rested:
        to.ended, to.ended_id = rested[-1]
    if judged:
        to.seq = judged[-1].seq
    found = [*(key for _, key in changed), *(row.turn_id for row in judged if row.turn_id), *(key for _, key in rested)]
    return list(dict.fromkeys(found)), to, max(len(changed), len(rested), len(judged)) >= most


def _page(conn: Connection, column: Any, after: tuple[float, str], until: float, most: int) -> list[tuple[float, str]]:
    later = sa.or_(column > after[0], sa.and_(column == after[0], turns.c.turn_id > after[1]))
    query = sa.select(column, turns.c.turn_id).where(later, column <= until).order_by(column, turns.c.turn_id)
    return [(row[0], row[1]) for row in conn.execute(query.limit(most))]


@dataclass
class Around:
    """Turns with all that the rules may look at.

    Attributes:
        turns: by id.
        conversations: their answered turns in order, by conversation id.
        of_users: turns in order, by user.
        messages: what models were asked in a turn, as canonical JSON, by turn id.
        votes: by turn id and name, live or not.
        evidence: by turn id and name.
    """

    turns: dict[str, Row] = field(default_factory=dict[str, Row])
    conversations: dict[str, list[Row]] = field(default_factory=dict[str, list[Row]])
    of_users: dict[str, list[Row]] = field(default_factory=dict[str, list[Row]])
    messages: dict[str, list[Any]] = field(default_factory=dict[str, list[Any]])
    votes: dict[str, dict[str, Row]] = field(default_factory=dict[str, dict[str, Row]])
    evidence: dict[str, dict[str, Row]] = field(default_factory=dict[str, dict[str, Row]])


def around(conn: Connection, ids: Sequence[str], reach: float) -> Around:
    """Load the turns ``ids``, their conversations, and what their users asked within ``reach`` seconds of them."""
    found = Around()
    wanted = _turns(conn, turns.c.turn_id, ids)
    found.turns = {row["turn_id"]: row for row in wanted}
    for row in _turns(conn, turns.c.conversation_id, _known(wanted, "conversation_id")):
        found.turns[row["turn_id"]] = row
        found.conversations.setdefault(row["conversation_id"], []).append(row)
    for row in _of_users(conn, wanted, reach):
        found.turns.setdefault(row["turn_id"], row)
        found.of_users.setdefault(row["user_id"], []).append(row)
    _load_judged(conn, found)
    return found


def _of_users(conn: Connection, wanted: Sequence[Row], reach: float) -> list[Row]:
    found: list[Row] = []
    for user in _known(wanted, "user_id"):
        theirs = [row for row in wanted if row["user_id"] == user]
        near = turns.c.started.between(min(row["started"] for row in theirs) - reach,
                                       max(row["ended"] for row in theirs) + reach)
        found += _turns(conn, turns.c.user_id, [user], near)
    return found


def _known(rows: Sequence[Row], name: str) -> list[str]:
    return sorted({row[name] for row in rows if row[name]})


def _turns(conn: Connection, column: Any, keys: Collection[str], *where: Any) -> list[Row]:
    found: list[Row] = []
    for part in chunks(list(keys)):
        query = _TURNS.where(column.in_(part), turns.c.answered.is_(True), *where)
        rows = conn.execute(query.order_by(turns.c.started.desc(), turns.c.turn_id.desc()).limit(MOST_TURNS)).mappings()
        found += [dict(row) for row in rows]
    return sorted(found, key=lambda row: (row["started"], row["turn_id"]))


def _load_judged(conn: Connection, found: Around) -> None:
    ids = list(found.turns)
    for part in chunks(ids):
        for row in conn.execute(sa.select(votes).where(votes.c.turn_id.in_(part))).mappings():
            found.votes.setdefault(row["turn_id"], {})[row["name"]] = dict(row)
        for row in conn.execute(sa.select(evidence).where(evidence.c.turn_id.in_(part))).mappings():
            found.evidence.setdefault(row["turn_id"], {})[row["name"]] = dict(row)


def load_messages(conn: Connection, found: Around, ids: Sequence[str]) -> None:
    """Read what models were asked in these turns: apart from the rest, because it may be long."""
    for part in chunks(sorted(set(ids) - found.messages.keys())):
        query = sa.select(calls.c.turn_id, calls.c.messages).where(
            calls.c.turn_id.in_(part), calls.c.operation.in_(sorted(INFERENCE))).order_by(calls.c.started)
        for key in part:
            found.messages[key] = []
        for row in conn.execute(query):
            if row.messages:
                found.messages[row.turn_id].append(row.messages)


# --- what was found -------------------------------------------------------------------------------------------------
def keep(conn: Connection, rows: Sequence[Row]) -> None:
    """Keep evidence."""
    upsert(conn, evidence, list(rows))


def drop(conn: Connection, keys: Sequence[tuple[str, str]]) -> None:
    """Forget evidence, by turn and name."""
    for turn_id, name in keys:
        conn.execute(sa.delete(evidence).where(evidence.c.turn_id == turn_id, evidence.c.name == name))


def forget(conn: Connection, before: float, most: int) -> int:
    """Forget the evidence of long ago, ``most`` rows of it; returns how many."""
    old = sa.select(evidence.c.turn_id, evidence.c.name).where(evidence.c.time < before).limit(most)
    keys = sa.tuple_(evidence.c.turn_id, evidence.c.name)
    return conn.execute(sa.delete(evidence).where(keys.in_(old))).rowcount


def emits(conn: Connection) -> bool:
    """Tell whether the server of this database sends feedback spans (`tell_emits`)."""
    return bool(conn.execute(sa.select(meta.c.value).where(meta.c.key == _EMITS)).scalar())


def tell_emits(conn: Connection, emits: bool) -> None:
    """Let workers know whether what they find must go to the outbox."""
    upsert(conn, meta, [{"key": _EMITS, "value": emits}])


_EMITS = "emits"


def observe(
    increments: Increments, metric: str, labels: Mapping[str, str], value: float, bounds: Sequence[float]
) -> None:
    """Record ``value`` in a histogram of ours: in its bucket (not cumulative), and in the sum."""
    place = bisect_left(bounds, value)
    increments.add(metric, {**labels, "le": repr(float(bounds[place])) if place < len(bounds) else "+Inf"})
    increments.add(metric, {**labels, "le": SUM}, value)
