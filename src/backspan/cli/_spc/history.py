"""What was rated when: batches of events per cohort of a chart, from wherever they are kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import floor

from backspan import semconv
from backspan.rules.spec import Chart, Partition

Cohort = tuple[str, tuple[tuple[str, str], ...]]
"""A partition's name, and (OpenTelemetry key, value) of its keys, sorted, without empty values."""


@dataclass(frozen=True)
class Batch:
    """``bad`` of ``n`` events (or ``bad`` events in exposure ``n``), counted at Unix time ``at``."""

    at: float
    n: float
    bad: float


@dataclass(frozen=True)
class Window:
    """A tumbling window that begins at Unix time ``start``. Only windows with events exist."""

    start: float
    n: float
    bad: float

    @property
    def rate(self) -> float:
        """Bad events per event or unit of exposure."""
        return self.bad / self.n


@dataclass
class History:
    """The past of one chart. ``step`` is its resolution in seconds; ``source`` says in words where it is from.

    ``gaps`` are stretches in which nothing was recorded at all, as (from, to).
    """

    chart: Chart
    source: str
    since: float
    until: float
    step: float
    batches: dict[Cohort, list[Batch]] = field(default_factory=dict[Cohort, "list[Batch]"])
    gaps: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])

    def windows(self, cohort: Cohort) -> list[Window]:
        """The tumbling windows of a cohort, aligned to Unix time."""
        return tumbling(self.batches.get(cohort, ()), self.chart.window, self.step)

    def closed_windows(self, cohort: Cohort) -> list[Window]:
        """`windows` without one that had not ended at ``until``."""
        return [w for w in self.windows(cohort) if w.start + self.chart.window <= self.until]

    @property
    def per_day(self) -> float:
        """Rated events of the whole system a day: those of the first partition over the time since the first one."""
        first = self.chart.partitions[0].name
        mine = [batch for (name, _), rows in self.batches.items() if name == first for batch in rows]
        if not mine:
            return 0.0
        begun = min(batch.at for batch in mine) - self.step
        return sum(batch.n for batch in mine) / max(self.until - begun, self.chart.window) * 86400

    def with_parents(self) -> dict[Cohort, list[Batch]]:
        """The batches of every cohort, and of the parents that they inherit from."""
        found = dict(self.batches)
        for partition in self.chart.partitions:
            if partition.parent:
                mine = {key: rows for key, rows in self.batches.items() if key[0] == partition.name}
                found.update(_summed(mine, partition.parent))
        return found


def start_of(at: float, width: float, step: float) -> float:
    """Beginning of the window that an evaluation at ``at`` belongs to: it sees what came in the step before it."""
    return floor((at - step) / width + 1e-9) * width


def tumbling(batches: Iterable[Batch], width: float, step: float) -> list[Window]:
    """Batches as windows of ``width`` seconds."""
    sums: dict[float, list[float]] = {}
    for batch in batches:
        cell = sums.setdefault(start_of(batch.at, width, step), [0.0, 0.0])
        cell[0] += batch.n
        cell[1] += batch.bad
    return [Window(start, n, bad) for start, (n, bad) in sorted(sums.items()) if n > 0]


def cohort_of(partition: Partition, labels: Mapping[str, str]) -> Cohort:
    """The cohort of ``partition`` that a series with these Prometheus labels belongs to."""
    said = ((key, labels.get(semconv.prometheus_label(key), "")) for key in partition.by)
    return partition.name, tuple(sorted((key, value) for key, value in said if value))


def by_keys(partition: Partition, labels: Mapping[str, str]) -> Cohort:
    """The same from OpenTelemetry keys."""
    return partition.name, tuple(sorted((key, labels[key]) for key in partition.by if labels.get(key)))


def parent_of(cohort: Cohort, partition: Partition) -> Cohort | None:
    """The cohort's parent, if its partition has one."""
    return by_keys(partition.parent, dict(cohort[1])) if partition.parent else None


def _summed(children: Mapping[Cohort, Sequence[Batch]], parent: Partition) -> dict[Cohort, list[Batch]]:
    sums: dict[Cohort, dict[float, list[float]]] = {}
    for cohort, rows in children.items():
        cells = sums.setdefault(by_keys(parent, dict(cohort[1])), {})
        for batch in rows:
            cell = cells.setdefault(batch.at, [0.0, 0.0])
            cell[0] += batch.n
            cell[1] += batch.bad
    return {cohort: [Batch(at, n, bad) for at, (n, bad) in sorted(cells.items())] for cohort, cells in sums.items()}


def named(cohort: Cohort) -> str:
    """``prompt: gen_ai.prompt.name=support gen_ai.prompt.version=2 service.name=chat``, for people."""
    return f"{cohort[0]}: {' '.join(f'{key}={value}' for key, value in cohort[1]) or '(no labels)'}"


def matches(cohort: Cohort, wanted: Mapping[str, str]) -> bool:
    """Tell whether the cohort has these values; keys may be spelled as OpenTelemetry or Prometheus does."""
    said = {spelt: value for key, value in cohort[1] for spelt in (key, semconv.prometheus_label(key))}
    return all(said.get(key, "") == value for key, value in wanted.items())
