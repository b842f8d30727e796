"""What was accepted and has still to be told to the back end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from backspan.store.reads import revisions
from backspan.store.schema import chunks, outbox

UNSENDABLE = -1.0
"""``emitted`` of a revision that cannot be told: it is not tried again."""


def waiting(conn: Connection, limit: int = 256) -> list[dict[str, Any]]:
    """The oldest revisions that were not emitted, as `reads.revisions` gives them."""
    seqs = conn.execute(
        sa.select(outbox.c.seq).where(outbox.c.emitted.is_(None)).order_by(outbox.c.seq).limit(limit)).scalars().all()
    return revisions(conn, seqs) if seqs else []


def backlog(conn: Connection) -> int:
    """Number of revisions that were not emitted."""
    query = sa.select(sa.func.count()).select_from(outbox).where(outbox.c.emitted.is_(None))
    return conn.execute(query).scalar_one()


def unsendable(conn: Connection) -> int:
    """Number of revisions that cannot be told."""
    return conn.execute(
        sa.select(sa.func.count()).select_from(outbox).where(outbox.c.emitted == UNSENDABLE)).scalar_one()


def mark(conn: Connection, seqs: Sequence[int], now: float) -> None:
    """Note that the back end has taken these, or with `UNSENDABLE` for ``now`` that it never will."""
    for part in chunks(list(seqs)):
        conn.execute(sa.update(outbox).where(outbox.c.seq.in_(part)).values(emitted=now))


def again(conn: Connection, since: float, before: float, limit: int = 5000) -> int:
    """Let revisions that the back end took from ``since`` until ``before`` (Unix seconds) wait once more.

    At most ``limit`` of them, the oldest first; returns how many. ``before`` keeps out what was sent again meanwhile.
    """
    taken = (outbox.c.emitted >= since, outbox.c.emitted < before)
    seqs = conn.execute(sa.select(outbox.c.seq).where(*taken).order_by(outbox.c.seq).limit(limit)).scalars().all()
    for part in chunks(seqs):
        conn.execute(sa.update(outbox).where(outbox.c.seq.in_(part)).values(emitted=None))
    return len(seqs)
