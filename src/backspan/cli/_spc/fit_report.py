"""What `backspan spc fit` found, in words, as JSON and as the comments of a baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from backspan.cli._spc.baselines import Baseline
from backspan.cli._spc.history import Cohort, named
from backspan.cli._spc.phase_one import Point, Report
from backspan.cli._spc.times import iso, stamp
from backspan.cli._spc.words import count, events, rate
from backspan.rules.spec import Chart
from backspan.spc.phases import FROZEN, LEARNING, REBASED, Effective


@dataclass(frozen=True)
class Result:
    """What became of one cohort. ``verdict``: fitted, rebased, worse (than what holds, so that one stays) or short."""

    chart: Chart
    cohort: Cohort
    verdict: str
    report: Report | None
    p0: float
    said: str
    before: Effective | None = None

    @property
    def baseline(self) -> Baseline | None:
        """What to write, if anything."""
        if self.report is None or self.verdict not in ("fitted", "rebased"):
            return None
        rebased = self.verdict == "rebased"
        return Baseline(self.chart.name, self.cohort, self.p0, self.report.fit.phi, REBASED if rebased else FROZEN,
                        self.said if rebased else "", tuple(_comments(self)))


def _comments(result: Result) -> list[str]:
    report = result.report
    assert report is not None
    fit, chart = report.fit, result.chart
    lines = [
        f"{chart.name}, {named(result.cohort)}",
        f"{count(fit.n)} {events(chart)} in {fit.windows} windows from {stamp(report.first)} to {stamp(report.last)}:"
        f" {rate(fit.p_hat, chart)}, phi {fit.phi:.2f}",
    ]
    if result.said:
        lines.append(f"{'accepted because: ' if result.verdict == 'rebased' else ''}{result.said}")
    lines += [f"left out {iso(p.window.start)} ({p.window.bad:g} of {p.window.n:g}): {p.reason}"
              for p in report.excluded]
    return lines


def lines_of(result: Result) -> list[str]:
    chart, report = result.chart, result.report
    head = named(result.cohort)
    if report is None:
        return [head, f"  too little to fit: {result.said}" + ("" if "none of them bad" in result.said else
                                                               "; --force fits it all the same")]
    fit = report.fit
    hour = "too little to tell" if report.pattern is None else f"p = {report.pattern:.2g}"
    lines = [
        head,
        f"  {count(fit.n)} {events(chart)} in {fit.windows} windows from {stamp(report.first)} to"
        f" {stamp(report.last)}: {rate(fit.p_hat, chart)}",
        f"  spread of the windows: {report.sigma_z:.2f} by moving ranges, {report.sd:.2f} by all (1 = chance);"
        f" neighbours r = {fit.r1:+.2f}; hour of day: {hour}",
        *(_out(point, chart) for point in report.out),
        *(f"  ! {warning}" for warning in report.warnings),
    ]
    return [*lines, f"  {_verdict(result)}"]


def _out(point: Point, chart: Chart) -> str:
    window, bounds = point.window, point.limits
    fate = f"left out: {point.reason}" if point.reason else "stays: nobody gave a reason (--exclude START=REASON)"
    return (f"  out of limits {stamp(window.start)}: {window.bad:g} of {window.n:g} = {rate(window.rate, chart)},"
            f" limits {rate(bounds.lower, chart)} to {rate(bounds.upper, chart)}; {fate}")


def _verdict(result: Result) -> str:
    chart, report, before = result.chart, result.report, result.before
    shown = rate(result.p0, chart)
    if result.verdict == "worse" and before is not None:
        return (f"-> stays at {rate(before.p0, chart)} ({before.phase}): {shown} is worse;"
                " accept it by --rebase --reason TEXT")
    assert report is not None
    was = f" (was {rate(before.p0, chart)}, {before.phase})" if before and before.phase != LEARNING else ""
    said = f"; {result.said}" if result.said else ""
    return f"-> accepted up to p0 = {shown}, phi = {report.fit.phi:.2f}{was}{said}" if not chart.model.falls else \
        f"-> accepted down to p0 = {shown}, phi = {report.fit.phi:.2f}{was}{said}"


def as_json(result: Result) -> dict[str, Any]:
    report = result.report
    found: dict[str, Any] = {
        "chart": result.chart.name, "partition": result.cohort[0], "labels": dict(result.cohort[1]),
        "verdict": result.verdict, "said": result.said or None,
        "before": {"p0": result.before.p0, "phase": result.before.phase} if result.before else None,
    }
    if report is None:
        return found
    fit = report.fit
    return {
        **found, "p0": result.p0, "phi": fit.phi, "p_hat": fit.p_hat, "n": fit.n, "windows": fit.windows,
        "from": iso(report.first), "to": iso(report.last), "sigma_z": report.sigma_z, "sd": report.sd, "r1": fit.r1,
        "hour_of_day_p": report.pattern, "warnings": list(report.warnings),
        "out_of_limits": [
            {"start": iso(p.window.start), "n": p.window.n, "bad": p.window.bad, "lower": p.limits.lower,
             "upper": p.limits.upper, "excluded": bool(p.reason), "reason": p.reason or None} for p in report.out],
    }
