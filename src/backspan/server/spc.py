"""The charts of the spec, evaluated rating by rating in commit order, inside the transaction that stores the rating.

So an alarm happens at a rating number that depends on the ratings alone, and a restart goes on where it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf, log
from typing import Any

from sqlalchemy import Connection

from backspan import semconv
from backspan.rules.spec import Chart, Partition, Spec
from backspan.spc.pchart import limits
from backspan.spc.shiryaev import CAP_ABOVE_LIMIT, MixtureSR, alternative_rate, log_likelihood_ratio
from backspan.store import Event, charts

_POOL = 500
"""Fewest ratings in which the guilty dimension is looked for."""
_SIGNIFICANT = 10.83
"""Chi-square with one degree of freedom at 0.1 %."""


def subgroup(p0: float) -> int:
    """Ratings in one point of the p-chart: enough for five bad ones at the accepted rate (Montgomery, chapter 7)."""
    return min(500, max(20, ceil(5 / p0)))


def cohort_key(partition: Partition, event: Event) -> str:
    """Canonical name of a cohort: its partition and the values of its keys."""
    said = {key: event.get(key) for key in partition.by}
    return json.dumps([partition.name, said], sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@dataclass
class Detector:
    """One cohort of one chart, as it runs."""

    chart: Chart
    cohort: str
    sr: MixtureSR
    ratings: int = 0
    bad: int = 0
    alarm: bool = False
    cusum: float = 0.0
    onset: int = 0
    """Rating after which a CUSUM for half as much again last stood at zero: the estimate of when it began."""
    onset_time: float = 0.0
    point: dict[str, Any] | None = None

    @classmethod
    def restore(cls, chart: Chart, cohort: str, row: Mapping[str, Any] | None) -> Detector:
        """The detector as saved; a new one if it was not, or if the chart's alternatives have changed since."""
        if row is None or len(row["state"]["sr"]) != len(chart.alternatives):
            return cls(chart, cohort, chart.detector())
        state = row["state"]
        sr = MixtureSR.from_state(state["sr"], chart.baseline.p0, chart.alternatives, chart.n_ref, chart.cap)
        return cls(chart, cohort, sr, row["ratings"], row["bad"], state["alarm"], state["cusum"], state["onset"],
                   state["onset_time"], row["point"])

    def saved(self, now: float) -> dict[str, Any]:
        """The row to save."""
        state = {"sr": list(self.sr.state), "alarm": self.alarm, "cusum": self.cusum, "onset": self.onset,
                 "onset_time": self.onset_time}
        return {"chart": self.chart.name, "cohort": self.cohort, "state": state, "ratings": self.ratings,
                "bad": self.bad, "updated": now}

    def step(self, bad: bool, time: float) -> str:
        """Take one rating; returns ``fire``, ``clear`` or ``""``."""
        self.ratings += 1
        self.bad += bad
        value = self.sr.step(1, int(bad))
        self._follow(bad, time)
        self._draw(bad, time, value)
        if not self.alarm and value >= self.chart.limit:
            self.alarm = True
            return "fire"
        if self.alarm and value < self.chart.limit - CAP_ABOVE_LIMIT:
            self.alarm = False
            return "clear"
        return ""

    def _follow(self, bad: bool, time: float) -> None:
        p0 = self.chart.baseline.p0
        if self.cusum == 0.0:
            self.onset, self.onset_time = self.ratings, time
        self.cusum = max(0.0, self.cusum + log_likelihood_ratio(1, int(bad), p0, alternative_rate(p0, 1.5)))

    def _draw(self, bad: bool, time: float, value: float) -> None:
        number = (self.ratings - 1) // subgroup(self.chart.baseline.p0)
        if self.point is None or self.point["number"] != number:
            self.point = {"chart": self.chart.name, "cohort": self.cohort, "number": number, "n": 0, "bad": 0,
                          "statistic": value, "started": time, "ended": time}
        self.point = {**self.point, "n": self.point["n"] + 1, "bad": self.point["bad"] + bad, "statistic": value,
                      "ended": time}


