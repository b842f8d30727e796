"""State of the detectors, their windows, counts, baselines and points, and the alerts.

What the charts write, they write in the transaction of the events that are the cause.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from backspan.store.schema import alerts, baselines, chunks, clocks, detectors, drawn, totals, upsert, windows

Row = dict[str, Any]
Key = tuple[str, str]
"""(chart, cohort)."""


# --- detectors ------------------------------------------------------------------------------------------------------
def load(conn: Connection, keys: Sequence[Key]) -> dict[Key, Row]:
    """Saved detectors by (chart, cohort)."""
    found: dict[Key, Row] = {}
    for part in chunks(keys, 200):
        where = sa.tuple_(detectors.c.chart, detectors.c.cohort).in_(part)
        for row in conn.execute(sa.select(detectors).where(where)).mappings():
            found[row["chart"], row["cohort"]] = dict(row)
    return found


def list_detectors(conn: Connection, chart: str) -> list[Row]:
    """Saved detectors of a chart, parents too."""
    rows = conn.execute(sa.select(detectors).where(detectors.c.chart == chart).order_by(detectors.c.cohort))
    return [dict(row) for row in rows.mappings()]


def save(conn: Connection, rows: Sequence[Mapping[str, Any]], points: Sequence[Mapping[str, Any]]) -> None:
    """Save detectors and the points that changed."""
    upsert(conn, detectors, rows)
    upsert(conn, drawn, points)


def forget(conn: Connection, chart: str, before: float) -> None:
    """Drop the cohorts of a chart that nothing was counted for since ``before``, and what was drawn of them."""
    old = list(conn.execute(sa.select(detectors.c.cohort).where(
        detectors.c.chart == chart, detectors.c.updated < before)).scalars())
    for part in chunks(old):
        for table in (detectors, drawn, totals):
            conn.execute(sa.delete(table).where(table.c.chart == chart, table.c.cohort.in_(part)))


def list_points(conn: Connection, chart: str, cohort: str, limit: int = 500) -> list[Row]:
    """The newest points of a cohort, oldest first."""
    newest = sa.select(drawn).where(drawn.c.chart == chart, drawn.c.cohort == cohort)
    rows = conn.execute(newest.order_by(drawn.c.number.desc()).limit(limit)).mappings().all()
    return [dict(row) for row in reversed(rows)]


# --- windows --------------------------------------------------------------------------------------------------------
def list_clocks(conn: Connection) -> dict[str, Row]:
    """The open window of each chart that has counted anything."""
    return {row["chart"]: dict(row) for row in conn.execute(sa.select(clocks)).mappings()}


def save_clocks(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Save open windows."""
    upsert(conn, clocks, rows)


def add_windows(conn: Connection, rows: Sequence[Mapping[str, Any]], before: float) -> None:
    """Keep what closed windows of one chart held, and drop those that started before ``before``."""
    if rows:
        upsert(conn, windows, rows)
        old = sa.delete(windows).where(windows.c.chart == rows[0]["chart"], windows.c.start < before)
        conn.execute(old)


def in_windows(conn: Connection, chart: str, cohorts: str, since: float) -> tuple[float, float]:
    """(n, bad) of the closed windows from ``since`` on, summed over the cohorts whose key begins with ``cohorts``."""
    total = sa.select(*(sa.func.coalesce(sa.func.sum(windows.c[name]), 0.0).label(name) for name in ("n", "bad")))
    where = (windows.c.chart == chart, windows.c.start >= since, windows.c.cohort.startswith(cohorts, autoescape=True))
    found = conn.execute(total.where(*where)).mappings().one()
    return float(found["n"]), float(found["bad"])


