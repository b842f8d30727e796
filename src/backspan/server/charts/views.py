"""What people and programs are shown of the charts. Numbers of events are exposure and events where it is a rate."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any

from sqlalchemy import Connection

from backspan.rules import series
from backspan.rules.spec import Chart, Limit
from backspan.server.charts import canary
from backspan.server.charts.book import ChartBook
from backspan.server.charts.detector import Detector, subgroup
from backspan.server.charts.evidence import false_alarm_every, finite, whole
from backspan.server.charts.meter import cohort_key, cohort_of, known_partitions, parent_key
from backspan.server.charts.session import DAY, effective
from backspan.spc import burn, pchart, uchart
from backspan.spc.phases import Cohort
from backspan.spc.points import Limits
from backspan.spc.shiryaev import Model
from backspan.store import charts

Json = dict[str, Any]


def overview(conn: Connection, book: ChartBook, now: float) -> Json:
    """Every chart, canary and limit of the spec, evaluated here or not."""
    clocks = charts.list_clocks(conn)
    return {
        "charts": [summary(conn, book, chart, clocks.get(chart.name), now) for chart in book.charts.values()],
        "canaries": [{**canary.standing(one), "raises": book.raised[one.name]} for one in book.spec.canaries],
        "limits": [_limit(limit) for limit in book.spec.limits],
    }


def detail(conn: Connection, book: ChartBook, chart: Chart, now: float) -> Json:
    """`summary` with the points of every cohort and the chart's alerts."""
    shown = summary(conn, book, chart, charts.list_clocks(conn).get(chart.name), now)
    names = {p.name: p for p in chart.partitions}
    for cohort in shown["cohorts"]:
        key = cohort_key(names[cohort["partition"]], cohort["labels"])
        cohort["points"] = [_point(chart.model, row) for row in charts.list_points(conn, chart.name, key) if row["n"]]
    shown["alerts"] = alerts(conn, chart.name)
    return shown


def summary(conn: Connection, book: ChartBook, chart: Chart, clock: Mapping[str, Any] | None, now: float) -> Json:
    """The chart and where each of its cohorts stands."""
    per_day = clock["per_day"] if clock else 0.0
    kind, reason = chart.drawn_as
    given = None if chart.baseline.learnt else chart.baseline.p0
    shown: Json = {
        "name": chart.name, "indicator": chart.indicator, "description": chart.watched.description,
        "evaluated": not book.why[chart.name], "why": book.why[chart.name],
        "raises": book.raised.get(chart.name, []), "kind": chart.watched.kind,
        "worse": "down" if chart.model.falls else "up", "centre": given, "baseline": chart.baseline.kind,
        "n_ref": chart.n_ref, "alternatives": list(chart.alternatives), "window": chart.window,
        "threshold": chart.limit_at(per_day), "promise": str(chart.promise),
        "false_alarm_every": false_alarm_every(chart, per_day), "volume": per_day if chart.promise.days else None,
        "severity": chart.severity, "owner": chart.owner, "runbook": chart.runbook,
        "subgroup": subgroup(given) if given else None, "drawn_as": kind, "reason": reason,
    }
    return {**shown, **_cohorts(conn, chart, clock, per_day, now)}


def alerts(conn: Connection, chart: str | None = None) -> list[Json]:
    """Alerts, newest first: what, how sure, since when, which cohort, how many, against which baseline."""
    return [alert(row) for row in charts.list_alerts(conn, chart)]


def alert(row: Mapping[str, Any]) -> Json:
    """One alert."""
    return {"id": row["id"], "alert": row["name"] or series.ALERT, "chart": row["chart"],
            "state": "firing" if row["cleared"] is None else "cleared",
            "cohort": cohort_of(row["cohort"]), "fired": row["fired"], "cleared": row["cleared"],
            "rating": row["rating"], **row["details"]}


