"""What a chart shows, whatever draws it: points with their limits, phases, evidence, and which kind of chart it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from backspan.cli._spc.episodes import Episode, Watch
from backspan.cli._spc.history import Batch, Cohort, History, Window, start_of
from backspan.cli._spc.phase_one import limits_of
from backspan.cli._spc.replay import Overrides, Reading, run
from backspan.rules.spec import Chart
from backspan.spc import gchart
from backspan.spc.phases import LEARNING
from backspan.spc.points import Limits

RARE = 0.01
"""Below this rate a chart of gaps says more than one of shares."""


@dataclass(frozen=True)
class Mark:
    """One point: at Unix time ``at``, of ``n`` events with ``bad`` bad ones; ``limits`` are None before there are any.

    ``value`` is a rate, or on a g-chart the events between so many bad ones.
    """

    at: float
    value: float
    n: float
    bad: float
    limits: Limits | None
    phase: str
    base: str
    """The phase without regard to an alarm."""
    evidence: float | None

    @property
    def out(self) -> bool:
        """Tell whether it lies outside its limits."""
        return self.limits is not None and not self.limits.holds(self.value)


@dataclass(frozen=True)
class Picture:
    """One cohort's chart. ``why`` says why it is of this ``kind``: p, u or g."""

    chart: Chart
    cohort: Cohort
    kind: str
    why: str
    marks: tuple[Mark, ...]
    limit: float
    alarms: tuple[Episode, ...]

    @property
    def phases(self) -> list[tuple[float, str]]:
        """(Unix time, phase) wherever another baseline begins to hold."""
        found: list[tuple[float, str]] = []
        for mark in self.marks:
            if not found or found[-1][1] != mark.base:
                found.append((mark.at, mark.base))
        return found


def picture(history: History, cohort: Cohort, overrides: Overrides, width: float) -> Picture:
    """The chart of one cohort over its history, in windows of ``width`` seconds."""
    readings: list[Reading] = []
    watch = Watch(history)

    def see(reading: Reading) -> None:
        if reading.cohort == cohort:
            readings.append(reading)
            watch.see(reading)

    replay = run(history, overrides, see)
    kind, why = kind_of(history, cohort)
    marks = _gaps(history.chart, readings) if kind == "g" else _windows(history, readings, width)
    if kind == "g" and len(marks) < 2:
        kind, why = "p", "too few bad events for a chart of the gaps between them"
        marks = _windows(history, readings, width)
    return Picture(history.chart, cohort, kind, why, tuple(marks), replay.limit, tuple(watch.end(history.until)))


def kind_of(history: History, cohort: Cohort) -> tuple[str, str]:
    """``p``, ``u`` or ``g``, and why; a learnt baseline has no rate in the spec, so the measured one decides."""
    chart = history.chart
    kind, why = chart.drawn_as
    batches = history.batches.get(cohort, [])
    n = sum(batch.n for batch in batches)
    rate = sum(batch.bad for batch in batches) / n if n else 0.0
    if chart.drawn == "auto" and kind == "p" and chart.baseline.learnt and 0 < rate < RARE:
        return "g", f"events are rare ({100 * rate:.2g} %): the gaps between them say more than the share per window"
    return kind, why


def _windows(history: History, readings: Sequence[Reading], width: float) -> list[Mark]:
    cells: dict[float, list[Reading]] = {}
    for reading in readings:
        cells.setdefault(start_of(reading.batch.at, width, history.step), []).append(reading)
    return [_mark(history.chart, Window(start, sum(r.batch.n for r in rows), sum(r.batch.bad for r in rows)), rows[-1])
            for start, rows in sorted(cells.items()) if sum(r.batch.n for r in rows) > 0]


def _mark(chart: Chart, window: Window, last: Reading) -> Mark:
    base = last.base
    known = base is not None and base.p0 > 0
    limits = limits_of(chart.model, base.p0, window.n, base.phi) if known and base else None
    return Mark(window.start, window.rate, window.n, window.bad, limits, last.phase, _base(last), last.evidence)


def _base(reading: Reading) -> str:
    return reading.base.phase if reading.base else LEARNING


def _gaps(chart: Chart, readings: Sequence[Reading]) -> list[Mark]:
    """One point per bad event: how many events it took to get the last few."""
    found: list[Mark] = []
    positions: list[float] = []
    total = 0.0
    for reading in readings:
        for position in _positions(total, reading.batch):
            positions.append(position)
            if len(positions) > gchart.GAPS:
                found.append(_gap(positions, reading))
        total += reading.batch.n
    return found


def _positions(total: float, batch: Batch) -> list[float]:
    """Where the bad events of a batch lie among all: spread evenly, because nobody knows better."""
    count = round(batch.bad)
    return [total + batch.n * (i + 1) / (count + 1) for i in range(count)]


def _gap(positions: Sequence[float], reading: Reading) -> Mark:
    base, m = reading.base, gchart.GAPS
    value = max(float(m), positions[-1] - positions[-1 - m])
    limits = gchart.gap_limits(base.p0, m) if base is not None and 0 < base.p0 < 1 else None
    return Mark(reading.batch.at, value, value, m, limits, reading.phase, _base(reading), reading.evidence)


def short(picture: Picture) -> str:
    """What the picture shows, in words, for a title."""
    names = {"p": "share per window", "u": "events per exposure and window", "g": f"events per {gchart.GAPS} bad ones"}
    return f"{picture.chart.name}: {names[picture.kind]}"
