"""The rolling window: what is too old, or too much, is forgotten. Counters are never touched.

A worker does it (`backspan.loop.worker`), or the server itself while no worker holds the lease. What the last worker
was told stands for both: a worker that is away for an hour must not cost what it was told to keep.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from math import ceil
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from backspan.store import asking, consent, guards, leases, skips
from backspan.store.schema import alerts, calls, meta, outbox, turns, upsert, vote_log, votes

DAY = 86400.0
LEASE = "retention"
"""Name of the lease of whoever forgets."""
STEP = 2000
"""Rows of one table that are forgotten in one transaction, and pages that are given back."""
_VOTES = 4
"""A vote has about this many rows: itself, its revisions, their places in the outbox."""
_TOLD = "retention"
"""Key in `meta`."""


@dataclass(frozen=True)
class Retention:
    """Ages in seconds and size of the database file in bytes; None keeps everything.

    Attributes:
        turns: of turns and their calls, since they ended.
        votes: of votes and their revisions, since the last one came. One that the back end has not taken stays.
        size: of the file (SQLite only); past it the oldest turns go.
        alerts: of alerts that have ended, since they fired.
    """

    turns: float | None = 7 * DAY
    votes: float | None = 7 * DAY
    size: int | None = 1_000_000_000
    alerts: float | None = None


@dataclass(frozen=True)
class Removed:
    """What was forgotten, in rows, and how many pages the file gave back; ``more``: there may be more to forget."""

    turns: int = 0
    calls: int = 0
    votes: int = 0
    alerts: int = 0
    pages: int = 0
    more: bool = False


def apply(conn: Connection, keep: Retention, now: float, step: int = STEP) -> Removed:
    """Forget what is past its age, and the oldest turns of a file that is too big; about ``step`` rows at a time."""
    gone: dict[str, int] = dict.fromkeys(("turns", "calls", "votes", "alerts", "pages"), 0)
    if keep.turns is not None:
        gone["turns"] = _delete(conn, turns, turns.c.ended < now - keep.turns, turns.c.ended, step)
        gone["calls"] = _delete(conn, calls, calls.c.ended < now - keep.turns, calls.c.ended, step)
        consent.forget(conn, now - keep.turns, step)
    if keep.votes is not None:
        gone["votes"] = _delete_votes(conn, now - keep.votes, max(1, step // _VOTES))
        skips.forget(conn, now - keep.votes, step)
        asking.forget(conn, now - keep.votes, step)
    if keep.alerts is not None:
        ended = sa.and_(alerts.c.cleared.is_not(None), alerts.c.fired < now - keep.alerts)
        gone["alerts"] = _delete(conn, alerts, ended, alerts.c.fired, step)
    more = max(gone["turns"], gone["calls"], gone["votes"] * _VOTES, gone["alerts"]) >= step
    if keep.size is not None and conn.dialect.name == "sqlite":
        for name, number in _shrink(conn, keep.size, step).items():
            gone[name] += number
            more = more or number > 0
    return Removed(**gone, more=more)


def _delete(conn: Connection, table: sa.Table, where: Any, time: Any, most: int) -> int:
    keys = tuple(table.primary_key)
    old = sa.select(*keys).where(where).order_by(time).limit(most)
    return conn.execute(sa.delete(table).where(sa.tuple_(*keys).in_(old))).rowcount


def _delete_votes(conn: Connection, before: float, most: int) -> int:
    """Votes are found by their revisions, which have an index on when they came; a look at every vote would stop all
    writing for as long as it takes."""
    waiting = sa.select(vote_log.c.id).join(outbox, outbox.c.seq == vote_log.c.seq).where(outbox.c.emitted.is_(None))
    old_ones = sa.select(votes.c.id).distinct().join(vote_log, vote_log.c.id == votes.c.id).where(
        vote_log.c.counted.is_(True), vote_log.c.received < before, votes.c.received < before,
        votes.c.id.not_in(waiting))
    old = list(conn.execute(old_ones.limit(most)).scalars())
    if old:
        seqs = sa.select(vote_log.c.seq).where(vote_log.c.id.in_(old))
        conn.execute(sa.delete(outbox).where(outbox.c.seq.in_(seqs)))
        conn.execute(sa.delete(vote_log).where(vote_log.c.id.in_(old)))
        conn.execute(sa.delete(guards.flags).where(guards.flags.c.id.in_(old)))
        conn.execute(sa.delete(votes).where(votes.c.id.in_(old)))
    return len(old)


def used(conn: Connection) -> int:
    """Bytes of an SQLite file that hold data."""
    pages, free, size = (conn.exec_driver_sql(f"PRAGMA {name}").scalar_one()
                         for name in ("page_count", "freelist_count", "page_size"))
    return (pages - free) * size


def _shrink(conn: Connection, limit: int, step: int) -> dict[str, int]:
    size, gone = used(conn), dict[str, int]()
    if size > limit:
        count = conn.execute(sa.select(sa.func.count()).select_from(turns)).scalar_one()
        surplus = min(step, ceil(count * (size - limit) / size))
        oldest = sa.select(turns.c.ended).order_by(turns.c.ended).offset(max(0, surplus - 1)).limit(1)
        before = conn.execute(oldest).scalar()
        if before is not None:
            gone["calls"] = conn.execute(sa.delete(calls).where(calls.c.ended <= before)).rowcount
            gone["turns"] = conn.execute(sa.delete(turns).where(turns.c.ended <= before)).rowcount
    free = _free(conn)
    for _ in range(min(step, free)):
        conn.exec_driver_sql("PRAGMA incremental_vacuum(1)")  # the driver takes one step, which is one page
    return {**gone, "pages": free - _free(conn)}


def _free(conn: Connection) -> int:
    return conn.exec_driver_sql("PRAGMA freelist_count").scalar_one()


# --- who does it ----------------------------------------------------------------------------------------------------
def tell(conn: Connection, keep: Retention) -> None:
    """Note what a worker was told, for servers that do its work while it is away."""
    upsert(conn, meta, [{"key": _TOLD, "value": asdict(keep)}])


def told(conn: Connection) -> Retention | None:
    """What the last worker was told; None if there was never one."""
    found: dict[str, Any] | None = conn.execute(sa.select(meta.c.value).where(meta.c.key == _TOLD)).scalar()
    if found is None:
        return None
    known = {field.name for field in fields(Retention)}
    return Retention(**{name: value for name, value in found.items() if name in known})


def stand_in(conn: Connection, own: Retention, now: float) -> Removed | None:
    """The worker's work by a server, while no worker holds the lease (else None). ``own`` holds if none was told."""
    if leases.holder_of(conn, LEASE, now) is not None:
        return None
    return apply(conn, told(conn) or own, now)
