"""Ratings set against each other without the habits of those who rate: shrunk centring per rater.

A harsh rater who saw only one side makes that side look bad. Here a rating is y = m_g + u_i + e: what its group g is
like, the habit of its rater i (variance ``between``), and the rest (variance ``within``). The habit is estimated as the
mean of what i says beyond the groups that i judged, shrunk by n_i / (n_i + within/between): whoever rated once is
hardly known, whoever rated a hundred times is. A group is then the mean of its ratings less the habits of their
raters. Both depend on each other; what is solved for is where they agree, which is the generalised least-squares
estimate of the groups and the best linear unbiased prediction of the habits (C. R. Henderson, Biometrics 31 (1975),
423-447; empirical Bayes as in C. N. Morris, JASA 78 (1983), 47-55). So a true difference between groups whose raters
each saw one of them stays whole, which centring on each rater's own mean would take away.

Comparisons alone read this. A chart that promises how seldom it errs reads votes as they were cast.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import hypot, sqrt
from statistics import NormalDist

from backspan.spc.pchart import wilson
from backspan.spc.weighted import Estimate

_SAME = 1e-12
"""Ratings that vary less than this are all equal."""


@dataclass(frozen=True)
class Cell:
    """What one rater said of one group: how many ratings, their sum, and the sum of their squares.

    ``times`` raters said just this, and nothing of another group; all but one of them have no name here.
    """

    rater: Hashable
    group: str
    n: int
    total: float
    squares: float
    times: int = 1


@dataclass(frozen=True)
class Group:
    """A group: ratings, persons, their mean as it is, and less the raters' habits."""

    n: int
    raters: int
    raw: Estimate
    centred: Estimate


@dataclass(frozen=True)
class Difference:
    """A group against the control, as it is and centred: the value and the bounds of its interval."""

    raw: tuple[float, float, float]
    centred: tuple[float, float, float]


@dataclass(frozen=True)
class Comparison:
    """``between`` and ``within`` are the variances of raters' habits and of their single ratings."""

    groups: Mapping[str, Group]
    differences: Mapping[str, Difference]
    between: float
    within: float


def cells(ratings: Iterable[tuple[Hashable | None, str, float]]) -> list[Cell]:
    """Sum up (rater, group, value); each rating without a rater is taken to be of a person of its own."""
    sums: dict[tuple[Hashable, str], list[float]] = {}
    for number, (rater, group, value) in enumerate(ratings):
        key = ("nobody", number) if rater is None else ("somebody", rater)
        one = sums.setdefault((key, group), [0, 0.0, 0.0])
        one[0] += 1
        one[1] += value
        one[2] += value * value
    return [Cell(rater, group, int(n), total, squares) for (rater, group), (n, total, squares) in sums.items()]


def compare(
    given: Sequence[Cell], control: str | None = None, *, shares: bool = True, level: float = 0.95
) -> Comparison:
    """The means of all groups, raw and centred, and their differences from the group ``control``, if it is there.

    With ``shares`` all ratings are 0 or 1, and a raw interval is Wilson's, else a normal one; of a difference it is
    made of both (G. Y. Zou and A. Donner, Statistics in Medicine 27 (2008), 1693-1702). It takes every rating for a
    person of its own: that is what is wrong with it. A centred one is normal: with fewer than some ten raters in a
    group it is too narrow. The intervals of all differences hold at once with ``level`` (C. E. Bonferroni, 1936).
    """
    between, within = variances(given)
    names = sorted({cell.group for cell in given})
    by_group = {name: [cell for cell in given if cell.group == name] for name in names}
    if within > _SAME:
        means, spread = _solve(given, names, between, within)
    else:  # all say the same: there are no habits to see
        means, spread = [], []

    def group(at: int, z: float) -> Group:
        n, raters, raw = _raw(by_group[names[at]], shares, z)
        centred = Estimate(*_bounds(means[at], spread[at][at], z), n) if means else raw
        return Group(n, raters, raw, centred)

    def difference(at: int, first: int, z: float) -> Difference:
        raw = _apart(group(at, z).raw, group(first, z).raw)
        if not means:
            return Difference(raw, raw)
        apart = spread[at][at] + spread[first][first] - 2 * spread[at][first]
        return Difference(raw, _bounds(means[at] - means[first], apart, z))

    alone, together = (NormalDist().inv_cdf(1 - (1 - level) / 2 / sides) for sides in (1, max(1, len(names) - 1)))
    first = names.index(control) if control in names else None
    return Comparison(
        {name: group(at, alone) for at, name in enumerate(names)},
        {} if first is None else {name: difference(at, first, together) for at, name in enumerate(names)
                                  if at != first}, between, within)


