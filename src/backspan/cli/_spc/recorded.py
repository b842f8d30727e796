"""A chart's history from Prometheus: raw counters where they still are, else what the rules have recorded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from math import floor, gcd

from backspan import semconv
from backspan.cli._spc import counting
from backspan.cli._spc.errors import Fault
from backspan.cli._spc.history import Batch, Cohort, History, cohort_of
from backspan.cli._spc.progress import Progress
from backspan.cli._spc.prometheus import Labels, Prometheus, Samples
from backspan.cli._spc.times import stamp
from backspan.rules import series
from backspan.rules.counting import NEW_SERIES
from backspan.rules.indicators import Events
from backspan.rules.spec import Chart, Spec

FINEST = 60
"""Seconds between the moments at which a raw counter is read, unless the windows are shorter."""
_STALE = 300
"""Seconds for which Prometheus takes a series' last sample for its value: a longer silence is a gap."""
_Counts = dict[Cohort, dict[float, list[float]]]


def read(
    prometheus: Prometheus, spec: Spec, chart: Chart, since: float, until: float, *, source: str = "auto",
    step: float | None = None,
) -> History:
    """The history of ``chart``. ``source``: raw, recorded, or auto (raw unless there are no raw samples).

    Raises `Fault` if nothing is found, or the API does not answer.
    """
    asked: list[str] = []
    if source in ("auto", "raw"):
        asked.append(chart.watched.total.selector)
        found = _raw(prometheus, spec, chart, since, until, step)
        if found.batches:
            return found
    if source in ("auto", "recorded"):
        asked.append(f'{series.N}{{{series.CHART}="{chart.name}"}}')
        found = _rules(prometheus, spec, chart, since, until)
        if found.batches:
            return found
    raise Fault(f"{prometheus.base} has no events in {' nor in '.join(asked)} from {stamp(since)} to {stamp(until)}")


# --- raw counters ---------------------------------------------------------------------------------------------------
def step_of(chart: Chart) -> int:
    """The longest step up to a minute that divides the chart's window."""
    return next(step for step in range(min(FINEST, chart.window), 0, -1) if chart.window % step == 0)


def _raw(
    prometheus: Prometheus, spec: Spec, chart: Chart, since: float, until: float, step: float | None
) -> History:
    grid = step or step_of(chart)
    start, end = floor(since / chart.window) * chart.window, floor(until / grid) * grid
    source = f"{prometheus.base}, raw counters every {grid:g} s"
    history = History(chart, source, start, end, grid)
    if end <= start:
        return history
    indicator, counts = chart.watched, _Counts()
    total = _Reader(prometheus, spec, indicator.total, start, end, grid)
    if indicator.nested:
        _add(counts, chart, total.growth(), 0)
        _add(counts, chart, total.growth(indicator.counted), 1)
    else:
        counted = _Reader(prometheus, spec, indicator.counted, start, end, grid)
        _add(counts, chart, total.growth(), 0)
        _add(counts, chart, counted.growth(), 1)
    history.batches = _batches(counts, chart, good=indicator.good is not None)
    history.gaps = _gaps(total.moments, start, end, grid)
    return history


