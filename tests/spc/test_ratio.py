"""Ratios of shares: bounds that hold in the exact tails, and for many groups at once."""

from __future__ import annotations

from math import inf
from random import Random

import pytest

from backspan.spc.pchart import lower_tail, upper_tail, wilson
from backspan.spc.ratio import bounds, ratio


@pytest.mark.parametrize("n", [1, 5, 30, 400])
@pytest.mark.parametrize("alpha", [0.05, 1e-4])
def test_what_was_seen_is_as_rare_as_asked_at_the_bounds(n: int, alpha: float) -> None:
    """At the lower bound, so many bad ones or more have probability alpha, by the sum of the binomial law's terms."""
    for bad in range(0, n + 1, max(1, n // 40)):
        low, high = bounds(bad, n, alpha)
        assert low <= bad / n <= high
        assert low == 0 if bad == 0 else upper_tail(bad - 1, n, low) == pytest.approx(alpha, rel=1e-5)
        assert high == 1 if bad == n else lower_tail(bad + 1, n, high) == pytest.approx(alpha, rel=1e-5)


@pytest.mark.parametrize(("bad", "n"), [(1, 20_000), (10_000, 20_000), (19_999, 20_000), (2_000, 1_000_000)])
def test_large_groups_too(bad: int, n: int) -> None:
    low, high = bounds(bad, n, 0.025)
    assert (low, high) == pytest.approx(wilson(bad, n), rel=0.01 if bad > 1 else 10, abs=1e-4)
    assert low < bad / n < high


def test_wilsons_interval_does_not_hold_in_the_tail() -> None:
    """The twin: an interval made from the normal law is too narrow far out."""
    low, _ = wilson(3, 30, z=3.719)
    assert upper_tail(2, 30, low) > 2 * 1e-4


def found_worse(groups: int, size: int, share: float, chance: Random, compared: int) -> bool:
    """Whether some group of many that are like the rest is called worse than the rest."""
    def drawn(n: int) -> int:
        return sum(chance.random() < share for _ in range(n))

    rest = groups * size
    other = drawn(rest)
    return any(ratio(drawn(size), size, other, rest, groups=compared)[1] > 1 for _ in range(groups))


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
def test_among_many_groups_that_are_alike_none_is_called_worse(share: float) -> None:
    chance = Random(7)
    assert sum(found_worse(200, 8, share, chance, 200) for _ in range(20)) <= 1, "promised: one in forty"


def test_without_saying_how_many_some_group_is() -> None:
    """The twin: looking at the worst of 200 as if it were the only one."""
    chance = Random(7)
    assert sum(found_worse(200, 8, 0.5, chance, 1) for _ in range(20)) >= 5


def test_a_group_that_is_worse_is_found() -> None:
    estimate, low, high = ratio(24, 30, 150, 1500, groups=200)
    assert 1 < low < estimate < high and estimate == pytest.approx(8, rel=0.05)
    assert ratio(24, 30, 150, 1500)[1] > low, "fewer groups, narrower bounds"


def test_where_there_is_nothing_to_divide_by() -> None:
    estimate, low, high = ratio(0, 5, 0, 5)
    assert (estimate, low, high) == (1, 0, inf)
    estimate, low, high = ratio(5, 5, 5, 5)
    assert estimate == 1 and 0 < low < 1 < high < inf


@pytest.mark.parametrize("wrong", [(1, 0, 1, 2), (1, 2, 1, 0), (3, 2, 1, 2), (-1, 2, 1, 2)])
def test_groups_that_cannot_be(wrong: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="no ratio"):
        ratio(*wrong)
    with pytest.raises(ValueError, match="one of 0"):
        ratio(1, 2, 1, 2, groups=0)
