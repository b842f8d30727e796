"""A chart's objective: the error budget that is left, and alerts when it burns too fast.

The mathematics is that of `backspan.spc.burn`: several windows, several burn rates, and a guard for low traffic. The
objective counts what its chart counts (``spc:n`` and ``spc:bad``), for the broadest cohorts only: an objective is one
of the service, and a guard per look is no promise over a thousand prompt versions.

How a window of 28 days is read without reading 28 days: ``spc:slo_total`` counts on for ever, so a window's sum is
what it is now less what it was then. Two samples, whatever the window. What makes that hold:

- *The past is found* in the series itself; where Prometheus was down just then, in the copy that is kept every hour.
  Where both are missing the window says nothing, rather than everything since the beginning.
- *A young cohort* has no past to take away: ``born`` says since when it counts. It begins anew when nothing was rated
  for the whole period.
- *A long outage* begins again from the copy, so at most an hour of events is lost to the budget.

The series carry chart, partition and the partition's labels; half of them a window (label ``window``, as in ``1h``):

=========================  ===========================================================================================
``spc:slo_budget_left``    share of the period's budget that is left: 1 untouched, 0 gone, below it overdrawn
``spc:slo_burn``           burn rate by ``window``: 1 spends the budget in exactly the period
``spc:slo_surprise``       how unlikely so many bad events are at the budgeted rate, as -ln of a probability, by
                           ``window`` (long ones); only where more than the budgeted share is bad
``spc:slo_sum``            events (``stat="n"``) and bad ones (``stat="bad"``) by ``window``
``spc:slo_total``          all events since the cohort began, by ``stat`` (n, bad; ``born`` and ``at`` are Unix times);
                           ``spc:slo_prev`` before this evaluation, ``spc:slo_new`` what is new, ``spc:slo_kept`` hourly
``spc:slo_objective``      the objective (one series per chart), and ``spc:slo_period`` its period in seconds
=========================  ===========================================================================================
"""

from __future__ import annotations

from collections.abc import Iterable
from math import log
from typing import Any, Final

from backspan.rules import series
from backspan.rules._node import write_duration
from backspan.rules.counting import Rule, fresh, indent, label, number
from backspan.rules.labels import alert_labels
from backspan.rules.selectors import select
from backspan.rules.spec import Chart, Partition, Slo, Spec
from backspan.rules.templates import COUNT, RATE, looked_up, named, remembered
from backspan.spc.burn import ALPHA, BurnAlert, reachable, windows

BUDGET_LEFT: Final = "spc:slo_budget_left"
BURN: Final = "spc:slo_burn"
SURPRISE: Final = "spc:slo_surprise"
SUM: Final = "spc:slo_sum"
TOTAL: Final = "spc:slo_total"
PREV: Final = "spc:slo_prev"
NEW: Final = "spc:slo_new"
KEPT: Final = "spc:slo_kept"
OBJECTIVE: Final = "spc:slo_objective"
PERIOD: Final = "spc:slo_period"
WINDOW: Final = "window"

ALERT: Final = "BackspanBudgetBurn"
"""The budget burns too fast. Labels: those of the cohort, ``indicator``, ``severity`` (and ``owner``)."""
KEEP_EVERY: Final = 3600
"""Seconds between two kept copies of the totals."""
HOLD: Final = 3600
"""Seconds for which the alert stays: a quiet minute in the short window is no all-clear."""


def rules(spec: Spec, chart: Chart) -> list[dict[str, Any]]:
    """Recording and alerting rules of the objective of ``chart``, to stand at the end of its group; none without one.

    Raises ValueError if the chart counts no share: a rate of events per exposure has no budget.
    """
    if chart.slo is None:
        return []
    if chart.watched.kind != "share":
        raise ValueError(f"{chart.name}: an objective needs a share of good events, {chart.indicator} is none")
    recorded: list[dict[str, Any]] = [{"record": name, "expr": expr} for name, expr in recording(spec, chart)]
    return [*recorded, *_alerts(chart, chart.slo)]


def partitions(chart: Chart) -> list[Partition]:
    """The divisions that the objective is for: those that do not divide another one further."""
    return [p for p in chart.partitions if not any(set(q.by) < set(p.by) for q in chart.partitions)]


