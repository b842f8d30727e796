"""State of the detectors, the points that are drawn and the alerts; written in the transaction of the votes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from backspan.store.schema import alerts, chunks, detectors, points, upsert, vote_log, votes


def load(conn: Connection, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Saved detectors by (chart, cohort), each with its newest point under ``point`` (None if there is none)."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for part in chunks(keys, 200):
        where = sa.tuple_(detectors.c.chart, detectors.c.cohort).in_(part)
        for row in conn.execute(sa.select(detectors).where(where)).mappings():
            found[row["chart"], row["cohort"]] = {**row, "point": _last_point(conn, row["chart"], row["cohort"])}
    return found


def list_detectors(conn: Connection, chart: str) -> list[dict[str, Any]]:
    """Saved detectors of a chart."""
    rows = conn.execute(sa.select(detectors).where(detectors.c.chart == chart).order_by(detectors.c.cohort))
    return [dict(row) for row in rows.mappings()]


def save(conn: Connection, rows: Sequence[Mapping[str, Any]], drawn: Sequence[Mapping[str, Any]]) -> None:
    """Save detectors and the points that changed."""
    upsert(conn, detectors, rows)
    upsert(conn, points, drawn)


def _last_point(conn: Connection, chart: str, cohort: str) -> dict[str, Any] | None:
    newest = sa.select(points).where(points.c.chart == chart, points.c.cohort == cohort)
    row = conn.execute(newest.order_by(points.c.number.desc()).limit(1)).mappings().first()
    return dict(row) if row is not None else None


def list_points(conn: Connection, chart: str, cohort: str, limit: int = 500) -> list[dict[str, Any]]:
    """The newest points of a cohort, oldest first."""
    newest = sa.select(points).where(points.c.chart == chart, points.c.cohort == cohort)
    rows = conn.execute(newest.order_by(points.c.number.desc()).limit(limit)).mappings().all()
    return [dict(row) for row in reversed(rows)]


def fire(conn: Connection, row: Mapping[str, Any]) -> None:
    """Store a new alert."""
    conn.execute(alerts.insert().values(**row, cleared=None))


def clear(conn: Connection, chart: str, cohort: str, now: float) -> None:
    """End the alert of a cohort."""
    conn.execute(sa.update(alerts).where(
        alerts.c.chart == chart, alerts.c.cohort == cohort, alerts.c.cleared.is_(None)).values(cleared=now))


def list_alerts(conn: Connection, limit: int = 100) -> list[dict[str, Any]]:
    """Alerts, newest first."""
    rows = conn.execute(sa.select(alerts).order_by(alerts.c.fired.desc(), alerts.c.id.desc()).limit(limit))
    return [dict(row) for row in rows.mappings()]


def newest_judged(conn: Connection, name: str, op: str, limit: int) -> list[tuple[dict[str, str], dict[str, Any]]]:
    """(dimensions, log row) of the newest counted revisions of ``name`` with ``op``."""
    query = sa.select(votes.c.dims.label("dims"), vote_log).join_from(
        vote_log, votes, vote_log.c.id == votes.c.id).where(
        vote_log.c.name == name, vote_log.c.op == op, vote_log.c.counted.is_(True))
    rows = conn.execute(query.order_by(vote_log.c.seq.desc()).limit(limit)).mappings()
    return [(row["dims"] or {}, dict(row)) for row in rows]
