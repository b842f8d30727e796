"""The life of one cohort: it learns what is normal, or is told, or inherits it; then its evidence is watched.

Phases. ``learning``: not enough is known, nobody is paged. ``inherited``: the baseline of the parent (the same prompt
over all versions) holds. ``frozen``: its own does, learnt or fitted. ``given``: a standard from the spec.
``rebased``: a person accepted a new level, with a reason. ``alarm``: the evidence has reached its limit.

A baseline is never learnt from windows during an alarm, never becomes worse than the parent's by itself, and once
frozen changes only by a person's hand. Evidence starts again at nothing when the baseline in effect changes, because
the promise is one against that baseline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

from backspan.spc.baseline import RATINGS, WINDOWS, Learner, accepted, no_worse
from backspan.spc.shiryaev import ALTERNATIVES, BINOMIAL, MixtureSR, Model

LEARNING, INHERITED, FROZEN, GIVEN, REBASED, ALARM = PHASES = (
    "learning", "inherited", "frozen", "given", "rebased", "alarm")


@dataclass(frozen=True)
class Effective:
    """The baseline in effect: accepted rate ``p0``, dispersion ``phi``, and the phase that it puts the cohort in."""

    p0: float
    phi: float
    phase: str


@dataclass(frozen=True)
class Plan:
    """What a chart lays down for all its cohorts. ``given`` is the standard; None: the baseline is learnt."""

    model: Model = BINOMIAL
    alternatives: tuple[float, ...] = ALTERNATIVES
    n_ref: float = 10
    ratings: int = RATINGS
    windows: int = WINDOWS
    given: tuple[float, float] | None = None


@dataclass
class Cohort:
    """One cohort of a chart (or a parent, which only learns).

    Per evaluation: `baseline`, then `take` the new ratings, and at the end of a window `close` it. ``override`` is a
    baseline that a person set.
    """

    plan: Plan
    learner: Learner = field(default_factory=Learner)
    frozen: tuple[float, float] | None = None
    override: Effective | None = None
    sr: MixtureSR | None = None

    def baseline(self, parent: Cohort | None = None) -> Effective | None:
        """The baseline in effect; None before the first window of a cohort that has nothing to inherit."""
        if self.override is not None:
            return self.override
        if self.plan.given is not None:
            return Effective(*self.plan.given, GIVEN)
        if self.frozen is not None:
            return Effective(*self.frozen, FROZEN)
        passed_on = parent.settled if parent is not None else None
        if passed_on is not None:
            return Effective(*passed_on, INHERITED)
        return self._running()

    @property
    def settled(self) -> tuple[float, float] | None:
        """(p0, phi) that children may inherit, or None while still learning."""
        if self.override is not None:
            return self.override.p0, self.override.phi
        return self.frozen

    def _running(self) -> Effective | None:
        """The estimate so far, good enough to draw limits."""
        if not self.learner.windows:
            return None
        p, model = self.learner.estimate, self.plan.model
        return Effective(accepted(p, model.variance(p) / self.learner.n, model), 1.0, LEARNING)

    def take(self, n: float, x: float, base: Effective | None, cap: float) -> float | None:
        """Take ``x`` bad of ``n`` new events under ``base`` and return the evidence ln R, None while learning.

        ``cap`` bounds the evidence.
        """
        if base is None or base.phase == LEARNING:
            self.sr = None
            return None
        if self.sr is None or self.sr.p0 != base.p0:
            plan = self.plan
            self.sr = MixtureSR(base.p0, plan.alternatives, plan.n_ref, cap, phi=base.phi, model=plan.model)
        self.sr.phi = base.phi
        self.sr.cap_at(cap)
        return self.sr.step(n, x)

    @property
    def value(self) -> float | None:
        """The evidence ln R; None while there is none."""
        return None if self.sr is None or self.sr.value == -inf else self.sr.value

    def close(self, n: float, x: float, parent: Cohort | None = None) -> bool:
        """Learn from a window of ``n`` > 0 events (not one during an alarm); True if that froze the baseline."""
        plan = self.plan
        if plan.given is not None or self.frozen is not None:
            return False
        self.learner.add(n, x)
        if not self.learner.ready(plan.ratings, plan.windows):
            return False
        fit, passed_on = self.learner.fit(plan.model), parent.settled if parent is not None else None
        p0 = no_worse(fit.p0, passed_on[0], plan.model) if passed_on is not None else fit.p0
        self.frozen = (p0, fit.phi)
        return True

    def phase(self, base: Effective | None, limit: float) -> str:
        """The phase the cohort is in, given the baseline in effect and the alarm's limit."""
        value = self.value
        if value is not None and value >= limit:
            return ALARM
        return base.phase if base is not None else LEARNING

    # --- keeping it -------------------------------------------------------------------------------------------------
    @property
    def state(self) -> dict[str, Any]:
        """Everything but the plan and the override, as JSON can carry it."""
        sr = self.sr
        evidence = None if sr is None else {"p0": sr.p0, "phi": sr.phi, "log_r": list(sr.state)}
        return {"learner": list(self.learner.state), "frozen": self.frozen, "sr": evidence}

    @classmethod
    def from_state(cls, plan: Plan, state: Mapping[str, Any], override: Effective | None = None) -> Cohort:
        """A cohort that goes on from `state`; evidence that does not fit the plan any more is dropped."""
        frozen = state.get("frozen")
        learner = Learner.from_state(state.get("learner") or Learner().state)
        cohort = cls(plan, learner, tuple(frozen) if frozen else None, override)
        said = state.get("sr")
        if said and len(said["log_r"]) in (0, len(plan.alternatives)):
            cohort.sr = MixtureSR.from_state(
                said["log_r"], said["p0"], plan.alternatives, plan.n_ref, phi=said["phi"], model=plan.model)
        return cohort
