"""One line of `docs/benchmarks.md`: what we promise, and what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Row:
    """A promise and its measurement, both in ``unit``; ``sense`` says whether the limit is the most or the least."""

    what: str
    limit: float
    measured: float
    unit: str
    command: str
    sense: Literal["most", "least"] = "most"

    @property
    def kept(self) -> bool:
        """Whether the measurement is within the limit."""
        return self.measured <= self.limit if self.sense == "most" else self.measured >= self.limit
