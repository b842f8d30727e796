"""A chart on its own history: what the rules would have done, evaluation by evaluation.

The cohorts are those of `backspan.spc.phases`, fed as the rules are: the baseline in effect, then the new events, then,
when a window has ended, learning. Only evaluations that bring events are run through; the others change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from backspan.cli._spc.history import Batch, Cohort, History, parent_of, start_of
from backspan.rules.spec import Chart
from backspan.spc import phases
from backspan.spc.phases import ALARM, LEARNING, Effective
from backspan.spc.shiryaev import CAP_ABOVE_LIMIT

Overrides = Mapping[Cohort, Effective]
"""Baselines that a person set, by cohort; parents too."""


@dataclass(frozen=True)
class Reading:
    """One cohort after one evaluation that brought events. ``evidence`` is None while it learns."""

    cohort: Cohort
    batch: Batch
    base: Effective | None
    evidence: float | None
    limit: float

    @property
    def over(self) -> bool:
        """Tell whether the evidence has reached its limit."""
        return self.evidence is not None and self.evidence >= self.limit

    @property
    def phase(self) -> str:
        """The phase that the cohort is in."""
        return ALARM if self.over else self.base.phase if self.base else LEARNING


@dataclass
class _Running:
    life: phases.Cohort
    window: float = -1.0
    n: float = 0.0
    bad: float = 0.0
    rated_at: float = float("-inf")


@dataclass
class Replay:
    """One chart in motion. ``limit`` is for ln R, the same for every cohort."""

    chart: Chart
    step: float
    limit: float
    overrides: Overrides = field(default_factory=dict[Cohort, Effective])
    _cohorts: dict[Cohort, _Running] = field(default_factory=dict[Cohort, _Running])
    _parents: dict[Cohort, phases.Cohort] = field(default_factory=dict[Cohort, phases.Cohort])

    def take(self, cohort: Cohort, batch: Batch) -> Reading:
        """One cohort's new events. Call in order of time, and `close_before` ahead of each moment."""
        running = self._cohorts.get(cohort)
        if running is None or running.rated_at <= batch.at - self.chart.forget_after:
            running = self._cohorts[cohort] = _Running(self._life(cohort))
        running.rated_at = batch.at
        running.window = start_of(batch.at, self.chart.window, self.step)
        running.n += batch.n
        running.bad += batch.bad
        base = running.life.baseline(self._parent(cohort))
        evidence = running.life.take(batch.n, batch.bad, base, self.limit + CAP_ABOVE_LIMIT)
        return Reading(cohort, batch, base, evidence, self.limit)

    def close_before(self, at: float) -> None:
        """End the windows that are over at ``at``: cohorts learn from them, then their parents do."""
        current = start_of(at, self.chart.window, self.step)
        sums: dict[Cohort, list[float]] = {}
        for cohort, running in self._cohorts.items():
            if running.window >= current or not running.n > 0:
                continue
            parent = self._parent(cohort)
            base = running.life.baseline(parent)
            if running.life.phase(base, self.limit) != ALARM:
                running.life.close(running.n, running.bad, parent)
                key = self._parent_key(cohort)
                if key is not None:
                    total = sums.setdefault(key, [0.0, 0.0])
                    total[0] += running.n
                    total[1] += running.bad
            running.n = running.bad = 0.0
        for key, (n, bad) in sums.items():
            self._parents[key].close(n, bad)

    def copy(self, cohort: Cohort) -> phases.Cohort | None:
        """A cohort as it stands, to try something on; None if there is none."""
        running = self._cohorts.get(cohort)
        if running is None:
            return None
        return phases.Cohort.from_state(self.chart.plan, running.life.state, self.overrides.get(cohort))

    def base_of(self, cohort: Cohort) -> Effective | None:
        """The baseline in effect of a cohort that there is."""
        running = self._cohorts.get(cohort)
        return running.life.baseline(self._parent(cohort)) if running else None

    def _life(self, cohort: Cohort) -> phases.Cohort:
        return phases.Cohort(self.chart.plan, override=self.overrides.get(cohort))

    def _parent_key(self, cohort: Cohort) -> Cohort | None:
        partition = next(p for p in self.chart.partitions if p.name == cohort[0])
        return parent_of(cohort, partition)

    def _parent(self, cohort: Cohort) -> phases.Cohort | None:
        key = self._parent_key(cohort)
        if key is None:
            return None
        if key not in self._parents:
            self._parents[key] = self._life(key)
        return self._parents[key]


def moments(history: History) -> Iterator[tuple[float, list[tuple[Cohort, Batch]]]]:
    """Every moment at which something was rated, with what each cohort got."""
    rows: dict[float, list[tuple[Cohort, Batch]]] = {}
    for cohort, batches in history.batches.items():
        for batch in batches:
            rows.setdefault(batch.at, []).append((cohort, batch))
    yield from sorted(rows.items())


def limit_of(history: History) -> float:
    """The limit for ln R; a promise in days takes the mean volume of the history."""
    return history.chart.limit_at(history.per_day)


def run(
    history: History,
    overrides: Overrides,
    see: Callable[[Reading], object],
    told: Callable[[float], None] | None = None,
) -> Replay:
    """Replay the whole history; ``see`` gets every reading. Returns the replay as it stands at the end."""
    replay = Replay(history.chart, history.step, limit_of(history), overrides)
    for at, batches in moments(history):
        replay.close_before(at)
        for cohort, batch in batches:
            see(replay.take(cohort, batch))
        if told:
            told(at)
    replay.close_before(history.until + history.step)
    return replay
