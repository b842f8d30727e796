"""The rolling window: what is too old, or too much, is forgotten. Counters are never touched."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from backspan.store.schema import calls, outbox, turns, vote_log, votes

DAY = 86400.0
_STEP = 2000


@dataclass(frozen=True)
class Retention:
    """Ages in seconds and size of the database file in bytes; None keeps everything."""

    turns: float | None = 7 * DAY
    votes: float | None = 7 * DAY
    size: int | None = 1_000_000_000


def apply(conn: Connection, keep: Retention, now: float) -> None:
    """Delete what is past its age, and the oldest turns of a file that is too big; a bounded number at a time."""
    if keep.turns is not None:
        _delete(conn, turns, turns.c.turn_id, turns.c.ended, now - keep.turns)
        _delete_calls(conn, now - keep.turns)
    if keep.votes is not None:
        _delete_votes(conn, now - keep.votes)
    if keep.size is not None and conn.dialect.name == "sqlite":
        _shrink(conn, keep.size)


def _delete(conn: Connection, table: sa.Table, key: Any, time: Any, before: float) -> None:
    old = sa.select(key).where(time < before).order_by(time).limit(_STEP)
    conn.execute(sa.delete(table).where(key.in_(old)))


def _delete_calls(conn: Connection, before: float) -> None:
    key = (calls.c.trace_id, calls.c.span_id)
    old = sa.select(*key).where(calls.c.ended < before).order_by(calls.c.ended).limit(_STEP)
    conn.execute(sa.delete(calls).where(sa.tuple_(*key).in_(old)))


def _delete_votes(conn: Connection, before: float) -> None:
    waiting = sa.select(vote_log.c.id).join(outbox, outbox.c.seq == vote_log.c.seq).where(outbox.c.emitted.is_(None))
    old = list(conn.execute(
        sa.select(votes.c.id).where(votes.c.received < before, votes.c.id.not_in(waiting)).limit(500)).scalars())
    if old:
        seqs = sa.select(vote_log.c.seq).where(vote_log.c.id.in_(old))
        conn.execute(sa.delete(outbox).where(outbox.c.seq.in_(seqs)))
        conn.execute(sa.delete(vote_log).where(vote_log.c.id.in_(old)))
        conn.execute(sa.delete(votes).where(votes.c.id.in_(old)))


def used(conn: Connection) -> int:
    """Bytes of an SQLite file that hold data."""
    pages, free, size = (conn.exec_driver_sql(f"PRAGMA {name}").scalar_one()
                         for name in ("page_count", "freelist_count", "page_size"))
    return (pages - free) * size


def _shrink(conn: Connection, limit: int) -> None:
    size = used(conn)
    if size > limit:
        count = conn.execute(sa.select(sa.func.count()).select_from(turns)).scalar_one()
        surplus = min(_STEP, ceil(count * (size - limit) / size))
        oldest = sa.select(turns.c.ended).order_by(turns.c.ended).offset(max(0, surplus - 1)).limit(1)
        before = conn.execute(oldest).scalar()
        if before is not None:
            conn.execute(sa.delete(calls).where(calls.c.ended <= before))
            conn.execute(sa.delete(turns).where(turns.c.ended <= before))
    for _ in range(min(_STEP, conn.exec_driver_sql("PRAGMA freelist_count").scalar_one())):
        conn.exec_driver_sql("PRAGMA incremental_vacuum(1)")  # the driver takes one step, which is one page