# --- counts so far --------------------------------------------------------------------------------------------------
def add_totals(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Keep what cohorts had counted at the end of an interval."""
    upsert(conn, totals, rows)


_TOTAL_AT = sa.select(totals.c.n, totals.c.bad).where(
    totals.c.chart == sa.bindparam("chart"), totals.c.cohort == sa.bindparam("cohort"),
    totals.c.at <= sa.bindparam("then"),
).order_by(totals.c.at.desc()).limit(1)
"""Made once: building a statement costs more than running it, and this one is run often."""


def total_at(conn: Connection, chart: str, cohort: str, then: float) -> tuple[float, float]:
    """(n, bad) that a cohort had counted ``then``; (0, 0) before the first."""
    row = conn.execute(_TOTAL_AT, {"chart": chart, "cohort": cohort, "then": then}).first()
    return (row.n, row.bad) if row is not None else (0.0, 0.0)


def list_totals(conn: Connection, chart: str, cohort: str, since: float) -> list[tuple[float, float, float]]:
    """(time, n, bad) of a cohort from ``since`` on, oldest first."""
    query = sa.select(totals.c.at, totals.c.n, totals.c.bad).where(
        totals.c.chart == chart, totals.c.cohort == cohort, totals.c.at >= since)
    return [(row.at, row.n, row.bad) for row in conn.execute(query.order_by(totals.c.at))]


def drop_totals(conn: Connection, chart: str, cohort: str) -> None:
    """Forget what a cohort had counted."""
    conn.execute(sa.delete(totals).where(totals.c.chart == chart, totals.c.cohort == cohort))


def forget_totals(conn: Connection, chart: str, before: float) -> None:
    """Forget what no window that begins at ``before`` or later needs: all but the newest until then."""
    newest = totals.alias()
    needed = sa.select(sa.func.max(newest.c.at)).where(
        newest.c.chart == totals.c.chart, newest.c.cohort == totals.c.cohort, newest.c.at <= before)
    conn.execute(sa.delete(totals).where(totals.c.chart == chart, totals.c.at < needed.scalar_subquery()))


# --- baselines ------------------------------------------------------------------------------------------------------
def list_baselines(conn: Connection, chart: str | None = None) -> dict[Key, Row]:
    """Baselines that a person set, by (chart, cohort); all of them, or a chart's."""
    query = sa.select(baselines).order_by(baselines.c.chart, baselines.c.cohort)
    rows = conn.execute(query if chart is None else query.where(baselines.c.chart == chart)).mappings()
    return {(row["chart"], row["cohort"]): dict(row) for row in rows}


def save_baselines(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Set baselines; those of other cohorts stay."""
    upsert(conn, baselines, rows)


# --- alerts ---------------------------------------------------------------------------------------------------------
def fire(conn: Connection, row: Mapping[str, Any]) -> int:
    """Store a new alert; its id."""
    return int(conn.execute(alerts.insert().values(**row, cleared=None).returning(alerts.c.id)).scalar_one())


def clear(conn: Connection, chart: str, cohort: str, now: float) -> None:
    """End the alarm of a cohort."""
    conn.execute(sa.update(alerts).where(
        alerts.c.chart == chart, alerts.c.cohort == cohort, alerts.c.name == "", alerts.c.cleared.is_(None),
    ).values(cleared=now))


def open_alerts(conn: Connection) -> list[Key]:
    """(chart, cohort) of the alarms that fire."""
    rows = conn.execute(
        sa.select(alerts.c.chart, alerts.c.cohort).where(alerts.c.cleared.is_(None), alerts.c.name == ""))
    return [(row.chart, row.cohort) for row in rows]


def held_alerts(conn: Connection) -> list[Row]:
    """The other alerts that fire, oldest first."""
    query = sa.select(alerts).where(alerts.c.cleared.is_(None), alerts.c.name != "")
    return [dict(row) for row in conn.execute(query.order_by(alerts.c.id)).mappings()]


def hold(conn: Connection, id: int, until: float | None) -> None:
    """Say when a held alert ends; None: not yet."""
    conn.execute(sa.update(alerts).where(alerts.c.id == id).values(until=until))


def end(conn: Connection, id: int, time: float) -> None:
    """End one alert."""
    conn.execute(sa.update(alerts).where(alerts.c.id == id).values(cleared=time))


def list_alerts(conn: Connection, chart: str | None = None, limit: int = 100) -> list[Row]:
    """Alerts, newest first."""
    newest = sa.select(alerts).order_by(alerts.c.fired.desc(), alerts.c.id.desc()).limit(limit)
    rows = conn.execute(newest if chart is None else newest.where(alerts.c.chart == chart))
    return [dict(row) for row in rows.mappings()]


def get_alert(conn: Connection, id: int) -> Row | None:
    """One alert, or None."""
    row = conn.execute(sa.select(alerts).where(alerts.c.id == id)).mappings().first()
    return None if row is None else dict(row)
