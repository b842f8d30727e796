"""The rules of an objective in Python: what they must record, given the events of each evaluation; and their test.

It sums events by their times and asks `backspan.spc.burn` for the rest. Nothing is shared with the PromQL generator.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from backspan import semconv
from backspan.rules import series, slo, stories
from backspan.rules._node import write_duration
from backspan.rules.indicators import matchers
from backspan.rules.spec import Chart, Slo, Spec
from backspan.spc.burn import Counts, budget, burn_rate, reachable, surprise, trips, windows

_Total = tuple[float, float, float]
"""Time, events and bad ones so far."""
_LOOKBACK_DELTA = 300
"""Seconds over which Prometheus takes a series' last sample for its value."""


@dataclass(frozen=True)
class Row:
    """What one cohort shows: counts by window (None: unknown), and what follows from them."""

    counts: Mapping[int, Counts | None]
    burn: Mapping[int, float | None]
    surprise: Mapping[int, float | None]
    budget_left: float | None
    page: bool
    ticket: bool


@dataclass
class Ledger:
    """One cohort's objective. Call `step` at every evaluation that takes place."""

    spec: Spec
    slo: Slo
    _totals: list[_Total] = field(default_factory=list[_Total])
    _kept: list[_Total] = field(default_factory=list[_Total])
    _born: float | None = None
    _rated_at: float = 0.0

    def step(self, at: float, n: float, bad: float) -> Row | None:
        """Take the events since the previous evaluation (``n`` may be 0). None while there is no cohort."""
        if self._born is not None and self._rated_at <= at - self.slo.period:
            self._born = None
        if self._born is None and not n:
            return None
        before = (0.0, 0.0) if self._born is None else self._before(at)
        if self._born is None:
            self._born = at
        self._rated_at = at if n else self._rated_at
        now = (at, before[0] + n, before[1] + bad)
        self._totals.append(now)
        if at % slo.KEEP_EVERY < self.spec.interval:
            self._kept.append(now)
        return self._row(at)

    def _before(self, at: float) -> tuple[float, float]:
        last = self._totals[-1]
        found = last if last[0] > at - self.spec.lookback else self._kept[-1] if self._kept else (0.0, 0.0, 0.0)
        return found[1], found[2]

    def _row(self, at: float) -> Row:
        read = lengths(self.slo)
        counts = {seconds: self._counts(at, seconds) for seconds in [*read, self.slo.period]}
        whole, goal = counts[self.slo.period], self.slo.objective
        burn = {s: burn_rate(goal, c.n, c.bad) if (c := counts[s]) and c.n else None for s in read}
        unlikely: dict[int, float | None] = {}
        for alert in windows(self.slo.period):
            c = counts[alert.long]
            over = c is not None and c.n > 0 and c.bad / c.n > self.slo.budget
            unlikely[alert.long] = surprise(c.n, c.bad, self.slo.budget) if c and over else None
        left = budget(goal, whole.n, whole.bad).remaining if whole and whole.n else None
        return Row(
            counts, burn, unlikely, left, fires(self.slo, counts, "page"), fires(self.slo, counts, "ticket"))

    def _counts(self, at: float, seconds: int) -> Counts | None:
        """Events after ``at - seconds``, as far as the totals of that time are known."""
        then, (_, n, bad) = at - seconds, self._totals[-1]
        if self._born is not None and self._born > then:
            return Counts(n, bad)
        reach = self.spec.lookback + slo.KEEP_EVERY
        past = _latest(self._totals, then, _LOOKBACK_DELTA) or _latest(self._kept, then, reach)
        return Counts(max(n - past[1], 0.0), max(bad - past[2], 0.0)) if past else None


def lengths(objective: Slo) -> list[int]:
    """Seconds of every window that an alert reads."""
    return sorted({seconds for alert in windows(objective.period) for seconds in (alert.long, alert.short)})


def fires(objective: Slo, counts: Mapping[int, Counts | None], severity: str) -> bool:
    """Tell whether a ``page`` or ``ticket`` line of the table trips; ``counts`` by window, None where not known."""
    goal = objective.objective
    return any(
        alert.severity == severity and reachable(alert, goal) and trips(alert, goal, long, short)
        for alert in windows(objective.period)
        if (long := counts[alert.long]) and (short := counts[alert.short])
    )


