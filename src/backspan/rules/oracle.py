"""The rules in Python: what every recorded series must be, given the samples that Prometheus has.

It shares the mathematics with the embedded server (`backspan.spc`, `backspan.rules.drawn`) and nothing with the PromQL
generator, so that a promtool test written from it says something. `backspan.rules.promtool` does that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt

from backspan.rules.alert import about_silence, silent
from backspan.rules.drawn import Drawn, Point
from backspan.rules.expressions import VOLUME_DAYS
from backspan.rules.oracle_counting import Batches, Key, Labels, Samples, labels_of
from backspan.rules.spec import Chart, Partition, Spec
from backspan.spc import phases
from backspan.spc.baseline import Learner
from backspan.spc.pchart import WIDTH
from backspan.spc.phases import Effective
from backspan.spc.shiryaev import CAP_ABOVE_LIMIT


@dataclass(frozen=True)
class Row:
    """What one cohort shows after one evaluation: a field for each recorded series of that name.

    ``n`` and ``bad`` are None if nobody rated since the last one; what depends on the window is None if nobody rated
    within it, ``z`` and ``ewma`` between the ends of windows, ``sr`` while the cohort learns.
    ``alarm`` is the pager's condition, ``tickets`` the rules of the drawn chart that signal now, ``missing`` that of
    `backspan.rules.series.ALERT_MISSING`.
    """

    n: float | None
    bad: float | None
    window_n: float | None
    window_bad: float | None
    rate: float | None
    p0: float | None
    phi: float
    ucl: float | None
    lcl: float | None
    sr: float | None
    sr_limit: float | None
    z: float | None
    ewma: float | None
    rated_at: float
    phase: str
    alarm: bool
    tickets: tuple[str, ...]
    missing: bool = False


@dataclass
class _Cohort:
    """One cohort between evaluations. The sums and the frozen baseline are forgotten on their own clocks."""

    life: phases.Cohort
    rated_at: float = float("-inf")
    learnt_at: float = float("-inf")
    frozen_at: float = float("-inf")
    drawn: Drawn = field(default_factory=Drawn)
    batches: list[tuple[float, float, float]] = field(default_factory=list[tuple[float, float, float]])

    def forget(self, before: float) -> None:
        """Drop what was recorded last at ``before`` or earlier."""
        if self.learnt_at <= before:
            self.life.learner = Learner()
        if self.frozen_at <= before:
            self.life.frozen = None
        if self.rated_at <= before:
            self.life.sr = None

    def window(self, after: float) -> tuple[float, float] | None:
        """(n, bad) of the batches after ``after``, or None if there are none."""
        self.batches = [batch for batch in self.batches if batch[0] > after]
        if not self.batches:
            return None
        return sum(batch[1] for batch in self.batches), sum(batch[2] for batch in self.batches)


@dataclass
class _Now:
    """One cohort in one evaluation."""

    batch: tuple[float, float] | None
    window: tuple[float, float] | None
    base: Effective | None
    point: Point | None = None


class Oracle:
    """One chart over raw series. Call `step` once per evaluation, with rising times ``spec.interval`` apart.

    ``overrides`` are baselines that a person set, by cohort (or by parent: the partition's name with ``_parent``).
    """

    def __init__(
        self, spec: Spec, chart: Chart, streams: Mapping[Labels, Samples],
        overrides: Mapping[Key, Effective] | None = None,
    ) -> None:
        self._spec, self._chart = spec, chart
        self._batches = Batches(spec, chart, streams)
        self._cohorts: dict[Key, _Cohort] = {}
        self._parents: dict[Key, _Cohort] = {}
        self._volumes: list[tuple[float, float]] = []
        self._overrides = dict(overrides or {})

    def step(self, at: float) -> dict[Key, Row]:
        """Every cohort that exists after the evaluation at ``at``, by partition name and labels."""
        now = self._take(at)
        closing = at % self._chart.window < self._spec.interval
        limit = self._limit(at, now, closing)
        for key, one in now.items():
            self._evidence(key, one, limit)
        if closing:
            self._draw(at, now)
            self._learn(at, now, limit)
        return {key: self._row(key, at, one, limit) for key, one in now.items()}

    # --- one evaluation ---
    def _take(self, at: float) -> dict[Key, _Now]:
        batches, chart = self._batches.step(at), self._chart
        forgotten = at - chart.forget_after
        for cohort in [*self._cohorts.values(), *self._parents.values()]:
            cohort.forget(forgotten)
        for key, (n, x) in batches.items():
            cohort = self._cohorts.setdefault(key, self._new(key))
            cohort.rated_at = at
            cohort.batches.append((at, n, x))
        return {
            key: _Now(batches.get(key), cohort.window(at - chart.window), cohort.life.baseline(self._parent(key)))
            for key, cohort in self._cohorts.items()
            if cohort.rated_at > forgotten
        }

    def _new(self, key: Key) -> _Cohort:
        return _Cohort(phases.Cohort(self._chart.plan, override=self._overrides.get(key)))

    def _partition(self, key: Key) -> Partition:
        return next(p for p in self._chart.partitions if p.name == key[0])

    def _parent_key(self, key: Key) -> Key | None:
        parent = self._partition(key).parent
        if parent is None:
            return None
        said = dict(key[1])
        return parent.name, labels_of({name: said.get(name, "") for name in parent.labels})

    def _parent(self, key: Key) -> phases.Cohort | None:
        parent = self._parent_key(key)
        if parent is None:
            return None
        return self._parents.setdefault(parent, self._new(parent)).life

    def _limit(self, at: float, now: Mapping[Key, _Now], closing: bool) -> float:
        """ln R of the alarm; a promise in days follows the mean volume of a week."""
        chart = self._chart
        if chart.promise.events:
            return chart.limit
        if closing:
            first = chart.partitions[0].name
            volume = sum(one.window[0] for key, one in now.items() if key[0] == first and one.window)
            self._volumes.append((at, volume))
        self._volumes = [(time, n) for time, n in self._volumes if time > at - VOLUME_DAYS * 86400]
        mean = sum(n for _, n in self._volumes) / len(self._volumes) if self._volumes else 0.0
        return chart.limit_at(mean * 86400 / chart.window)

    def _evidence(self, key: Key, one: _Now, limit: float) -> None:
        n, x = one.batch or (0.0, 0.0)
        self._cohorts[key].life.take(n, x, one.base, limit + CAP_ABOVE_LIMIT)

    def _draw(self, at: float, now: Mapping[Key, _Now]) -> None:
        for key, one in now.items():
            if one.window is not None:
                one.point = self._cohorts[key].drawn.take(self._chart, one.base, *one.window, at)

    def _learn(self, at: float, now: Mapping[Key, _Now], limit: float) -> None:
        sums: dict[Key, list[float]] = {}
        rated: dict[Key, None] = {}
        for key, one in now.items():
            if one.window is None:
                continue
            cohort, parent = self._cohorts[key], self._parent_key(key)
            alarming = cohort.life.phase(one.base, limit) == phases.ALARM
            if parent is not None and not alarming:
                total = sums.setdefault(parent, [0.0, 0.0])
                total[0] += one.window[0]
                total[1] += one.window[1]
            if not one.window[0] > 0:  # events whose exposure lies in another window
                continue
            if parent is not None:
                rated[parent] = None
            if alarming:
                cohort.frozen_at = at if cohort.life.frozen else cohort.frozen_at
            else:
                self._close(cohort, at, one.window, self._parent(key))
        for parent in rated:
            cohort = self._parents[parent]
            if parent in sums and sums[parent][0] > 0:
                self._close(cohort, at, (sums[parent][0], sums[parent][1]), None)
            elif cohort.life.frozen:
                cohort.frozen_at = at

    def _close(self, cohort: _Cohort, at: float, window: tuple[float, float], parent: phases.Cohort | None) -> None:
        if cohort.life.frozen:
            cohort.frozen_at = at
        elif self._chart.baseline.learnt:
            cohort.learnt_at = at
            if cohort.life.close(*window, parent):
                cohort.frozen_at = at

    def _row(self, key: Key, at: float, one: _Now, limit: float) -> Row:
        chart, cohort, base = self._chart, self._cohorts[key], one.base
        n, x = one.window or (None, None)
        rate = x / n if n and x is not None else None
        sr = cohort.life.value
        phi = base.phi if base else 1.0
        lower, upper = self._band(base, n)
        return Row(
            n=one.batch[0] if one.batch else None, bad=one.batch[1] if one.batch else None, window_n=n, window_bad=x,
            rate=rate, p0=base.p0 if base else None, phi=phi, ucl=upper, lcl=lower, sr=sr,
            sr_limit=limit if sr is not None else None,
            z=one.point.z if one.point else None, ewma=one.point.ewma if one.point else None,
            rated_at=cohort.rated_at, phase=cohort.life.phase(base, limit),
            alarm=sr is not None and sr >= limit and cohort.rated_at > at - chart.idle_after,
            tickets=one.point.tickets if one.point else (),
            missing=about_silence(chart) and silent(base, n or 0.0, x or 0.0),
        )

    def _band(self, base: Effective | None, n: float | None) -> tuple[float | None, float | None]:
        if base is None or not n:
            return None, None
        half = WIDTH * sqrt(base.phi * self._chart.model.variance(base.p0) / n)
        top = base.p0 + half if self._chart.model.family == "poisson" else min(1.0, base.p0 + half)
        return max(0.0, base.p0 - half), top
