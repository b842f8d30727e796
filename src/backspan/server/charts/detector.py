"""One cohort of one chart as it runs, and how it is kept between transactions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil, inf
from typing import Any

from backspan.rules.drawn import Drawn
from backspan.rules.spec import Chart
from backspan.spc.baseline import Learner
from backspan.spc.phases import ALARM, LEARNING, Cohort, Effective
from backspan.spc.shiryaev import CAP_ABOVE_LIMIT, Model

_ONSET_RATIO = 1.5
"""The change whose beginning is estimated: half as much again."""
_POINT = 50
"""Events in a point of a cohort that knows no rate yet."""


def subgroup(p0: float) -> int:
    """Events in one point of the chart: enough for five bad ones at the accepted rate (Montgomery, chapter 7)."""
    return min(500, max(20, ceil(5 / p0)))


def counts_of(chart: Chart, model: Model) -> list[Any]:
    """What makes the sums of a chart what they are; where it has changed, nothing that was kept fits any more."""
    return [chart.indicator, [list(pair) for pair in chart.where], model.family, model.falls]


@dataclass
class Detector:
    """One cohort. Numbers of events are exposure and counted events where the chart is one of a rate."""

    chart: Chart
    key: str
    life: Cohort
    ratings: float = 0.0
    bad: float = 0.0
    window: tuple[float, float] = (0.0, 0.0)
    """(n, bad) of the open window."""
    alarm: bool = False
    cusum: float = 0.0
    onset: float = 0.0
    """Rating after which a CUSUM for half as much again last stood at zero: the estimate of when it began."""
    onset_time: float = 0.0
    rated_at: float = 0.0
    learnt_at: float = 0.0
    frozen_at: float = 0.0
    """When the sums, and the learnt baseline, were last used. Each is forgotten ``forget_after`` later."""
    point: dict[str, Any] | None = None
    size: int = _POINT
    updated: float = 0.0
    rules: Drawn = field(default_factory=Drawn)
    """What the rules that open tickets remember."""
    noted: tuple[float, float] | None = None
    """(ratings, bad) at the last look; None of a cohort that was never looked at."""
    drawn: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Points that have been finished since the last save."""

    # --- keeping it ---
    @classmethod
    def restore(cls, chart: Chart, key: str, row: Mapping[str, Any] | None, override: Effective | None) -> Detector:
        """The detector as saved; a new one if it was not, or if the chart counts something else since."""
        plan = chart.plan
        now = counts_of(chart, plan.model)
        if row is None or row["state"].get("of", now) != now:
            return cls(chart, key, Cohort(plan, override=override))
        state = _upgraded(chart, row)
        life = dict(state["life"])
        if state["alternatives"] != [*chart.alternatives, chart.n_ref]:
            life["sr"] = None
        return cls(
            chart, key, Cohort.from_state(plan, life, override), row["ratings"], row["bad"],
            tuple(state["window"]), state["alarm"], state["cusum"], state["onset"], state["onset_time"],
            state["rated_at"], state["learnt_at"], state["frozen_at"], state["point"], state["size"], row["updated"],
            Drawn.from_state(state.get("rules")), tuple(state["noted"]) if state.get("noted") else None)

    def saved(self) -> dict[str, Any]:
        """The row to save."""
        chart = self.chart
        state = {
            "of": counts_of(chart, self.life.plan.model), "life": self.life.state,
            "alternatives": [*chart.alternatives, chart.n_ref], "window": list(self.window),
            "alarm": self.alarm, "cusum": self.cusum, "onset": self.onset,
            "onset_time": self.onset_time, "rated_at": self.rated_at, "learnt_at": self.learnt_at,
            "frozen_at": self.frozen_at, "point": self.point, "size": self.size, "rules": self.rules.state,
            "noted": self.noted,
        }
        return {"chart": chart.name, "cohort": self.key, "state": state, "ratings": self.ratings, "bad": self.bad,
                "updated": self.updated}

    def points(self) -> list[dict[str, Any]]:
        """Rows of the points that have changed since the last save."""
        return [*self.drawn, *([self.point] if self.point is not None and "ended" in self.point else [])]

    def forget(self, before: float) -> None:
        """Drop what was last used at ``before`` or earlier."""
        if self.rated_at <= before:
            self.life.sr = None
        if self.learnt_at <= before:
            self.life.learner = Learner()
        if self.frozen_at <= before:
            self.life.frozen = None

    # --- one event ---
    def step(self, n: float, x: float, time: float, at: float, limit: float, parent: Cohort | None) -> str:
        """Take ``x`` bad of ``n`` events of ``time``, counted ``at``; returns ``fire``, ``clear`` or ``""``."""
        self.forget(at - self.chart.forget_after)
        base = self.life.baseline(parent)
        self.ratings += n
        self.bad += x
        self.window = (self.window[0] + n, self.window[1] + x)
        self.rated_at = self.updated = max(self.rated_at, at)
        value = self._take(n, x, base, limit)
        self._follow(n, x, base, time)
        self._draw(n, x, time, base, value, _phase(base, value, limit))
        return self._judge(value, limit)

    def settle(self, limit: float, parent: Cohort | None) -> str:
        """Bring the evidence in line with the baseline now in effect; returns as `step` does."""
        before = self.life.sr
        value = self._take(0.0, 0.0, self.life.baseline(parent), limit)
        if self.life.sr is not before:
            self.cusum, self.onset, self.onset_time = 0.0, self.ratings, self.rated_at
        return self._judge(value, limit)

    def _judge(self, value: float | None, limit: float) -> str:
        """Compare the evidence with the limit. An alarm is over 3 below its limit."""
        if not self.alarm and value is not None and value >= limit:
            self.alarm = True
            return "fire"
        if self.alarm and (value is None or value < limit - CAP_ABOVE_LIMIT):
            self.alarm = False
            return "clear"
        return ""

    def _take(self, n: float, x: float, base: Effective | None, limit: float) -> float | None:
        value = self.life.take(n, x, base, limit + CAP_ABOVE_LIMIT)
        return None if value == -inf else value

    def _follow(self, n: float, x: float, base: Effective | None, time: float) -> None:
        if self.cusum == 0.0:
            self.onset, self.onset_time = self.ratings, time
        if base is None or base.phase == LEARNING:
            self.cusum = 0.0
            return
        model = self.life.plan.model
        llr = model.llr(n, x, base.p0, model.alternative(base.p0, _ONSET_RATIO)) / base.phi
        self.cusum = max(0.0, self.cusum + llr)

    def _draw(
        self, n: float, x: float, time: float, base: Effective | None, value: float | None, phase: str
    ) -> None:
        point = self.point
        if point is None or (n and point["n"] >= self.size):
            if point is not None:
                self.drawn.append(point)
            self.size = _POINT if base is None else subgroup(base.p0)
            number = 0 if point is None else point["number"] + 1
            point = _new_point(self.chart, self.key, number, time)
        point["n"] += n
        point["bad"] += x
        point.update(
            statistic=value, ended=time, phase=phase, p0=base.p0 if base else None, phi=base.phi if base else None)
        self.point = point

    # --- the end of a window ---
    def close(self, end: float, alarming: bool, parent: Cohort | None, window: tuple[float, float]) -> None:
        """Learn from a window that ended at ``end``, unless the cohort alarms."""
        if self.life.frozen:
            self.frozen_at = end
        elif self.chart.baseline.learnt and not alarming:
            self.learnt_at = end
            if self.life.close(*window, parent):
                self.frozen_at = end
        self.updated = max(self.updated, end)

    def alarming(self, limit: float, parent: Cohort | None) -> bool:
        """Tell whether the evidence has reached the limit."""
        return self.life.phase(self.life.baseline(parent), limit) == ALARM


