"""Questions that were passed over: each counts once, and is no vote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Connection, Float, Index, String, Table

from backspan import semconv
from backspan.store import turns
from backspan.store.counters import Increments
from backspan.store.labels import OVERFLOW, Labels, Pairs
from backspan.store.model import full_dims
from backspan.store.schema import insert, metadata

skips = Table(
    "skips", metadata,
    Column("id", String, primary_key=True), Column("name", String, nullable=False), Column("rater", String),
    Column("received", Float, nullable=False), Index("skips_received", "received"),
)
"""One row per answer, question and person; ``id`` is made like a vote's."""

STATUS = "skip"


def note(
    conn: Connection, id: str, name: str, rater: str | None, span: tuple[str | None, str | None],
    dims: Mapping[str, str], now: float, labels: Labels,
) -> bool:
    """Count a skip, unless it was counted before; tells whether it was new.

    ``span`` is the judged one, if it is known: what ``dims`` leave open is taken from its turn. ``labels`` says how
    many values are kept apart.
    """
    fresh: Any = insert(conn.dialect.name, skips).values(id=id, name=name, rater=rater, received=now)
    made = fresh.on_conflict_do_nothing(index_elements=["id"])
    if conn.execute(made, execution_options={"preserve_rowcount": True}).rowcount != 1:
        return False
    place = (span[0] or "", span[1] or "")
    found = turns.find(conn, [place] if span[0] else [], []).get(place)
    known = full_dims({**(found.dims if found is not None else {}), **dims})
    _count(conn, labels.of(conn, ((semconv.LABEL_NAME, name), *known.items()), now))
    return True


def _count(conn: Connection, counted: Pairs) -> None:
    increments = Increments()
    increments.add(semconv.PROM_FEEDBACK_SKIPS, dict(counted))
    for label, value in counted:
        if value == OVERFLOW:
            increments.add(semconv.PROM_LABEL_OVERFLOW, {semconv.LABEL_LABEL: label})
    increments.write(conn)


def forget(conn: Connection, before: float, most: int) -> int:
    """Forget skips that came before a Unix second; at most so many."""
    old = sa.select(skips.c.id).where(skips.c.received < before).order_by(skips.c.received).limit(most)
    return conn.execute(sa.delete(skips).where(skips.c.id.in_(old))).rowcount