def _latest(totals: Sequence[_Total], then: float, reach: float) -> _Total | None:
    """What the totals were at ``then``, if that was recorded less than ``reach`` seconds before."""
    i = bisect_right(totals, then, key=lambda one: one[0]) - 1
    return totals[i] if i >= 0 and totals[i][0] > then - reach else None


# --- expectations ---------------------------------------------------------------------------------------------------
def expectations(chart: Chart, partition: str, labels: Mapping[str, str], row: Row | None, at: int
                 ) -> Iterable[dict[str, Any]]:
    """promtool's expectations of one cohort at one evaluation."""
    said = {series.CHART: chart.name, series.PARTITION: partition, **labels}

    def value(name: str, expected: float | None, **more: str) -> dict[str, Any]:
        return stories.equals(f"{name}{{{matchers({**said, **more})}}}", at, expected)

    if row is None:
        yield value(slo.BUDGET_LEFT, None)
        return
    yield value(slo.BUDGET_LEFT, row.budget_left)
    for seconds, counts in row.counts.items():
        window = write_duration(seconds)
        yield value(slo.SUM, counts.n if counts else None, window=window, stat="n")
        yield value(slo.SUM, counts.bad if counts else None, window=window, stat="bad")
    for name, by_window in ((slo.BURN, row.burn), (slo.SURPRISE, row.surprise)):
        for seconds, expected in by_window.items():
            yield value(name, expected, window=write_duration(seconds))


def alarms(chart: Chart, rows: Iterable[Row | None], at: int) -> Iterable[dict[str, Any]]:
    """promtool's expectations of how many cohorts page and open tickets, by the alerts' own conditions."""
    there = [row for row in rows if row is not None]
    for severity, fires in (("page", [row.page for row in there]), ("ticket", [row.ticket for row in there])):
        expr = slo.condition(chart, severity)
        if expr:
            yield stories.expect(f"count({' '.join(expr.split())}) or vector(0)", at, sum(fires))


# --- the shipped test -----------------------------------------------------------------------------------------------
_STEP, _STEPS = 120, 360
"""Seconds between the evaluations of the shipped story, and how many there are."""


def promtool_tests(spec: Spec, chart: Chart, rule_path: str) -> dict[str, Any] | None:
    """A promtool test file for the rules of `slo.rules`: twelve hours with one bad hour. None without an objective."""
    if chart.slo is None:
        return None
    labels = {semconv.PROM_SERVICE: "chat", semconv.PROM_ENVIRONMENT: "production"}
    n, bad = _story()
    return {
        "rule_files": [rule_path],
        "evaluation_interval": write_duration(_STEP),
        "tests": [{
            "name": "an hour in which every fifth answer is bad",
            "interval": write_duration(_STEP),
            "input_series": stories.written(
                stories.counters(chart.watched, {**labels, "instance": "a"}, n, bad, _STEP), _STEP),
            "promql_expr_test": list(_story_expectations(spec, chart, labels, n, bad)),
        }],
    }


def _story() -> tuple[list[float], list[float]]:
    """Cumulative counts of all events and of the bad ones: 3 a step, of which 2 % are bad, and 20 % for an hour."""
    random, n, bad = Random(7), [0.0], [0.0]
    for step in range(1, _STEPS):
        wrong = sum(random.random() < (0.2 if 120 <= step < 150 else 0.02) for _ in range(3))
        n.append(n[-1] + 3)
        bad.append(bad[-1] + wrong)
    return n, bad


def _story_expectations(
    spec: Spec, chart: Chart, labels: Mapping[str, str], n: Sequence[float], bad: Sequence[float]
) -> Iterable[dict[str, Any]]:
    ledger = Ledger(spec, chart.slo) if chart.slo else None
    for step in range(_STEPS if ledger else 0):
        last = max(step - 1, 0)
        row = ledger.step(step * _STEP, n[step] - n[last], bad[step] - bad[last]) if ledger else None
        if step % 29 == 0 or step == _STEPS - 1:
            for p in slo.partitions(chart):
                said = {key: value for key, value in labels.items() if key in p.labels}
                yield from expectations(chart, p.name, said, row, step * _STEP)
            yield from alarms(chart, [row] * len(slo.partitions(chart)), step * _STEP)
