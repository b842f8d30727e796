"""How a chart counts what the store holds: its cohorts, and the (n, bad) that one event adds to each of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from backspan import semconv
from backspan.rules.indicators import Events
from backspan.rules.spec import Chart, Partition
from backspan.store import Event
from backspan.store.history import kinds_of
from backspan.store.model import CALL, CALL_KEYS, FEEDBACK, LABELS

_OF_JUDGEMENTS = frozenset({*semconv.FEEDBACK_LABELS, semconv.LABEL_REASON})

_MOST_REMEMBERED = 10_000


def cohort_key(partition: Partition, labels: Mapping[str, str]) -> str:
    """Canonical name of a cohort: its partition and the values of its keys (``labels`` may hold others too)."""
    said = {key: labels.get(key, "") for key in partition.by}
    return json.dumps([partition.name, said], sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def cohort_of(key: str) -> dict[str, Any]:
    """A cohort's partition and labels from its name."""
    partition, labels = json.loads(key)
    return {"partition": partition, "labels": labels}


def prefix(partition: Partition) -> str:
    """How the names of all cohorts of a partition begin."""
    return f'["{partition.name}",'


def known_partitions(chart: Chart) -> dict[str, Partition]:
    """Partitions of a chart by name, with the parents that learn for them."""
    parents = (p.parent for p in chart.partitions) if chart.baseline.learnt else ()
    return {p.name: p for p in (*chart.partitions, *parents) if p is not None}


def count(events: Events, event: Event) -> float:
    """What ``event`` adds to the counter of ``events``: 1, an amount such as its tokens, its reasons, or 0."""
    if events.store == "reason":
        if event.kind != FEEDBACK:
            return 0.0
        return float(sum(events.matches(_with_reason(event, reason)) for reason in event.reasons))
    if events.store != event.kind or not events.matches(event.get):
        return 0.0
    if events.within is not None:
        return float(event.seconds is not None and event.seconds <= events.within)
    return event.amounts.get(events.amount, 0.0) if events.amount else 1.0


def _with_reason(event: Event, reason: str) -> Callable[[str], str]:
    return lambda key: reason if key == semconv.LABEL_REASON else event.get(key)


class Meter:
    """How one chart counts. ``kinds`` are the kinds of events it looks at."""

    def __init__(self, chart: Chart) -> None:
        watched = chart.watched
        self.chart, self.watched, self.model = chart, watched, watched.model
        self.total, self.counted = watched.total, watched.counted
        self.kinds = kinds_of((self.total.store, self.counted.store))
        self._parents: dict[str, str | None] = {}
        self._keys: dict[tuple[str, ...], str] = {}

    def read(self, event: Event) -> tuple[float, float] | None:
        """(n, bad) that the event adds, or None if it is none of the chart's.

        Of a share, a bad event is one of all events. Of a rate, exposure and counted events may come apart, as (1, 0)
        and (0, 1); what comes with one and the same event (the tokens of a call) is counted at once.
        """
        n, x = count(self.total, event), count(self.counted, event)
        if self.watched.kind == "rate":
            return (n, x) if n or x else None
        if not n:
            return None
        return n, n - min(x, n) if self.watched.good is not None else min(x, n)

    def cohorts(self, event: Event) -> list[str]:
        """Names of the cohorts, one per partition, that an event belongs to."""
        return [self._key(partition, event) for partition in self.chart.partitions]

    def _key(self, partition: Partition, event: Event) -> str:
        said = (partition.name, *map(event.get, partition.by))
        if said not in self._keys:
            if len(self._keys) >= _MOST_REMEMBERED:
                self._keys.clear()
            self._keys[said] = cohort_key(partition, event.labels)
        return self._keys[said]


    def parent_key(self, key: str) -> str | None:
        """Name of the cohort that the named one inherits from, or None."""
        if key not in self._parents:
            if len(self._parents) >= _MOST_REMEMBERED:
                self._parents.clear()
            self._parents[key] = parent_key(self.chart, key)
        return self._parents[key]


def parent_key(chart: Chart, key: str) -> str | None:
    """Name of the parent of a cohort, or None if it has none."""
    if not chart.baseline.learnt:
        return None
    cohort = cohort_of(key)
    partition = next((p for p in chart.partitions if p.name == cohort["partition"]), None)
    parent = partition.parent if partition is not None else None
    return None if parent is None else cohort_key(parent, cohort["labels"])


def why_not(chart: Chart) -> str:
    """Why the store cannot evaluate a chart; ``""`` if it can."""
    watched = chart.watched
    if chart.custom is not None:
        return "on free PromQL: Prometheus only"
    if not watched.in_store:
        return f"no data yet: needs {watched.needs}" if watched.needs else "Prometheus only: not counted here"
    calls = CALL in (watched.total.store, watched.counted.store)
    held = frozenset(CALL_KEYS if calls else LABELS) | _OF_JUDGEMENTS
    return _unknown({key for p in chart.partitions for key in p.by} | {key for key, _ in chart.where}, held)


def _unknown(asked: Iterable[str], held: frozenset[str]) -> str:
    missing = sorted(set(asked) - held)
    return f"Prometheus only: the store does not keep {', '.join(missing)}" if missing else ""
