"""Counting in Python as the generated rules count in PromQL: what is new in raw series, by cohort.

It shares nothing with the PromQL generator.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from backspan import semconv
from backspan.rules.counting import NEW_SERIES
from backspan.rules.indicators import Events
from backspan.rules.spec import Chart, Partition, Spec

Labels = tuple[tuple[str, str], ...]
"""Label names and values of one series, sorted by name, without empty values. The metric's name is ``__name__``;
without it the series is one of the chart's total."""

STALE = None
"""Sample value that ends a series, as Prometheus writes it when a target goes away."""

Samples = Sequence[tuple[float, float | None]]
"""(Unix time, value or `STALE`) of one raw series, in order of time."""

Key = tuple[str, Labels]
"""A cohort: the partition's name and its labels."""

_LOOKBACK_DELTA = 300
"""Seconds over which Prometheus takes a series' last sample for its value."""


def labels_of(values: Mapping[str, str]) -> Labels:
    """``values`` as `Labels`."""
    return tuple(sorted((key, value) for key, value in values.items() if value))


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


def selected(events: Events, labels: Mapping[str, str], default: str = "") -> bool:
    """Tell whether a raw series is one of ``events``; ``default`` is the name of one that says none."""
    if events.promql:
        name, said = parsed(events.promql)
        return labels.get("__name__", default) == name and said.items() <= labels.items()
    if labels.get("__name__", default) != events.name:
        return False
    bucket = repr(events.within) if events.within is not None else None
    return labels.get("le") == bucket and events.matches(lambda key: labels.get(semconv.prometheus_label(key), ""))


def parsed(selector: str) -> tuple[str, dict[str, str]]:
    """Name and equality matchers of a plain selector."""
    name, _, rest = selector.partition("{")
    return name, dict(re.findall(r'(\w+)="([^"]*)"', rest))


class Source:
    """Raw series of one kind of events, summed by cohort."""

    def __init__(self, spec: Spec, chart: Chart, events: Events, streams: Mapping[Labels, Samples]) -> None:
        self._partitions = chart.partitions
        default = chart.watched.total.name
        self._counters = {
            labels: Counter(spec, samples)
            for labels, samples in streams.items()
            if selected(events, dict(labels), default)
        }

    def step(self, at: float, marked: Events | None = None) -> tuple[dict[Key, float], dict[Key, float]]:
        """What is new by cohort, of all series and of those that are ``marked``."""
        total: dict[Key, float] = defaultdict(float)
        narrow: dict[Key, float] = defaultdict(float)
        for labels, counter in self._counters.items():
            new = counter.step(at)
            if new is None:
                continue
            chosen = marked is not None and selected(marked, {"__name__": marked.name, **dict(labels)})
            for key in _cohorts_of(labels, self._partitions):
                total[key] += new
                if chosen:
                    narrow[key] += new
        return total, narrow


class Batches:
    """The rules ``n`` and ``bad``."""

    def __init__(self, spec: Spec, chart: Chart, streams: Mapping[Labels, Samples]) -> None:
        self._watched = chart.watched
        self._total = Source(spec, chart, self._watched.total, streams)
        nested = self._watched.nested
        self._beside = None if nested else Source(spec, chart, self._watched.counted, streams)

    def step(self, at: float) -> dict[Key, tuple[float, float]]:
        """(n, bad) of every cohort with something new."""
        total, events = self._total.step(at, self._watched.bad if self._beside is None else None)
        if self._beside is not None:
            events, _ = self._beside.step(at)
        found = [key for key, n in total.items() if n > 0]
        if self._watched.kind == "rate":
            found += [key for key, x in events.items() if x > 0 and not total.get(key, 0.0) > 0]
        return {key: self._pair(total.get(key, 0.0), events.get(key, 0.0)) for key in found}

    def _pair(self, n: float, events: float) -> tuple[float, float]:
        if self._watched.kind == "rate" or self._beside is None:
            return n, events
        return (n, max(n - events, 0.0)) if self._watched.good is not None else (n, n - max(n - events, 0.0))


def _cohorts_of(labels: Labels, partitions: Iterable[Partition]) -> list[Key]:
    values = dict(labels)
    return [(p.name, labels_of({key: values.get(key, "") for key in p.labels})) for p in partitions]