class _Reader:
    """The counters of ``events`` on a grid of moments."""

    def __init__(
        self, prometheus: Prometheus, spec: Spec, events: Events, start: float, end: float, step: float
    ) -> None:
        self._prometheus, self._spec, self._selector = prometheus, spec, events.selector
        self._start, self._step = start, step
        with Progress(f"reading {events.name or events.selector}", end - start) as bar:
            self._samples: Samples = prometheus.over(
                events.selector, start, end, step, lambda at: bar.at(at - start, stamp(at)))
        self._peaks = self._look("max_over_time", step, lambda points: counting.resets(points, spec.lookback))
        self._floors = self._look(
            "min_over_time", NEW_SERIES, lambda points: counting.births(points, start, spec.lookback))

    @property
    def moments(self) -> list[float]:
        """Moments at which any of the series was there."""
        return sorted({at for points in self._samples.values() for at, _ in points})

    def growth(self, among: Events | None = None) -> Iterable[tuple[Labels, list[tuple[float, float]]]]:
        """New events of every series, or of those that are ``among``."""
        for labels, points in self._samples.items():
            said = dict(labels)
            if among and not among.matches(lambda key, said=said: said.get(semconv.prometheus_label(key), "")):
                continue
            peaks, floors = self._peaks.get(labels, {}), self._floors.get(labels, {})
            yield labels, counting.growth(
                points, self._start, self._spec.lookback,
                lambda at, peaks=peaks: peaks.get(at, 0.0), lambda at, floors=floors: floors.get(at, 1.0))

    def _look(
        self, function: str, seconds: float, moments: Callable[[list[tuple[float, float]]], list[float]]
    ) -> dict[Labels, dict[float, float]]:
        """What ``function`` over the last ``seconds`` says at the ``moments`` of each series that need it."""
        wanted: dict[float, set[Labels]] = defaultdict(set)
        for labels, points in self._samples.items():
            for at in moments(points):
                wanted[at].add(labels)
        found: dict[Labels, dict[float, float]] = defaultdict(dict)
        with Progress("looking at restarts and new series", len(wanted)) as bar:
            for number, at in enumerate(sorted(wanted)):
                expression = f"{function}({self._selector}[{seconds:g}s])"
                for said, value in self._prometheus.query(expression, at):
                    labels = tuple(sorted((key, text) for key, text in said.items() if key != "__name__"))
                    if labels in wanted[at]:
                        found[labels][at] = value
                bar.at(number + 1)
        return found


def _add(
    counts: _Counts, chart: Chart, grown: Iterable[tuple[Labels, list[tuple[float, float]]]], column: int
) -> None:
    for labels, points in grown:
        for partition in chart.partitions:
            cells = counts.setdefault(cohort_of(partition, dict(labels)), {})
            for at, new in points:
                cells.setdefault(at, [0.0, 0.0])[column] += new


def _batches(counts: _Counts, chart: Chart, good: bool) -> dict[Cohort, list[Batch]]:
    """``good``: the second column counts the good events, and the bad ones are the rest."""
    share = chart.watched.kind == "share"
    found: dict[Cohort, list[Batch]] = {}
    for cohort, cells in counts.items():
        rows = [Batch(at, n, _bad(n, x, good, share)) for at, (n, x) in sorted(cells.items())]
        kept = [row for row in rows if row.n > 0 or row.bad > 0]
        if kept:
            found[cohort] = kept
    return found


def _bad(n: float, x: float, good: bool, share: bool) -> float:
    bad = n - x if good else x
    return min(max(bad, 0.0), n) if share else bad


def _gaps(moments: list[float], start: float, end: float, step: float) -> list[tuple[float, float]]:
    """Stretches longer than a few minutes, after the first sample, in which no series was there."""
    if not moments:
        return []
    edges = [*moments, end]
    longest = max(_STALE, 2 * step)
    return [(a, b) for a, b in zip(edges, edges[1:], strict=False) if b - a > longest]


# --- recorded by the rules ------------------------------------------------------------------------------------------
def _rules(prometheus: Prometheus, spec: Spec, chart: Chart, since: float, until: float) -> History:
    start = floor(since / chart.window) * chart.window
    source = f"{prometheus.base}, recorded {series.N} and {series.BAD} (the raw counters are gone)"
    history = History(chart, source, start, until, _interval(spec, chart))
    counts = _Counts()
    names = {partition.name: partition for partition in chart.partitions}
    moments: set[float] = set()
    for column, name in enumerate((series.N, series.BAD)):
        selector = f'{name}{{{series.CHART}="{chart.name}"}}'
        with Progress(f"reading {name}", until - start) as bar:
            samples = prometheus.raw(selector, start, until, lambda at, bar=bar: bar.at(at - start, stamp(at)))
        for labels, points in samples.items():
            partition = names.get(dict(labels).get(series.PARTITION, ""))
            if partition is None:
                continue
            cells = counts.setdefault(cohort_of(partition, dict(labels)), {})
            for at, value in points:
                cells.setdefault(at, [0.0, 0.0])[column] += value
                moments.add(at)
    history.batches = _batches(counts, chart, good=False)
    return history


def _interval(spec: Spec, chart: Chart) -> int:
    return gcd(spec.interval, chart.window) or spec.interval
