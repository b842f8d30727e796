"""Run lengths of run rules on standard normal z-scores, exactly, by a Markov chain.

The states are the histories of the rules, without bits that can no longer matter; the moves are the zones between the
lines of the rules. Source: C. W. Champ, W. H. Woodall, "Exact results for Shewhart control charts with supplementary
runs rules", Technometrics 29 (1987).

Rules that compare neighbouring points (steady rise, alternation) are not functions of zones; for those use
`backspan.spc.simulate`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import fsum, inf

from backspan.spc._numeric import normal_cdf
from backspan.spc.points import check_finite
from backspan.spc.runs import WESTERN_ELECTRIC, Moment, Rule

_EDGES = (-inf, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, inf)
_INSIDE = (-3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5)
"""One z of each zone."""
_MOST_STATES = 20_000

_State = tuple[int, ...]


def run_length(rules: Iterable[Rule] = WESTERN_ELECTRIC, shift: float = 0.0) -> float:
    """Mean number of points to the first signal of any of ``rules``, from empty histories; z has mean ``shift``.

    Raises ValueError for no rules, and for one that compares neighbouring points.
    """
    check_finite(shift=shift)
    rules = tuple(rules)
    if not rules:
        raise ValueError("run rules need at least one rule")
    stepping = sorted({rule.name for rule in rules if rule.back})
    if stepping:
        raise ValueError(f"{', '.join(stepping)}: a rule on steps has no exact run length here; simulate it")
    chances = [normal_cdf(b - shift) - normal_cdf(a - shift) for a, b in zip(_EDGES, _EDGES[1:], strict=False)]
    return _expected_steps(_moves(rules), chances, 3 * max(rule.of for rule in rules))


def _moves(rules: Sequence[Rule]) -> list[list[tuple[int, int]]]:
    """Per state, reached from the empty histories: pairs of a zone that does not signal and the state it leads to."""
    flags = [[rule.flag(Moment(z)) for rule in rules] for z in _INSIDE]
    numbers: dict[_State, int] = {(0,) * len(rules): 0}
    moves: list[list[tuple[int, int]]] = []
    for state in _growing(numbers):
        row: list[tuple[int, int]] = []
        for zone, flagged in enumerate(flags):
            after = [r.push(h, f) for r, h, f in zip(rules, state, flagged, strict=True)]
            if not any(r.fires(h) for r, h in zip(rules, after, strict=True)):
                short = tuple(_shortened(r, h) for r, h in zip(rules, after, strict=True))
                row.append((zone, numbers.setdefault(short, len(numbers))))
        moves.append(row)
    return moves


def _growing(numbers: dict[_State, int]) -> Iterable[_State]:
    """The states in the order of their numbers, those added on the way too."""
    at = 0
    while at < len(numbers):
        if len(numbers) > _MOST_STATES:
            raise ValueError(f"these run rules have more than {_MOST_STATES} states")
        yield from list(numbers)[at : (at := len(numbers))]


def _shortened(rule: Rule, history: int) -> int:
    """The history without its old bits that no future can turn into a signal: fewer states, the same run length."""
    for age in range(rule.of - 1, -1, -1):
        if history >> age & 1:
            if any(_kept(rule, history, ahead) >= rule.needs for ahead in range(1, rule.of - age)):
                return history
            history &= ~(1 << age)
    return history


def _kept(rule: Rule, history: int, ahead: int) -> int:
    """Most bits that the history can hold after ``ahead`` more points."""
    return (history & ((1 << (rule.of - ahead)) - 1)).bit_count() + ahead


def _expected_steps(moves: Sequence[Sequence[tuple[int, int]]], chances: Sequence[float], patience: int) -> float:
    """The sum over t of P(no signal up to t): summed until it falls geometrically, the rest in closed form.

    ``patience``: for how many steps the fall must be the same. In the first ones no pattern is complete, so the fall
    is constant there as well, but another.
    """
    mass = [1.0] + [0.0] * (len(moves) - 1)
    total, before, fall, same = 1.0, 1.0, 0.0, 0
    while same < patience:
        mass = _moved(mass, moves, chances)
        left = fsum(mass)
        if left < 1e-300:
            return total
        same = same + 1 if abs(left / before - fall) < 1e-13 else 0
        total, before, fall = total + left, left, left / before
    return total + before * fall / (1.0 - fall)


def _moved(mass: Sequence[float], moves: Sequence[Sequence[tuple[int, int]]], chances: Sequence[float]) -> list[float]:
    after = [0.0] * len(mass)
    for weight, row in zip(mass, moves, strict=True):
        if weight:
            for zone, target in row:
                after[target] += weight * chances[zone]
    return after
