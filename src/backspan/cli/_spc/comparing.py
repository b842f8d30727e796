"""Before against after: what is significant, what is large, and what carries a cause's points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import log, sqrt

from backspan.cli._spc.facts import Cell, Facts, Pair

Z, LEAST = 3.3, 20.0
"""Standard errors of a significant difference; fewest events on a side that can show one."""


@dataclass
class Cause:
    """One explanation. ``score`` is the sum of the points of the table in `backspan.cli._spc.causes`."""

    name: str
    score: float = 0.0
    for_: list[str] = field(default_factory=list[str])
    against: list[str] = field(default_factory=list[str])

    def pro(self, points: float, text: str) -> None:
        """Something that speaks for it."""
        self.score += points
        self.for_.append(text)

    def con(self, points: float, text: str) -> None:
        """Something that speaks against it."""
        self.score -= points
        self.against.append(text)


def risen(before: Cell, after: Cell) -> bool:
    """Tell whether the share after is significantly above the one before (pooled two-sample z)."""
    if before.n < LEAST or after.n < LEAST:
        return False
    p = (before.bad + after.bad) / (before.n + after.n)
    variance = p * (1.0 - p) if p < 1.0 else p  # beyond 1 it is events per exposure
    spread = sqrt(max(variance, 1e-12) * (1.0 / before.n + 1.0 / after.n))
    return (after.rate - before.rate) / spread >= Z


def worsened(a: Cell, b: Cell, facts: Facts) -> bool:
    """Tell whether ``b`` is significantly worse than ``a``."""
    return risen(b, a) if facts.worse_down else risen(a, b)


def fold_of(before: float, after: float) -> float:
    """By which factor something has changed, up or down; 1 for no change."""
    if before <= 0 or after <= 0:
        return 1.0 if before == after else 10.0
    return max(before / after, after / before)


def moved_by(before: tuple[float, float], after: tuple[float, float]) -> float:
    """The factor by which a count per exposure changed, where that is significant; else 1. Pairs: (count, exposure)."""
    (x0, n0), (x1, n1) = before, after
    if n0 < LEAST or n1 < LEAST or x0 + x1 < LEAST:
        return 1.0
    z = abs(log((x1 + 0.5) / n1) - log((x0 + 0.5) / n0)) / sqrt(1.0 / (x0 + 0.5) + 1.0 / (x1 + 0.5))
    return fold_of((x0 + 0.5) / n0, (x1 + 0.5) / n1) if z >= Z else 1.0


def percent(cell: Cell) -> str:
    """``30.3 % of 310``."""
    return f"{100 * cell.rate:.1f} % of {cell.n:,.0f}"


def others_of(values: Mapping[str, Pair], value: str) -> Pair:
    """All values but one, together."""
    others = [pair for name, pair in values.items() if name != value]
    return Pair(added([pair.before for pair in others]), added([pair.after for pair in others]))


def added(cells: list[Cell]) -> Cell:
    """Cells together."""
    return Cell(sum(cell.n for cell in cells), sum(cell.bad for cell in cells))


def is_new(values: Mapping[str, Pair], pair: Pair) -> bool:
    """Tell whether a value had practically no ratings before, though there were some."""
    before = added([one.before for one in values.values()]).n
    return before >= LEAST and pair.before.n < 0.01 * before
