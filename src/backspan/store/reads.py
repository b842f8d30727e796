"""Named filters over turns and feedback. There is no query language here: this is not a trace database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from backspan import semconv
from backspan.context import Target
from backspan.store import guards
from backspan.store.model import LIVE
from backspan.store.schema import calls, turns, vote_log, votes

MOST = 500
"""Rows in one answer."""


class BadCursor(ValueError):
    """The cursor was not made by `cursor_of`."""


def cursor_of(row: Mapping[str, Any], time: str, key: str) -> str:
    """Where the next page starts."""
    return f"{row[time]!r}~{row[key]}"


def _after(cursor: str | None, time: Any, key: Any) -> list[Any]:
    if not cursor:
        return []
    at, _, id = cursor.partition("~")
    try:
        moment = float(at)
    except ValueError as error:
        raise BadCursor("not a cursor of this server") from error
    return [sa.or_(time < moment, sa.and_(time == moment, key > id))]


def list_turns(
    conn: Connection, *, trace_id: str | None = None, turn_id: str | None = None, session: str | None = None,
    prompt_version: str | None = None, model: str | None = None, polarity: str | None = None,
    since: float | None = None, limit: int = 50, cursor: str | None = None,
) -> tuple[list[dict[str, Any]], str | None]:
    """Turns, newest first, each with its standing feedback, and the cursor of the next page (None at the end)."""
    asked = ((turns.c.trace_id, trace_id), (turns.c.turn_id, turn_id), (turns.c.conversation_id, session),
             (turns.c.prompt_version, prompt_version), (turns.c.model, model))
    where = [column == value for column, value in asked if value is not None]
    where += _after(cursor, turns.c.started, turns.c.turn_id)
    if since is not None:
        where.append(turns.c.started >= since)
    if polarity is not None:
        where.append(sa.exists().where(votes.c.turn_id == turns.c.turn_id, votes.c.polarity == polarity,
                                       votes.c.op.in_(LIVE)))
    order = sa.select(turns).where(*where).order_by(turns.c.started.desc(), turns.c.turn_id)
    rows = [_turn(row) for row in conn.execute(order.limit(limit + 1)).mappings()]
    found = _feedback_of(conn, [row["turn_id"] for row in rows[:limit]])
    for row in rows:
        row["feedback"] = found.get(row["turn_id"], [])
    return rows[:limit], cursor_of(rows[limit - 1], "started", "turn_id") if len(rows) > limit else None


def _turn(row: Mapping[Any, Any]) -> dict[str, Any]:
    hidden = ("counted", "touched", "rooted", "answered")
    return {name: value for name, value in row.items() if name not in hidden}


def _feedback_of(conn: Connection, ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    standing = sa.select(votes).where(votes.c.turn_id.in_(ids), votes.c.op.in_(LIVE)).order_by(votes.c.time)
    for row in conn.execute(standing).mappings():
        found.setdefault(row["turn_id"], []).append(feedback_row(row))
    return found


def feedback_row(row: Mapping[Any, Any]) -> dict[str, Any]:
    """One vote as the API shows it."""
    shown = {name: value for name, value in row.items() if name not in ("received", "op", "said")}
    return {**shown, "status": row["op"]}


def get_turn(conn: Connection, turn_id: str) -> dict[str, Any] | None:
    """One turn with its calls, its documents and all that was said about it.

    Retrievals of the same trace that name no turn are shown with it, as are judgements of spans that are not stored.
    """
    row = conn.execute(sa.select(turns).where(turns.c.turn_id == turn_id)).mappings().first()
    if row is None:
        return None
    turn = _turn(row)
    loose = sa.and_(calls.c.trace_id == turn["trace_id"], calls.c.turn_id == "",
                    calls.c.operation == semconv.RETRIEVAL)
    members = conn.execute(
        sa.select(calls).where(sa.or_(calls.c.turn_id == turn_id, loose)).order_by(calls.c.started, calls.c.span_id)
    ).mappings()
    turn["calls"] = [dict(call) for call in members]
    turn["documents"] = [document for call in turn["calls"] for document in call["documents"] or ()]
    said = sa.or_(votes.c.turn_id == turn_id,
                  sa.and_(votes.c.turn_id.is_(None), votes.c.trace_id == turn["trace_id"]))
    turn["feedback"] = _weighed(
        conn, conn.execute(sa.select(votes).where(said).order_by(votes.c.time)).mappings().all())
    return turn


def _weighed(conn: Connection, rows: Sequence[Mapping[Any, Any]]) -> list[dict[str, Any]]:
    """Votes as the API shows them, with ``trust`` and, if they are held, the rule that holds them (``held``)."""
    rules = guards.rules_of(conn, [row["id"] for row in rows])
    return [{**feedback_row(row), "trust": guards.trust_of(row), "held": rules.get(row["id"])} for row in rows]


def list_feedback(
    conn: Connection, *, id: str | None = None, trace_id: str | None = None, span_id: str | None = None,
    turn_id: str | None = None, response_id: str | None = None, conversation_id: str | None = None,
    name: str | None = None, polarity: str | None = None, since: float | None = None, limit: int = 50,
    cursor: str | None = None,
) -> tuple[list[dict[str, Any]], str | None]:
    """Votes as they stand (retracted ones too), newest first, and the cursor of the next page."""
    asked = ((votes.c.id, id), (votes.c.trace_id, trace_id), (votes.c.span_id, span_id), (votes.c.turn_id, turn_id),
             (votes.c.response_id, response_id), (votes.c.conversation_id, conversation_id), (votes.c.name, name),
             (votes.c.polarity, polarity))
    where = [column == value for column, value in asked if value is not None]
    where += _after(cursor, votes.c.time, votes.c.id)
    if since is not None:
        where.append(votes.c.time >= since)
    order = sa.select(votes).where(*where).order_by(votes.c.time.desc(), votes.c.id)
    rows = [dict(row) for row in conn.execute(order.limit(limit + 1)).mappings()]
    shown = _weighed(conn, rows[:limit])
    return shown, cursor_of(rows[limit - 1], "time", "id") if len(rows) > limit else None


def standing(conn: Connection, target: Target, rater: str | None) -> list[dict[str, Any]]:
    """What stands of one rater's judgements of one target."""
    if target.trace_id is not None:
        where = [votes.c.trace_id == target.trace_id, votes.c.span_id == target.span_id]
    elif target.response_id is not None:
        where = [votes.c.response_id == target.response_id]
    else:
        where = [votes.c.conversation_id == target.conversation_id, votes.c.trace_id.is_(None)]
    mine = sa.select(votes).where(*where, votes.c.rater.is_not_distinct_from(rater), votes.c.op.in_(LIVE))
    return [feedback_row(row) for row in conn.execute(mine.order_by(votes.c.name)).mappings()]