def recording(spec: Spec, chart: Chart) -> list[Rule]:
    """The recording rules, in the order in which they must run. The chart must have an objective."""
    slo = _slo(chart)
    return [
        (NEW, _new(chart)),
        (PREV, _prev(spec, chart, slo)),
        (TOTAL, _total(chart)),
        (KEPT, f"{_own(TOTAL, chart)}\nand on () (vector(time() % {KEEP_EVERY}) < {spec.interval})"),
        (SUM, _sum(spec, chart, slo)),
        (BURN, _burn(chart, slo)),
        (SURPRISE, _surprise(chart, slo)),
        (BUDGET_LEFT, _budget_left(chart, slo)),
        (OBJECTIVE, label(f"vector({number(slo.objective)})", series.CHART, chart.name)),
        (PERIOD, label(f"vector({slo.period})", series.CHART, chart.name)),
    ]


def _slo(chart: Chart) -> Slo:
    if chart.slo is None:
        raise ValueError(f"{chart.name} has no objective")
    return chart.slo


def _own(name: str, chart: Chart, more: str = "") -> str:
    """What this evaluation recorded of ``name``."""
    return fresh(select(name, chart, more))


def _stat(name: str) -> str:
    return f'{series.STAT}="{name}"'


# --- totals ---------------------------------------------------------------------------------------------------------
def _new(chart: Chart) -> str:
    wanted = "|".join(p.name for p in partitions(chart))
    n, bad = (_own(name, chart, f'{series.PARTITION}=~"{wanted}"') for name in (series.N, series.BAD))
    bad = f"{n} - {bad}" if chart.model.falls else bad  # where a fall is worse, it is the good ones that are counted
    return f"{label(n, series.STAT, 'n')}\nor {label(bad, series.STAT, 'bad')}"


def _prev(spec: Spec, chart: Chart, slo: Slo) -> str:
    """The totals before this evaluation, unless nothing was rated for the whole period."""
    lookback, period = write_duration(spec.lookback), write_duration(slo.period)

    def before(more: str = "") -> str:
        return (f"last_over_time({select(TOTAL, chart, more)}[{lookback}])"
                f" or last_over_time({select(KEPT, chart, more)}[{period}])")

    alive = f"(\n  {before(_stat('at'))}\n) > time() - {slo.period}"
    return f"(\n  {before()}\n)\nand ignoring ({series.STAT}) ({indent(alive)})"


def _total(chart: Chart) -> str:
    prev, new = _own(PREV, chart), _own(NEW, chart)
    now = f"{_own(NEW, chart, _stat('n'))} * 0 + time()"
    return (
        f"{prev} + {new}\nor {new}\nor {label(now, series.STAT, 'at')}\nor {prev}"
        f"\nor {label(now, series.STAT, 'born')}"
    )


# --- windows --------------------------------------------------------------------------------------------------------
def _table(slo: Slo) -> tuple[BurnAlert, ...]:
    """The alerts that can fire: not even all events bad burn 14.4 times a budget of 10 %."""
    return tuple(alert for alert in windows(slo.period) if reachable(alert, slo.objective))


def _lengths(slo: Slo) -> list[int]:
    """Seconds of every window that is read; the period itself last."""
    return [*sorted({seconds for a in windows(slo.period) for seconds in (a.short, a.long)}), slo.period]


def _sum(spec: Spec, chart: Chart, slo: Slo) -> str:
    return "\nor ".join(label(_sum_of(spec, chart, seconds), WINDOW, write_duration(seconds))
                        for seconds in _lengths(slo))


def _sum_of(spec: Spec, chart: Chart, seconds: int) -> str:
    counts, ago = f'{series.STAT}=~"n|bad"', write_duration(seconds)
    total, born = _own(TOTAL, chart, counts), _own(TOTAL, chart, _stat("born"))
    reach = write_duration(spec.lookback + KEEP_EVERY)
    then = (
        f"({total} * 0 and ignoring ({series.STAT}) ({born} > time() - {seconds}))\n"
        f"  or {select(TOTAL, chart, counts)} offset {ago}\n"
        f"  or last_over_time({select(KEPT, chart, counts)}[{reach}] offset {ago})"
    )
    return f"clamp_min({total} - (\n  {then}\n), 0)"


def _window(chart: Chart, stat: str, lengths: Iterable[int]) -> str:
    wanted = "|".join(write_duration(seconds) for seconds in lengths)
    return _own(SUM, chart, f'{_stat(stat)},{WINDOW}=~"{wanted}"')


def _burn(chart: Chart, slo: Slo) -> str:
    n, bad = (_window(chart, name, _lengths(slo)[:-1]) for name in ("n", "bad"))
    return f"{bad} / ignoring ({series.STAT}) ({n} > 0) / {number(slo.budget)}"