def variances(given: Sequence[Cell]) -> tuple[float, float]:
    """The variances between raters' habits and within a rater's single ratings, by the method of moments.

    Ratings are taken less the mean of their group, in which each rater counts once. Within is the mean of the raters'
    own variances, each counting once again, for one who says a thousand times the same must not make the others look
    certain; and of one more rater, who varies as all ratings do, for few of one mind are not certain either. Between is
    what a rating owes to its rater: the mean square of the raters' means, by ratings, less the part of it that is
    within, ``within * raters / ratings`` (as in the analysis of variance: S. R. Searle, G. Casella and C. E. McCulloch,
    Variance Components, 1992, 3.6); where that comes out below 0, it is 0.
    """
    means = _plain(given)
    raters = [(mine[0].times, *_beyond(mine, means)) for mine in _by_rater(given).values()]
    number, ratings = sum(times for times, *_ in raters), sum(times * n for times, n, *_ in raters)
    if not number:
        return 0.0, 0.0
    own = [(times, (squares - total ** 2 / n) / (n - 1)) for times, n, total, squares in raters if n > 1]
    whole = sum(times * squares for times, *_, squares in raters) / ratings
    within = (sum(times * one for times, one in own) + whole) / (sum(times for times, _ in own) + 1)
    away = sum(times * total ** 2 / n for times, n, total, _ in raters) / ratings
    free = max(1, number - len(means)) / number
    return max(0.0, away / free - within * number / ratings), within


def _plain(given: Sequence[Cell]) -> dict[str, float]:
    """The mean of each group over its raters, each counted once."""
    sums: dict[str, list[float]] = {}
    for cell in given:
        one = sums.setdefault(cell.group, [0.0, 0.0])
        one[0] += cell.times
        one[1] += cell.times * cell.total / cell.n
    return {name: total / number for name, (number, total) in sums.items()}


def _beyond(mine: Sequence[Cell], means: Mapping[str, float]) -> tuple[int, float, float]:
    """Of one rater: ratings, and the sum and the sum of squares of what they are beyond their groups' means."""
    return (sum(cell.n for cell in mine), sum(cell.total - cell.n * means[cell.group] for cell in mine),
            sum(cell.squares - 2 * means[cell.group] * cell.total + cell.n * means[cell.group] ** 2 for cell in mine))


def _by_rater(given: Sequence[Cell]) -> dict[Hashable, list[Cell]]:
    found: dict[Hashable, list[Cell]] = {}
    for cell in given:
        found.setdefault(cell.rater, []).append(cell)
    return found


def habits(given: Sequence[Cell], comparison: Comparison) -> dict[Hashable, float]:
    """How far each rater is from the others who judged the same, shrunk; 0 is like everybody."""
    means = {name: one.centred.value for name, one in comparison.groups.items()}
    beyond = {rater: _beyond(mine, means) for rater, mine in _by_rater(given).items()}
    within, between = comparison.within, comparison.between
    return {rater: between * rest / (within + n * between) if between else 0.0
            for rater, (n, rest, _) in beyond.items()}


# --- the groups -----------------------------------------------------------------------------------------------------
def _raw(given: Sequence[Cell], shares: bool, z: float) -> tuple[int, int, Estimate]:
    """Ratings, raters, and the mean as if all ratings were independent."""
    n, total, squares = (sum(getattr(cell, name) * cell.times for cell in given)
                         for name in ("n", "total", "squares"))
    mean, raters = total / n, sum(cell.times for cell in given)
    if shares:
        return n, raters, Estimate(mean, *wilson(round(total), n, z=z), n)
    return n, raters, Estimate(*_bounds(mean, max(squares - n * mean * mean, 0.0) / max(1, n - 1) / n, z), n)


def _apart(one: Estimate, other: Estimate) -> tuple[float, float, float]:
    value = one.value - other.value
    return (value, value - hypot(one.value - one.low, other.high - other.value),
            value + hypot(one.high - one.value, other.value - other.low))


def _bounds(value: float, variance: float, z: float) -> tuple[float, float, float]:
    half = z * sqrt(max(variance, 0.0))
    return value, value - half, value + half


def _solve(
    given: Sequence[Cell], names: Sequence[str], between: float, within: float
) -> tuple[list[float], list[list[float]]]:
    """The groups' means by generalised least squares, and the variances and covariances of these."""
    places = {name: at for at, name in enumerate(names)}
    size = len(names)
    matrix = [[0.0] * size for _ in names]
    right = [0.0] * size
    for cell in given:
        matrix[places[cell.group]][places[cell.group]] += cell.n * cell.times / within
        right[places[cell.group]] += cell.total * cell.times / within
    for mine in _by_rater(given).values():
        share = mine[0].times * between / (within * (within + between * sum(cell.n for cell in mine)))
        said = sum(cell.total for cell in mine)
        for one in mine:
            right[places[one.group]] -= share * one.n * said
            for other in mine:
                matrix[places[one.group]][places[other.group]] -= share * one.n * other.n
    spread = _inverse(matrix)
    return [sum(a * b for a, b in zip(row, right, strict=True)) for row in spread], spread


def _inverse(matrix: Sequence[Sequence[float]]) -> list[list[float]]:
    """By Gauss and Jordan. The matrix is positive definite, for ``within`` is above 0: no pivot is 0."""
    size = len(matrix)
    rows = [[*row, *(float(at == other) for other in range(size))] for at, row in enumerate(matrix)]
    for at in range(size):
        top = max(range(at, size), key=lambda row: abs(rows[row][at]))
        rows[at], rows[top] = rows[top], rows[at]
        pivot = rows[at][at]
        rows[at] = [value / pivot for value in rows[at]]
        for row in range(size):
            if row != at and rows[row][at]:
                factor = rows[row][at]
                rows[row] = [a - factor * b for a, b in zip(rows[row], rows[at], strict=True)]
    return [row[size:] for row in rows]
