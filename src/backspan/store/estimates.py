"""What implicit signals say of turns, as one number each, and the votes that it is measured against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Connection, Float, Index, String, Table

from backspan import semconv
from backspan.store.guards import held
from backspan.store.model import LIVE
from backspan.store.schema import BIG, chunks, meta, metadata, turns, upsert, votes

estimates = Table(
    "estimates", metadata,
    Column("turn_id", String, primary_key=True), Column("value", Float, nullable=False),
    Column("weights", String, nullable=False), Column("signals", BIG, nullable=False),
    Column("ended", Float, nullable=False), Column("time", Float, nullable=False),
    Index("estimates_ended", "ended"),
)
"""One row per turn: the estimate, the version of the weights, and how many signals there were."""

_CURSOR, _AUC = "estimates", "satisfaction_auc"
"""Keys in `meta`."""
Row = Mapping[str, Any]


def due(conn: Connection, until: float, most: int) -> tuple[list[Row], tuple[float, str] | None]:
    """Answered turns that ended until ``until`` and have no estimate yet, oldest first, and where to go on from."""
    at: Any = conn.execute(sa.select(meta.c.value).where(meta.c.key == _CURSOR)).scalar() or (0.0, "")
    later = sa.or_(turns.c.ended > at[0], sa.and_(turns.c.ended == at[0], turns.c.turn_id > at[1]))
    query = sa.select(turns).where(later, turns.c.ended <= until).order_by(turns.c.ended, turns.c.turn_id).limit(most)
    rows: list[Row] = [dict(row) for row in conn.execute(query).mappings()]
    known = _known(conn, [row["turn_id"] for row in rows])
    left = [row for row in rows if row["answered"] and row["turn_id"] not in known]
    return left, (rows[-1]["ended"], rows[-1]["turn_id"]) if rows else None


def _known(conn: Connection, ids: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for part in chunks(ids):
        found.update(conn.execute(sa.select(estimates.c.turn_id).where(estimates.c.turn_id.in_(part))).scalars())
    return found


def keep(conn: Connection, rows: Sequence[Row], at: tuple[float, str]) -> None:
    """Keep estimates, and how far turns were read."""
    upsert(conn, estimates, list(rows))
    upsert(conn, meta, [{"key": _CURSOR, "value": list(at)}])


def forget(conn: Connection, before: float, most: int) -> int:
    """Forget estimates of turns that ended before ``before``, ``most`` of them; returns how many."""
    old = sa.select(estimates.c.turn_id).where(estimates.c.ended < before).limit(most)
    return conn.execute(sa.delete(estimates).where(estimates.c.turn_id.in_(old))).rowcount


def signals_of(conn: Connection, ids: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """The standing signals of turns, as (name, polarity), by turn."""
    found: dict[str, list[tuple[str, str]]] = {}
    for part in chunks(list(ids)):
        query = sa.select(votes.c.turn_id, votes.c.name, votes.c.polarity).where(
            votes.c.turn_id.in_(part), votes.c.source == semconv.IMPLICIT, votes.c.op.in_(LIVE))
        for turn_id, name, polarity in conn.execute(query):
            found.setdefault(turn_id, []).append((name, polarity))
    return found


def judged(conn: Connection, since: float, vote: str, most: int) -> list[Row]:
    """Votes since ``since`` on turns that are stored, newest first: turn_id, polarity, consent."""
    query = sa.select(votes.c.turn_id, votes.c.polarity, turns.c.consent).join(
        turns, turns.c.turn_id == votes.c.turn_id).where(
        votes.c.name == vote, votes.c.source == semconv.END_USER, votes.c.op.in_(LIVE), votes.c.time >= since,
        votes.c.polarity.in_((semconv.POSITIVE, semconv.NEGATIVE)), ~held(votes.c.id))
    return [dict(row) for row in conn.execute(query.order_by(votes.c.time.desc(), votes.c.id).limit(most)).mappings()]


def ranked(conn: Connection, weights: str, since: float, vote: str, most: int) -> list[tuple[float, bool]]:
    """Estimates by one version of the weights with the votes on the same turns: (estimate, good)."""
    query = sa.select(estimates.c.value, votes.c.polarity).join(votes, votes.c.turn_id == estimates.c.turn_id).where(
        estimates.c.weights == weights, estimates.c.ended >= since, votes.c.name == vote, votes.c.op.in_(LIVE),
        votes.c.source == semconv.END_USER, votes.c.polarity.in_((semconv.POSITIVE, semconv.NEGATIVE)),
        ~held(votes.c.id))
    rows = conn.execute(query.order_by(estimates.c.ended.desc(), votes.c.id).limit(most))
    return [(value, polarity == semconv.POSITIVE) for value, polarity in rows]


def tell_auc(conn: Connection, weights: str, found: Row | None, now: float) -> None:
    """Note how well the estimates ranked, for `/metrics`; ``found`` None: too few to say."""
    upsert(conn, meta, [{"key": _AUC, "value": {"weights": weights, "time": now, "auc": found}}])


def told_auc(conn: Connection) -> Row | None:
    """What `tell_auc` noted last: ``weights``, ``time`` and ``auc``."""
    return conn.execute(sa.select(meta.c.value).where(meta.c.key == _AUC)).scalar()