def _surprise(chart: Chart, slo: Slo) -> str:
    """``n KL(bad/n || budget)`` where more than the budgeted share is bad."""
    lengths = [alert.long for alert in windows(slo.period)]
    n, x = (f"sum without ({series.STAT}) ({_window(chart, name, lengths)})" for name in ("n", "bad"))
    b, good = number(slo.budget), number(slo.objective)
    rest = f"({n} - {x})"
    return (
        f"{x} * ln({x} / ({n} * {b}))\n+ {rest} * ln(clamp_min({rest}, 1e-9) / ({n} * {good}))\n"
        f"and {x} / {n} > {b}"
    )


def _budget_left(chart: Chart, slo: Slo) -> str:
    n, bad = (f"max without ({series.STAT}, {WINDOW}) ({_window(chart, name, [slo.period])})" for name in ("n", "bad"))
    return f"1 - {bad} / ({n} > 0) / {number(slo.budget)}"


# --- alerts ---------------------------------------------------------------------------------------------------------
def condition(chart: Chart, severity: str) -> str:
    """PromQL of the cohorts whose budget burns too fast for ``page`` or ``ticket``; the value is the burn rate.

    Empty if the objective is so low that no such alert can fire.
    """
    parts = [_trips(chart, alert) for alert in _table(_slo(chart)) if alert.severity == severity]
    if not parts:
        return ""
    return f"max without ({WINDOW}) (\n  {indent(chr(10).join([parts[0], *(f'or {part}' for part in parts[1:])]))}\n)"


def _trips(chart: Chart, alert: BurnAlert) -> str:
    def at(name: str, seconds: int) -> str:
        return _own(name, chart, f'{WINDOW}="{write_duration(seconds)}"')

    factor = number(alert.factor)
    return (
        f"({at(BURN, alert.long)} >= {factor}\n"
        f"  and ignoring ({WINDOW}) {at(BURN, alert.short)} >= {factor}\n"
        f"  and {at(SURPRISE, alert.long)} >= {number(-log(ALPHA))})"
    )


def severities(slo: Slo) -> dict[str, str]:
    """Severity of the alerts of the table's ``page`` lines, and of its ``ticket`` lines."""
    return {"page": slo.severity, "ticket": "ticket" if slo.severity == "page" else slo.severity}


def _alerts(chart: Chart, slo: Slo) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for speed, severity in severities(slo).items():
        table = [alert for alert in _table(slo) if alert.severity == speed]
        if table:
            found.append({
                "alert": ALERT,
                "expr": condition(chart, speed),
                "for": "0s",
                "keep_firing_for": write_duration(HOLD),
                "labels": alert_labels(chart, severity),
                "annotations": _annotations(chart, slo, table),
            })
    return found


def _annotations(chart: Chart, slo: Slo, table: list[BurnAlert]) -> dict[str, str]:
    labels = list(dict.fromkeys(name for p in partitions(chart) for name in p.labels))
    said = remembered({series.CHART: chart.name}, [series.PARTITION, *labels])
    period, left = write_duration(slo.period), looked_up(BUDGET_LEFT, RATE)
    counts = "; ".join(_counted(seconds) for seconds in (*(alert.long for alert in table), slo.period))
    looked = " or ".join(f"{write_duration(a.long)} and {write_duration(a.short)} at {a.factor:g}" for a in table)
    found = {
        "summary": f'{said}{chart.name}: the error budget burns at {{{{ $value | printf "%.1f" }}}} times the rate that'
        f" spends it in {period}; {left} of it left;{named(labels)}",
        "objective": f"{slo.objective:.6g} of the events good over {period}, so a share of {slo.budget:.6g} may be bad",
        "evidence": f"burn rate at or above its limit in both windows of a pair ({looked}), and so many bad events that"
        f" a service which just keeps its objective shows them in one long window of {1 / ALPHA:.0f} at most",
        "n": f"{said}{counts}",
        "description": chart.watched.description,
        "clears": f"an hour after the short window burns slower than that; the budget itself comes back over {period}",
    }
    return {**found, "runbook_url": chart.runbook} if chart.runbook else found


def _counted(seconds: int) -> str:
    window = write_duration(seconds)
    n, bad = (looked_up(SUM, COUNT, f',{WINDOW}="{window}",{_stat(stat)}') for stat in ("n", "bad"))
    return f"{bad} bad of {n} in {window}"