# --- cohorts --------------------------------------------------------------------------------------------------------
def _cohorts(conn: Connection, chart: Chart, clock: Mapping[str, Any] | None, per_day: float, now: float) -> Json:
    overrides, known = charts.list_baselines(conn, chart.name), known_partitions(chart)
    found = [Detector.restore(chart, row["cohort"], row, effective(overrides.get((chart.name, row["cohort"]))))
             for row in charts.list_detectors(conn, chart.name)]
    lives = {one.key: one.life for one in found}
    own = {p.name for p in chart.partitions}
    shown: dict[bool, list[Json]] = {True: [], False: []}
    for one in found:
        partition = cohort_of(one.key)["partition"]
        if partition in known:
            parent = lives.get(parent_key(chart, one.key) or "")
            cohort = _standing(one, parent, chart.limit_at(per_day), clock)
            if chart.slo and partition in own:
                cohort["slo"] = _budget(conn, chart, one, now)
            shown[partition in own].append(cohort)
    return {"cohorts": shown[True], "parents": [
        {key: cohort[key] for key in ("partition", "labels", "phase", "p0", "phi", "learning")}
        for cohort in shown[False]]}


def _standing(one: Detector, parent: Cohort | None, limit: float, clock: Mapping[str, Any] | None) -> Json:
    life, base, (n, bad) = one.life, one.life.baseline(parent), one.window
    bounds = band(one.life.plan.model, base.p0, base.phi, n) if base and n else None
    return {
        **cohort_of(one.key), "phase": life.phase(base, limit), "ratings": whole(one.ratings), "bad": whole(one.bad),
        "rate": one.bad / one.ratings if one.ratings else None, "p0": base.p0 if base else None,
        "phi": base.phi if base else None, "baseline": base.phase if base else None, "n": whole(n),
        "window": {"start": clock["start"] if clock else None, "n": whole(n), "bad": whole(bad),
                   "rate": bad / n if n else None},
        "limits": _bounds(bounds), "statistic": finite(life.value), "threshold": limit, "alarm": one.alarm,
        "learning": None if life.frozen or life.plan.given else {
            "n": whole(life.learner.n), "windows": int(life.learner.windows), "of_n": life.plan.ratings,
            "of_windows": life.plan.windows},
        "rated_at": one.rated_at or None, "updated": one.updated,
    }


def _budget(conn: Connection, chart: Chart, one: Detector, now: float) -> Json | None:
    """The error budget over the closed windows of the period and the open one; None before the first event."""
    assert chart.slo is not None
    n, bad = charts.in_windows(conn, chart.name, one.key, now - chart.slo.period)
    n, bad = n + one.window[0], bad + one.window[1]
    if not n or chart.watched.kind != "share":
        return None
    budget = burn.budget(chart.slo.objective, n, min(bad, n))
    return {"objective": chart.slo.objective, "period_days": chart.slo.period / DAY, "n": whole(n), "bad": whole(bad),
            "allowed": budget.allowed, "remaining": budget.remaining,
            "burn_rate": burn.burn_rate(chart.slo.objective, n, min(bad, n))}


def band(model: Model, p0: float, phi: float, n: float) -> Limits:
    """Limits of ``n`` events around ``p0``, widened by the dispersion: of a p-chart, or of a u-chart."""
    if model.family == "poisson":
        return uchart.limits(p0, n, sigma_z=sqrt(phi))
    return pchart.limits(p0, n, sigma_z=sqrt(phi))


def _bounds(bounds: Limits | None) -> Json | None:
    return None if bounds is None else {"lower": bounds.lower, "centre": bounds.centre, "upper": bounds.upper}


def _point(model: Model, row: Mapping[str, Any]) -> Json:
    rate = row["bad"] / row["n"]
    bounds = band(model, row["p0"], row["phi"] or 1.0, row["n"]) if row["p0"] else None
    return {"number": row["number"], "n": whole(row["n"]), "bad": whole(row["bad"]), "rate": rate,
            "lower": bounds.lower if bounds else None, "centre": bounds.centre if bounds else None,
            "upper": bounds.upper if bounds else None, "out": bounds is not None and not bounds.holds(rate),
            "statistic": row["statistic"], "phase": row["phase"], "started": row["started"], "ended": row["ended"]}


# --- what else the spec names ---------------------------------------------------------------------------------------
def _limit(limit: Limit) -> Json:
    return {"name": limit.name, "indicator": limit.indicator, "above": limit.above, "lasting": limit.lasting,
            "severity": limit.severity, "owner": limit.owner, "runbook": limit.runbook, "evaluated": False,
            "raises": [], "why": "Prometheus only: the store keeps no gauges"}
