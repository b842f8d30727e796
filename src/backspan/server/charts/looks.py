"""The alerts of a chart that are looked at in every interval: a budget that burns, and judgements that stay away.

The conditions are those of the generated rules (`backspan.rules.slo_oracle`, `backspan.rules.alert`). Windows slide:
what they hold is what was counted so far less what had been counted when they began.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection

from backspan.rules import alert, series, slo
from backspan.rules.slo_oracle import fires, lengths
from backspan.rules.spec import Chart, Slo
from backspan.server.charts.detector import Detector
from backspan.server.charts.evidence import held, whole
from backspan.server.charts.meter import cohort_of
from backspan.server.charts.register import Case, Register, Said
from backspan.spc.burn import Counts, burn_rate, trips, windows
from backspan.spc.phases import Effective
from backspan.store import charts

Watched = Sequence[tuple[Detector, Effective | None]]
"""Cohorts, each with the baseline in effect."""
_Then = Callable[[float], tuple[float, float]]
_FEW = 20
"""Looks made up at once for which the past is read row by row."""


def reach(chart: Chart) -> int:
    """Seconds of the longest window that is looked at; 0 if nothing is."""
    silence = chart.window if alert.about_silence(chart) else 0
    return max(silence, *(lengths(chart.slo) if chart.slo else [0]))


def names(chart: Chart) -> list[str]:
    """Names of all alerts that a chart raises."""
    found = [series.ALERT, *([series.ALERT_MISSING] if alert.about_silence(chart) else [])]
    found += [series.ALERT_SHIFT] if chart.tickets else []
    return [*found, slo.ALERT] if chart.slo else found


def look(register: Register, chart: Chart, cohorts: Watched, first: float, last: float) -> list[Detector]:
    """Look at every interval's end from ``first`` to ``last``; the cohorts that have counted since the look before."""
    changed = [one for one, _ in cohorts if one.noted != (one.ratings, one.bad)]
    for one in changed:
        one.noted = (one.ratings, one.bad)
    charts.add_totals(register.conn, [
        {"chart": chart.name, "cohort": one.key, "at": first, "n": one.ratings, "bad": one.bad} for one in changed])
    few = last - first <= _FEW * register.interval
    recent = [(one, base, _past(register.conn, chart, one, first, few)) for one, base in cohorts
              if one.rated_at + register.interval > first - reach(chart)]
    at = first
    while at <= last and (recent or register.fires(chart.name)):
        if alert.about_silence(chart):
            silent = {(one.key, ""): said for one, base, then in recent if (said := _silent(one, base, then, at))}
            register.settle(series.ALERT_MISSING, chart.name, at, alert.MISSING_HOLD, silent)
        if chart.slo:
            burning = {case: said for one, base, then in recent for case, said in _burning(one, base, then, at).items()}
            register.settle(slo.ALERT, chart.name, at, slo.HOLD, burning)
        at += register.interval
    return changed


def _past(conn: Connection, chart: Chart, one: Detector, first: float, few: bool) -> _Then:
    """What a cohort had counted at a given time."""
    if few:
        return partial(charts.total_at, conn, chart.name, one.key)
    since = first - reach(chart)
    rows = [(since, *charts.total_at(conn, chart.name, one.key, since)),
            *charts.list_totals(conn, chart.name, one.key, since)]
    times = [row[0] for row in rows]

    def then(time: float) -> tuple[float, float]:
        return rows[max(bisect_right(times, time) - 1, 0)][1:]

    return then


def _since(one: Detector, then: _Then, time: float) -> tuple[float, float]:
    n, bad = then(time)
    return max(one.ratings - n, 0.0), max(one.bad - bad, 0.0)


# --- judgements that stay away --------------------------------------------------------------------------------------
def _silent(one: Detector, base: Effective | None, then: _Then, at: float) -> Said | None:
    chart = one.chart
    n, bad = _since(one, then, at - chart.window)
    if base is None or not alert.silent(base, n, bad):
        return None
    return lambda: held(one, base, chart.severity, n * base.p0, alert.SILENCE, at - chart.window,
                        window=chart.window, window_n=whole(n), window_bad=whole(bad))


# --- the budget -----------------------------------------------------------------------------------------------------
def _burning(one: Detector, base: Effective | None, then: _Then, at: float) -> dict[Case, Said]:
    chart, goal = one.chart, one.chart.slo
    if goal is None or cohort_of(one.key)["partition"] not in {p.name for p in slo.partitions(chart)}:
        return {}
    counts = {seconds: Counts(n, min(bad, n)) for seconds in lengths(goal)
              for n, bad in [_since(one, then, at - seconds)]}
    return {(one.key, speed): partial(_burn, one, base, goal, counts, speed, at)
            for speed in slo.severities(goal) if fires(goal, counts, speed)}


def _burn(
    one: Detector, base: Effective | None, goal: Slo, counts: Mapping[int, Counts], speed: str, at: float
) -> dict[str, Any]:
    """What it says: the burn rate of the widest windows that tripped."""
    rates = {seconds: burn_rate(goal.objective, count.n, count.bad) for seconds, count in counts.items()}
    tripped = [line for line in windows(goal.period) if line.severity == speed
               and trips(line, goal.objective, counts[line.long], counts[line.short])]
    line = tripped[-1]
    return held(
        one, base, slo.severities(goal)[speed], rates[line.long], line.factor, at - line.long,
        objective=goal.objective, period_days=goal.period / 86400,
        windows=[{"seconds": seconds, "n": whole(count.n), "bad": whole(count.bad), "burn_rate": rates[seconds]}
                 for seconds, count in counts.items()])
