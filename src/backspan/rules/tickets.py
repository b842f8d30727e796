"""PromQL of what people look at: closed windows, standardised, and the rules of the drawn chart that open tickets.

Every closed window in which at least `LEAST_EXPECTED` bad events were to be expected becomes a z-score, positive where
worse. On it: Western Electric's rules 1 to 3 (`backspan.spc.runs`; rule 4, eight in a row, alone limits the run length
to 510 windows and is left out) and an EWMA (`backspan.spc.ewma`). They open tickets and never page: together they
signal by chance about once in 250 windows of every cohort.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

from backspan.rules import series
from backspan.rules._node import write_duration
from backspan.rules.counting import Rule, fresh, label, number, short_of
from backspan.rules.labels import alert_labels
from backspan.rules.learning import closing
from backspan.rules.selectors import select, variance
from backspan.rules.spec import Chart, Spec
from backspan.spc import ewma
from backspan.spc.runs import WESTERN_ELECTRIC
from backspan.spc.runs import Rule as RunRule

LEAST_EXPECTED = 5
"""Bad events that a window must be expected to hold for its z-score to mean anything (Montgomery, ch. 7)."""
EWMA_LIMIT = ewma.WIDTH * sqrt(ewma.LAM / (2.0 - ewma.LAM))
"""Asymptotic limit of the EWMA of z-scores."""
RUNS: dict[str, tuple[RunRule, float]] = {
    rule.name: (rule, sigma)
    for rule in WESTERN_ELECTRIC
    for name, sigma in (("we_2", 2.0), ("we_3", 1.0))
    if rule.name == name and rule.side == "up"
}
"""Run rules with a memory, and the distance beyond which a point counts, in sigma."""
TEXTS = {
    "we_1": "a window beyond 3 sigma",
    "we_2": "two of three windows beyond 2 sigma",
    "we_3": "four of five windows beyond 1 sigma",
    "ewma": "the weighted mean of the last windows beyond its limit",
}
"""What each rule that opens a ticket says."""


def ticket_rules(spec: Spec, chart: Chart) -> list[Rule]:
    """The recording rules behind the tickets; none where the chart opens none."""
    if not chart.tickets:
        return []
    return [(series.Z, _z(spec, chart)), (series.EWMA, _ewma(chart)), (series.BEYOND, _beyond(chart))]


def conditions(chart: Chart) -> dict[str, str]:
    """Rule -> its condition: true at the evaluation that closes a window, and not between."""
    if not chart.tickets:
        return {}
    found = {"we_1": f"{fresh(select(series.Z, chart))} > 3"}
    for name, (rule, _) in RUNS.items():
        history = fresh(select(series.BEYOND, chart, rule=name))
        found[name] = "\nor ".join(f"{history} == {value}" for value in rule.firing)
    found["ewma"] = f"{fresh(select(series.EWMA, chart))} > {number(EWMA_LIMIT)}"
    return found


def ticket_alerts(chart: Chart) -> list[dict[str, Any]]:
    """The alerting rules that open tickets, one per rule of the drawn chart. ``annotations`` are for the caller."""
    return [
        {
            "alert": series.ALERT_SHIFT,
            "expr": f"max without ({series.RULE}) (\n{expr}\n)" if name in RUNS else expr,
            "for": "0s",
            "keep_firing_for": write_duration(hold(chart)),
            "labels": {**alert_labels(chart, "ticket"), series.RULE: name},
        }
        for name, expr in conditions(chart).items()
    ]


def measured(rule: str, z: float, mean: float) -> tuple[float, float]:
    """What a rule looks at in the newest window, and the line that it compares it with."""
    if rule == "ewma":
        return mean, EWMA_LIMIT
    return z, RUNS[rule][1] if rule in RUNS else 3.0


def hold(chart: Chart) -> int:
    """Seconds for which a ticket stays after the window that opened it: until the next one at least."""
    return max(chart.window, chart.keep_firing_for)


def _z(spec: Spec, chart: Chart) -> str:
    n, bad = fresh(select(series.WINDOW_N, chart)), fresh(select(series.WINDOW_BAD, chart))
    p0, phi = fresh(select(series.P0, chart)), fresh(select(series.PHI, chart))
    worse = f"({n} * {p0} - {bad})" if chart.model.falls else f"({bad} - {n} * {p0})"
    return (
        f"{worse} / sqrt({phi} * {variance(chart, p0)} * {n})\n"
        f"and {n} * {p0} >= {LEAST_EXPECTED}\n"
        f"and on () {closing(spec, chart)}"
    )


def _ewma(chart: Chart) -> str:
    z, before = fresh(select(series.Z, chart)), _before(chart, select(series.EWMA, chart))
    new = f"{number(ewma.LAM)} * {z}"
    return f"{new} + {number(1 - ewma.LAM)} * {before}\nor {new}"


def _beyond(chart: Chart) -> str:
    z = fresh(select(series.Z, chart))
    parts: list[str] = []
    for name, (rule, sigma) in RUNS.items():
        flag = label(f"({z} > bool {number(sigma)})", series.RULE, name)
        before = _before(chart, select(series.BEYOND, chart))
        parts += [f"({flag} + 2 * {before}) % {rule.modulus}", flag]
    return "\nor ".join(parts)


def _before(chart: Chart, selector: str) -> str:
    return f"last_over_time({selector}[{short_of(chart.forget_after)}])"
