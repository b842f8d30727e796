"""What was accepted and has still to be told to the back end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from backspan.store.reads import revisions
from backspan.store.schema import chunks, outbox


def waiting(conn: Connection, limit: int = 256) -> list[dict[str, Any]]:
    """The oldest revisions that were not emitted, as `reads.revisions` gives them."""
    seqs = conn.execute(
        sa.select(outbox.c.seq).where(outbox.c.emitted.is_(None)).order_by(outbox.c.seq).limit(limit)).scalars().all()
    return revisions(conn, seqs) if seqs else []


def backlog(conn: Connection) -> int:
    """Number of revisions that were not emitted."""
    query = sa.select(sa.func.count()).select_from(outbox).where(outbox.c.emitted.is_(None))
    return conn.execute(query).scalar_one()


def mark(conn: Connection, seqs: Sequence[int], now: float) -> None:
    """Note that the back end has taken these."""
    for part in chunks(list(seqs)):
        conn.execute(sa.update(outbox).where(outbox.c.seq.in_(part)).values(emitted=now))