class ChartBook:
    """All charts of a spec."""

    def __init__(self, spec: Spec) -> None:
        self.charts: dict[str, Chart] = {chart.name: chart for chart in spec.charts}

    # --- inside the writer's transaction ---
    def observe(self, conn: Connection, events: Sequence[Event]) -> None:
        """Feed the judgements of one transaction to the detectors; see `backspan.store.Store`, ``watch``."""
        steps = [(chart, cohort, event) for event in events for chart, cohort in self._cohorts(event)]
        if not steps:
            return
        rows = charts.load(conn, sorted({(chart.name, cohort) for chart, cohort, _ in steps}))
        running: dict[tuple[str, str], Detector] = {}
        drawn: dict[tuple[str, str, int], dict[str, Any]] = {}
        for chart, cohort, event in steps:
            key = (chart.name, cohort)
            if key not in running:
                running[key] = Detector.restore(chart, cohort, rows.get(key))
            detector = running[key]
            self._report(conn, detector, detector.step(_matches(event, chart.watched.bad), event.time), event)
            if detector.point is not None:
                drawn[(*key, detector.point["number"])] = detector.point
        saved = [detector.saved(events[-1].time) for detector in running.values()]
        charts.save(conn, saved, list(drawn.values()))

    def _cohorts(self, event: Event) -> Iterator[tuple[Chart, str]]:
        for chart in self.charts.values():
            if chart.watched.metric == semconv.PROM_FEEDBACK and _matches(event, chart.watched.where):
                for partition in chart.partitions:
                    yield chart, cohort_key(partition, event)

    def _report(self, conn: Connection, detector: Detector, change: str, event: Event) -> None:
        chart = detector.chart
        if change == "fire":
            charts.fire(conn, {"chart": chart.name, "cohort": detector.cohort, "fired": event.time,
                               "rating": detector.ratings, "details": _details(conn, detector)})
        elif change == "clear":
            charts.clear(conn, chart.name, detector.cohort, event.time)

    # --- for readers ---
    def summary(self, conn: Connection, chart: Chart) -> dict[str, Any]:
        """The chart and where each of its cohorts stands."""
        return {
            "name": chart.name, "indicator": chart.indicator, "description": chart.watched.description,
            "centre": chart.baseline.p0, "baseline": chart.baseline.kind, "n_ref": chart.n_ref,
            "alternatives": list(chart.alternatives), "threshold": chart.limit,
            "false_alarm_every": chart.false_alarm_every, "severity": chart.severity, "owner": chart.owner,
            "runbook": chart.runbook, "subgroup": subgroup(chart.baseline.p0),
            "cohorts": [_standing(chart, row) for row in charts.list_detectors(conn, chart.name)],
        }

    def summaries(self, conn: Connection) -> list[dict[str, Any]]:
        """`summary` of every chart."""
        return [self.summary(conn, chart) for chart in self.charts.values()]

    def detail(self, conn: Connection, chart: Chart) -> dict[str, Any]:
        """`summary` with the points of every cohort and the chart's alerts."""
        shown = self.summary(conn, chart)
        for cohort, row in zip(shown["cohorts"], charts.list_detectors(conn, chart.name), strict=True):
            cohort["points"] = [_point(chart, point) for point in charts.list_points(conn, chart.name, row["cohort"])]
        shown["alerts"] = [alert for alert in self.alerts(conn) if alert["chart"] == chart.name]
        return shown

    def alerts(self, conn: Connection) -> list[dict[str, Any]]:
        """Alerts, newest first: what, how sure, since when, which cohort, how many, against which baseline."""
        return [_alert(row) for row in charts.list_alerts(conn)]


def _matches(event: Event, wanted: Mapping[str, str]) -> bool:
    return all(event.get(key) == value for key, value in wanted.items())


