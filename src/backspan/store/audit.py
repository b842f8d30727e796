"""Who did what to the stored feedback, and when: erasures, holds. Rows are added, and never changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Connection, Float, Index, String, Table

from backspan.store.schema import BIG, JSON, metadata

audit = Table(
    "audit", metadata,
    Column("seq", BIG, primary_key=True, autoincrement=False), Column("time", Float, nullable=False),
    Column("who", String, nullable=False), Column("what", String, nullable=False), Column("details", JSON),
    Index("audit_time", "time"),
)
"""``who`` is a user of the operating system, or ``api``; ``details`` holds counts and pseudonyms, never texts."""


def note(conn: Connection, who: str, what: str, details: Mapping[str, Any], now: float) -> None:
    """Add a row."""
    last = conn.execute(sa.select(sa.func.max(audit.c.seq))).scalar() or 0
    conn.execute(sa.insert(audit).values(seq=last + 1, time=now, who=who, what=what, details=dict(details)))


def entries(conn: Connection, limit: int = 100) -> list[dict[str, Any]]:
    """The newest rows first."""
    return [dict(row) for row in conn.execute(sa.select(audit).order_by(audit.c.seq.desc()).limit(limit)).mappings()]
