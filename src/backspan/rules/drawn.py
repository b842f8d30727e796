"""The drawn chart of one cohort in Python: closed windows, standardised, and the rules on them that open tickets.

What `backspan.rules.tickets` says in PromQL. The oracle and the embedded server both use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import sqrt
from typing import Any

from backspan.rules.spec import Chart
from backspan.rules.tickets import EWMA_LIMIT, LEAST_EXPECTED, RUNS
from backspan.spc import ewma
from backspan.spc.phases import Effective


@dataclass(frozen=True)
class Point:
    """One closed window: its z-score (positive where worse), the weighted mean of them, the rules that signal now."""

    z: float
    ewma: float
    tickets: tuple[str, ...]


@dataclass
class Drawn:
    """What the rules remember of the windows before: the mean, a history per rule, and when the last point was."""

    mean: float = 0.0
    beyond: dict[str, int] = field(default_factory=dict[str, int])
    at: float = 0.0

    @classmethod
    def from_state(cls, state: Mapping[str, Any] | None) -> Drawn:
        """As it was kept; new if nothing was."""
        return cls(**state) if state else cls()

    @property
    def state(self) -> dict[str, Any]:
        """A copy of the memory, for JSON."""
        return asdict(self)

    def take(self, chart: Chart, base: Effective | None, n: float, x: float, at: float) -> Point | None:
        """The window of ``n`` events that ends ``at``, ``x`` of them bad. None if too few of them were to be expected.

        What is older than the chart's ``forget_after`` is forgotten first.
        """
        if self.at <= at - chart.forget_after:
            self.mean, self.beyond = 0.0, {}
        if not chart.tickets or base is None or n * base.p0 < LEAST_EXPECTED:
            return None
        sign = -1.0 if chart.model.falls else 1.0
        z = sign * (x - n * base.p0) / sqrt(base.phi * chart.model.variance(base.p0) * n)
        self.mean, self.at = ewma.LAM * z + (1 - ewma.LAM) * self.mean, at
        return Point(z, self.mean, self._signals(z))

    def _signals(self, z: float) -> tuple[str, ...]:
        found = ["we_1"] if z > 3 else []
        for name, (rule, sigma) in RUNS.items():
            self.beyond[name] = rule.push(self.beyond.get(name, 0), z > sigma)
            found += [name] if rule.fires(self.beyond[name]) else []
        return tuple([*found, "ewma"] if self.mean > EWMA_LIMIT else found)
