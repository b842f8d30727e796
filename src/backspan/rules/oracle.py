"""The rules in Python: what every recorded series must be, given the samples that Prometheus has.

It shares the detector with the embedded server (`backspan.spc.shiryaev`) and nothing with the PromQL generator, so
that a promtool test written from it says something. `backspan.rules.promtool` does that.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from backspan.rules.expressions import NEW_SERIES
from backspan.rules.spec import Chart, Partition, Spec
from backspan.spc.pchart import limits
from backspan.spc.shiryaev import MixtureSR

Labels = tuple[tuple[str, str], ...]
"""Label names and values of one series, sorted by name, without the metric's name and without empty values."""

STALE = None
"""Sample value that ends a series, as Prometheus writes it when a target goes away."""

Samples = Sequence[tuple[float, float | None]]
"""(Unix time, value or `STALE`) of one raw series, in order of time."""

_LOOKBACK_DELTA = 300
"""Seconds over which Prometheus takes a series' last sample for its value."""


def labels_of(values: Mapping[str, str]) -> Labels:
    """``values`` as `Labels`."""
    return tuple(sorted((key, value) for key, value in values.items() if value))


@dataclass(frozen=True)
class Row:
    """What one cohort shows after one evaluation. ``n`` and ``bad`` are None if nobody rated since the last one;
    what depends on the window is None if nobody rated within it."""

    n: int | None
    bad: int | None
    window_n: int | None
    window_bad: int | None
    rate: float | None
    p0: float | None
    ucl: float | None
    lcl: float | None
    sr: float
    sr_limit: float
    rated_at: float
    alarm: bool


class Counter:
    """What is new in one raw series since the previous evaluation: the rules ``prev``, ``seen`` and ``inc``."""

    def __init__(self, spec: Spec, samples: Samples) -> None:
        self._spec = spec
        self._samples = samples
        self._times = [time for time, _ in samples]
        self._seen: tuple[float, float] | None = None

    def step(self, at: float) -> float | None:
        """Events to count at ``at``, or None if the series is not there."""
        now = self._at(at)
        if now is None:
            return None
        before, self._seen = self._seen, (at, now)
        if before is None or before[0] <= at - self._spec.lookback:
            return now if min(self._within(at, NEW_SERIES)) == 0 else 0.0
        if now >= before[1]:
            return now - before[1]
        top = max(self._within(at, self._spec.interval), default=before[1])
        return now + max(top - before[1], 0.0)

    def _at(self, at: float) -> float | None:
        i = bisect_right(self._times, at) - 1
        if i < 0 or self._times[i] <= at - _LOOKBACK_DELTA:
            return None
        return self._samples[i][1]

    def _within(self, at: float, seconds: float) -> list[float]:
        first, last = bisect_right(self._times, at - seconds), bisect_right(self._times, at)
        return [value for _, value in self._samples[first:last] if value is not None]


@dataclass
class _Cohort:
    """State of one cohort between evaluations."""

    chart: Chart
    detector: MixtureSR
    rated_at: float
    batches: list[tuple[float, int, int]] = field(default_factory=list[tuple[float, int, int]])

    def step(self, at: float, n: int, bad: int) -> Row | None:
        """Take one batch (n may be 0). None once the cohort is forgotten."""
        forgotten = self.rated_at <= at - self.chart.forget_after
        if forgotten and not n:
            return None
        if n:
            self.detector = self.chart.detector() if forgotten else self.detector
            self.detector.step(n, bad)
            self.rated_at = at
            self.batches.append((at, n, bad))
        self.batches = [b for b in self.batches if b[0] > at - self.chart.window]
        return self._row(at, n, bad)

    def _row(self, at: float, n: int, bad: int) -> Row:
        window_n, window_bad = sum(b[1] for b in self.batches), sum(b[2] for b in self.batches)
        p0, sr, chart = self.chart.baseline.p0, self.detector.value, self.chart
        band = limits(p0, window_n) if window_n else None
        return Row(
            n=n or None,
            bad=bad if n else None,
            window_n=window_n or None,
            window_bad=window_bad if window_n else None,
            rate=window_bad / window_n if window_n else None,
            p0=p0 if window_n else None,
            ucl=band.upper if band else None,
            lcl=band.lower if band else None,
            sr=sr,
            sr_limit=chart.limit,
            rated_at=self.rated_at,
            alarm=sr >= chart.limit and self.rated_at > at - chart.idle_after,
        )


class Oracle:
    """One chart over raw series. Call `step` once per evaluation, with rising times ``spec.interval`` apart."""

    def __init__(self, spec: Spec, chart: Chart, streams: Mapping[Labels, Samples]) -> None:
        self._chart = chart
        indicator = chart.watched
        self._counters = {
            labels: Counter(spec, samples)
            for labels, samples in streams.items()
            if indicator.where.items() <= dict(labels).items()
        }
        self._cohorts: dict[tuple[str, Labels], _Cohort] = {}

    def step(self, at: float) -> dict[tuple[str, Labels], Row]:
        """Every cohort that exists after the evaluation at ``at``, by partition name and labels."""
        batches = self._batches(at)
        for key in batches:
            if key not in self._cohorts:
                self._cohorts[key] = _Cohort(self._chart, self._chart.detector(), at)
        rows: dict[tuple[str, Labels], Row] = {}
        for key, cohort in self._cohorts.items():
            row = cohort.step(at, *batches.get(key, (0, 0)))
            if row is not None:
                rows[key] = row
        return rows

    def _batches(self, at: float) -> dict[tuple[str, Labels], tuple[int, int]]:
        total: dict[tuple[str, Labels], list[int]] = defaultdict(lambda: [0, 0])
        for labels, counter in self._counters.items():
            new = counter.step(at)
            if not new:
                continue
            bad = self._chart.watched.bad.items() <= dict(labels).items()
            for key in _cohorts_of(labels, self._chart.partitions):
                total[key][0] += round(new)
                total[key][1] += round(new) if bad else 0
        return {key: (n, bad) for key, (n, bad) in total.items()}


def _cohorts_of(labels: Labels, partitions: Iterable[Partition]) -> list[tuple[str, Labels]]:
    values = dict(labels)
    return [(p.name, labels_of({key: values.get(key, "") for key in p.labels})) for p in partitions]
