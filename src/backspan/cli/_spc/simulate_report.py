"""What `backspan spc simulate` found, in words and as JSON."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from math import inf
from typing import Any

from backspan.cli._spc.runlength import QUIET, Length, Setting
from backspan.cli._spc.times import length
from backspan.cli._spc.words import count, events, rate, table
from backspan.rules.spec import Chart

NORMAL = 5.0
"""Expected bad events a window from which the normal law behind EWMA and CUSUM holds well enough."""
_DAY = 86400.0


@dataclass(frozen=True)
class Case:
    """A chart at a volume. ``said`` tells where its numbers come from."""

    chart: Chart
    per_hour: float
    setting: Setting
    promise: float
    said: str

    @property
    def window_n(self) -> float:
        """Events in one window of the drawn chart."""
        return self.per_hour * self.chart.window / 3600

    @property
    def quiet(self) -> float:
        """Events in control before a shift: enough that the chart is not fresh, few enough that it rarely alarms."""
        return min(QUIET, self.promise / 10)


@dataclass(frozen=True)
class Row:
    """One rate. The other charts are in windows; None where there is no such number."""

    factor: float
    rate: float
    found: Length
    shewhart: float | None
    ewma: float | None
    cusum: float | None


def head(case: Case, args: argparse.Namespace) -> list[str]:
    chart, setting = case.chart, case.setting
    return [
        f"{chart.name}: {chart.watched.description}",
        f"  {count(case.per_hour)} {events(chart)} an hour, accepted rate {rate(setting.p0, chart)}, dispersion"
        f" {setting.phi:.2f}; {case.said}",
        f"  promise: one false alarm per {count(case.promise)} {events(chart)}"
        f" ({length(case.promise / case.per_hour * 3600)}) on average, over {len(chart.partitions)}"
        f" partition{'s' if len(chart.partitions) > 1 else ''}: limit {setting.limit:.2f}",
        f"  {args.runs} runs a row, seed {args.seed}; ± is one standard error",
    ]


def rows_of(case: Case, rows: list[Row]) -> list[str]:
    head = ["the rate becomes", events(case.chart) + " to the alarm", "that is", "3-sigma chart", "EWMA .2", "CUSUM .5"]
    body = [[_name(row, case), f"{count(round(row.found.mean))} ± {count(round(row.found.error))}",
             _time(row.found.mean / case.per_hour * 3600),
             *(_windows(value, case) for value in (row.shewhart, row.ewma, row.cusum))] for row in rows]
    return [f"  {line}" for line in table([head, *body])]


def _name(row: Row, case: Case) -> str:
    shown = rate(row.rate, case.chart)
    if row.factor == 1.0:
        return f"stays {shown}: a false alarm"
    return f"{shown} ({'÷' if case.setting.model.falls else '×'} {row.factor:g})"


def _windows(windows: float | None, case: Case) -> str:
    return "-" if windows is None else _time(windows * case.chart.window)


def _time(seconds: float) -> str:
    return length(seconds) if seconds < 1000 * _DAY else f"{seconds / _DAY / 365.25:.1f} y" \
        if seconds < 1e5 * _DAY else "> 270 y"


def legend(case: Case, rows: list[Row]) -> list[str]:
    chart = case.chart
    lines = [f"  One cohort with all the volume; shifts after {count(case.quiet)} quiet events; evaluations of"
             f" {count(round(case.setting.batch, 1))} events."]
    if any(row.shewhart for row in rows):
        lines.append(f"  3-sigma chart: exact, windows of {length(chart.window)} ({count(round(case.window_n))} events)"
                     " that do not overlap; its false alarms are what they are, it knows no promise.")
    if any(row.ewma for row in rows):
        lines.append("  EWMA and CUSUM: limits set to the same promise, by the normal law (approximate).")
    elif case.window_n * case.setting.p0 < NORMAL:
        lines.append("  EWMA and CUSUM: a window holds too few bad events for the normal law.")
    return lines


_METHODS = {
    "known": "one look, against the known rate (power 80 %, one-sided 5 %)",
    "two_groups": "one look, two equal groups (both together)",
    "compare": "looks at any time, two equal groups (on average)",
    "chart": "this chart's alarm (on average, approximate)",
}


def fall(needs: dict[str, float], args: argparse.Namespace) -> list[str]:
    if not needs:
        return []
    lines = ["", f"How many outcomes reveal a fall of {args.fall:g} % in the share of good ones?"]
    rows = [[_METHODS[method], count(round(n)) if n < inf else "never: its alternatives are too far away"]
            for method, n in needs.items()]
    return lines + [f"  {line}" for line in table(rows)]


def as_json(case: Case, rows: list[Row], needs: dict[str, float], args: argparse.Namespace) -> dict[str, Any]:
    setting, hours = case.setting, case.chart.window / 3600
    return {
        "chart": case.chart.name, "per_hour": case.per_hour, "p0": setting.p0, "phi": setting.phi,
        "promise": case.promise, "limit": setting.limit, "source": case.said, "runs": args.runs, "seed": args.seed,
        "rows": [
            {"factor": row.factor, "rate": row.rate, "events": row.found.mean, "standard_error": row.found.error,
             "hours": row.found.mean / case.per_hour,
             **{f"{name}_hours": None if value is None or value == inf else value * hours for name, value in
                (("shewhart", row.shewhart), ("ewma", row.ewma), ("cusum", row.cusum))}} for row in rows],
        "fall_percent": args.fall,
        "fall_events": {method: n if n < inf else None for method, n in needs.items()},
    }
