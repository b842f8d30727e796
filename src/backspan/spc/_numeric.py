"""The little numerical mathematics that exact run lengths need: quadrature, linear systems, roots, the normal law."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import cos, erfc, exp, pi, sqrt

Matrix = list[list[float]]

_ROOT_2 = sqrt(2.0)
_ROOT_2PI = sqrt(2.0 * pi)


def normal_pdf(x: float) -> float:
    """Density of the standard normal law."""
    return exp(-0.5 * x * x) / _ROOT_2PI


def normal_cdf(x: float) -> float:
    """P(Z <= x) for standard normal Z, accurate in both tails (through erfc)."""
    return 0.5 * erfc(-x / _ROOT_2)


@lru_cache(maxsize=32)
def _unit_rule(count: int) -> tuple[tuple[float, float], ...]:
    """Nodes and weights on -1..1: Newton's method on the Legendre polynomial."""
    rule: list[tuple[float, float]] = []
    for i in range(count):
        x = cos(pi * (i + 0.75) / (count + 0.5))
        slope = 0.0
        for _ in range(100):
            value, slope = _legendre(count, x)
            step = value / slope
            x -= step
            if abs(step) < 1e-15:
                break
        rule.append((x, 2.0 / ((1.0 - x * x) * slope * slope)))
    return tuple(reversed(rule))


def _legendre(degree: int, x: float) -> tuple[float, float]:
    before, value = 1.0, x
    for k in range(2, degree + 1):
        before, value = value, ((2 * k - 1) * x * value - (k - 1) * before) / k
    return value, degree * (x * value - before) / (x * x - 1.0)


def gauss_legendre(count: int, low: float, high: float) -> tuple[list[float], list[float]]:
    """Nodes and weights of Gauss-Legendre quadrature with ``count`` >= 2 points on ``low..high``."""
    half, middle = (high - low) / 2.0, (high + low) / 2.0
    rule = _unit_rule(count)
    return [middle + half * x for x, _ in rule], [half * w for _, w in rule]


def solve(matrix: Matrix, right: list[float]) -> list[float]:
    """The solution of a square linear system, by elimination with row pivoting. The arguments are left as they are.

    Raises ValueError for a singular matrix.
    """
    rows = [[*row, b] for row, b in zip(matrix, right, strict=True)]
    size = len(rows)
    for i in range(size):
        pivot = max(range(i, size), key=lambda r: abs(rows[r][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        if rows[i][i] == 0.0:
            raise ValueError("the linear system is singular")
        _eliminate(rows, i)
    answer = [0.0] * size
    for i in range(size - 1, -1, -1):
        row = rows[i]
        answer[i] = (row[size] - sum(row[j] * answer[j] for j in range(i + 1, size))) / row[i]
    return answer


def _eliminate(rows: Matrix, i: int) -> None:
    top = rows[i][i:]
    for row in rows[i + 1 :]:
        factor = row[i] / top[0]
        if factor:
            row[i:] = [a - factor * b for a, b in zip(row[i:], top, strict=True)]


def increasing_root(function: Callable[[float], float], target: float, low: float, step: float) -> float:
    """Where the increasing ``function`` reaches ``target``, from ``low`` on, to about 1e-9.

    Walks up by ``step`` until the target is passed, then Illinois' form of the false position: few evaluations, since
    each may be dear. Raises ValueError if ``function(low)`` is above the target already.
    """
    under, over = function(low) - target, 0.0
    if under > 0:
        raise ValueError(f"{target} is passed at {low} already")
    high = low
    while under <= 0:
        low, high, over = high, high + step, under
        under = function(high) - target
    return _false_position(lambda x: function(x) - target, low, over, high, under)


def _false_position(function: Callable[[float], float], low: float, below: float, high: float, above: float) -> float:
    """The root between ``low`` (value ``below`` <= 0) and ``high`` (value ``above`` > 0)."""
    for _ in range(200):
        if below == 0 or high - low <= 1e-9 * max(1.0, abs(high)):
            return low
        middle = high - above * (high - low) / (above - below)
        value = function(middle)
        if abs(value) < 1e-12:
            return middle
        if value < 0:
            low, below, above = middle, value, above / 2.0
        else:
            high, above, below = middle, value, below / 2.0
    return (low + high) / 2.0