def _phase(base: Effective | None, value: float | None, limit: float) -> str:
    """`Cohort.phase` of evidence that is at hand."""
    if value is not None and value >= limit:
        return ALARM
    return base.phase if base is not None else LEARNING


def _new_point(chart: Chart, key: str, number: int, time: float) -> dict[str, Any]:
    return {"chart": chart.name, "cohort": key, "number": number, "n": 0.0, "bad": 0.0, "started": time}


def _upgraded(chart: Chart, row: Mapping[str, Any]) -> Mapping[str, Any]:
    """State as it is kept now. Version 1 kept the evidence alone, against the standard of the spec."""
    state = row["state"]
    if "life" in state:
        return state
    given, updated = chart.baseline.p0, row["updated"]
    fits = given > 0 and len(state["sr"]) in (0, len(chart.alternatives))
    evidence = {"p0": given, "phi": chart.baseline.phi, "log_r": state["sr"]} if fits else None
    number = ceil(row["ratings"] / subgroup(given)) if given > 0 else int(row["ratings"])
    point = _new_point(chart, row["cohort"], number, updated)
    return {
        "life": {"learner": None, "frozen": None, "sr": evidence}, "alternatives": [*chart.alternatives, chart.n_ref],
        "window": (0.0, 0.0), "alarm": state["alarm"], "cusum": state["cusum"], "onset": state["onset"],
        "onset_time": state["onset_time"], "rated_at": updated, "learnt_at": 0.0, "frozen_at": 0.0, "point": point,
        "size": subgroup(given) if given > 0 else _POINT,
    }