def _cohort(key: str) -> dict[str, Any]:
    partition, labels = json.loads(key)
    return {"partition": partition, "labels": labels}


def _standing(chart: Chart, row: Mapping[str, Any]) -> dict[str, Any]:
    detector = Detector.restore(chart, row["cohort"], {**row, "point": None})
    value = detector.sr.value
    return {**_cohort(row["cohort"]), "ratings": row["ratings"], "bad": row["bad"],
            "rate": row["bad"] / row["ratings"], "statistic": None if value == -inf else value,
            "threshold": chart.limit, "alarm": detector.alarm, "updated": row["updated"]}


def _point(chart: Chart, row: Mapping[str, Any]) -> dict[str, Any]:
    bounds, rate = limits(chart.baseline.p0, row["n"]), row["bad"] / row["n"]
    return {"number": row["number"], "n": row["n"], "bad": row["bad"], "rate": rate, "lower": bounds.lower,
            "centre": bounds.centre, "upper": bounds.upper, "out": not bounds.holds(rate),
            "statistic": row["statistic"], "started": row["started"], "ended": row["ended"]}


def _alert(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": row["id"], "chart": row["chart"], "state": "firing" if row["cleared"] is None else "cleared",
            "cohort": _cohort(row["cohort"]), "fired": row["fired"], "cleared": row["cleared"],
            "rating": row["rating"], **row["details"]}


# --- what an alert says ---------------------------------------------------------------------------------------------
def _details(conn: Connection, detector: Detector) -> dict[str, Any]:
    chart = detector.chart
    since = detector.ratings - detector.onset + 1
    return {
        "severity": chart.severity, "runbook": chart.runbook, "owner": chart.owner,
        "statistic": detector.sr.value, "threshold": chart.limit, "false_alarm_every": chart.false_alarm_every,
        "baseline": chart.baseline.p0, "ratings": detector.ratings, "bad": detector.bad,
        "since_rating": detector.onset, "since": detector.onset_time, "guilty": _guilty(conn, detector, since),
    }


def _guilty(conn: Connection, detector: Detector, since: int) -> list[dict[str, Any]]:
    """Dimensions whose values differ in their share of bad ratings, worst value of each, most certain first.

    Looked for in the newest ratings, twice as many as since the onset, by the likelihood-ratio test of independence:
    a dimension with one value cannot say why it happened now.
    """
    watched, labels = detector.chart.watched, json.loads(detector.cohort)[1]
    pool = charts.newest_judged(conn, watched.where[semconv.LABEL_NAME], watched.where[semconv.LABEL_OP],
                                max(_POOL, 2 * since))
    mine = [(dims, row) for dims, row in pool if all(dims.get(key, "") == value for key, value in labels.items())]
    found: list[dict[str, Any]] = []
    for key in semconv.DIMENSIONS:
        table: dict[str, list[int]] = {}
        for dims, row in mine:
            cell = table.setdefault(dims.get(key, ""), [0, 0])
            cell[0] += 1
            cell[1] += all(row.get(name) == value for name, value in watched.bad.items())
        score = independence(table)
        if score >= _SIGNIFICANT:
            value, (n, bad) = max(table.items(), key=lambda item: (item[1][1] / item[1][0], item[1][0]))
            found.append({"key": key, "value": value, "n": n, "bad": bad, "rate": bad / n, "score": score})
    return sorted(found, key=lambda entry: -entry["score"])


def independence(table: Mapping[str, Sequence[int]]) -> float:
    """Likelihood-ratio statistic G of a table value -> (n, bad); 0 when every value has the same share of bad."""
    n, bad = sum(cell[0] for cell in table.values()), sum(cell[1] for cell in table.values())
    if not 0 < bad < n:
        return 0.0
    total = 0.0
    for cell_n, cell_bad in table.values():
        for seen, share in ((cell_bad, bad / n), (cell_n - cell_bad, 1 - bad / n)):
            total += seen * log(seen / (cell_n * share)) if seen else 0.0
    return 2.0 * total