def revisions(conn: Connection, seqs: Sequence[int]) -> list[dict[str, Any]]:
    """Log rows by their number, each with the state of its vote (``vote``) and the revision before it (``before``)."""
    rows = conn.execute(sa.select(vote_log).where(vote_log.c.seq.in_(seqs)).order_by(vote_log.c.seq)).mappings().all()
    ids = sorted({row["id"] for row in rows})
    states = {row["id"]: dict(row) for row in conn.execute(sa.select(votes).where(votes.c.id.in_(ids))).mappings()}
    changed = sorted({row["id"] for row in rows if row["version"] > 1})
    logged = conn.execute(sa.select(vote_log).where(vote_log.c.id.in_(changed))).mappings() if changed else ()
    log = {(row["id"], row["version"]): dict(row) for row in logged}
    return [
        {**row, "vote": states[row["id"]], "before": log.get((row["id"], row["version"] - 1))}
        for row in rows if row["id"] in states
    ]


def revisions_of(conn: Connection, id: str) -> list[dict[str, Any]]:
    """All revisions of one vote, oldest first."""
    rows = conn.execute(sa.select(vote_log).where(vote_log.c.id == id).order_by(vote_log.c.version)).mappings()
    return [{name: value for name, value in row.items() if name not in ("digest", "counted")} for row in rows]


def counts(conn: Connection) -> dict[str, int]:
    """How much is stored."""
    return {table.name: conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in (turns, calls, votes, vote_log)}
