"""The sample-ratio check: exact tails, the Bayes factor as a product of predictions, and looks without end."""

from __future__ import annotations

from collections.abc import Callable
from math import erfc, exp, inf, log, pi, sqrt
from random import Random

import pytest

from backspan.spc.split import check_split, chi_square, chi_square_tail, log_bayes_factor, log_split


@pytest.mark.parametrize(
    ("x", "df", "tail"),
    [(3.841459, 1, 0.05), (10.827566, 1, 0.001), (5.991465, 2, 0.05), (16.918978, 9, 0.05), (18.307038, 10, 0.05)],
)
def test_chi_square_tails_of_the_tables(x: float, df: int, tail: float) -> None:
    assert chi_square_tail(x, df) == pytest.approx(tail, rel=1e-5)


def test_chi_square_tails_against_their_closed_forms_and_at_the_ends() -> None:
    for x in (0.3, 4.0, 40.0):
        assert chi_square_tail(x, 3) == pytest.approx(erfc(sqrt(x / 2)) + sqrt(2 * x / pi) * exp(-x / 2))
        assert chi_square_tail(x, 4) == pytest.approx(exp(-x / 2) * (1 + x / 2))
    assert [chi_square_tail(0.0, df) for df in (1, 2, 7)] == [1.0, 1.0, 1.0]
    assert chi_square_tail(5_000.0, 3) == 0.0


def test_chi_square_by_hand() -> None:
    assert chi_square([30, 70], [1, 1]) == pytest.approx(16.0)
    assert chi_square([10, 990], [0.02, 0.98]) == pytest.approx(100 / 20 + 100 / 980)


def test_the_bayes_factor_is_the_product_of_one_step_predictions() -> None:
    """Pólya's urn: whatever the order, each unit's predicted share over its expected share."""
    random, shares, weight = Random(1), (0.6, 0.3, 0.1), 50.0
    urn, total = [weight * s for s in shares], 0.0
    units = random.choices(range(3), (0.5, 0.3, 0.2), k=400)
    for i in units:
        total += log(urn[i] / sum(urn) / shares[i])
        urn[i] += 1
    assert log_bayes_factor([units.count(i) for i in range(3)], shares, weight) == pytest.approx(total, abs=1e-9)


@pytest.mark.parametrize(
    ("counts", "weights"), [((5_200, 4_800), (1, 1)), ((480, 520), (1, 1)), ((3_100, 1_950, 4_950), (3, 2, 5))]
)
def test_the_closed_form_for_rules_is_close_to_it(counts: tuple[int, ...], weights: tuple[int, ...]) -> None:
    assert log_split(counts, weights) == pytest.approx(log_bayes_factor(counts, weights), abs=0.02)


def test_the_closed_form_by_hand() -> None:
    chi2 = 200**2 / 5_000 * 2
    expected = 0.5 * log(1_001 / 11_001) + chi2 / 2 * 10_000 / 11_001
    assert log_split([5_200, 4_800], [1, 1]) == pytest.approx(expected)


# --- looks without end ----------------------------------------------------------------------------------------------
Rule = Callable[[list[int]], bool]


def ever(rule: Rule, share: float, *, runs: int = 200, units: int = 4_000, every: int = 40) -> tuple[float, float]:
    """Share of runs in which ``rule`` says mismatch at a look, expected split 50:50; and mean units until it does."""
    random, said, seen = Random(2), 0, 0
    for _ in range(runs):
        counts = [0, 0]
        while sum(counts) < units:
            first = sum(random.random() < share for _ in range(every))
            counts = [counts[0] + first, counts[1] + every - first]
            if rule(counts):
                said += 1
                break
        seen += sum(counts)
    return said / runs, seen / runs


def test_a_right_split_is_hardly_ever_called_wrong_under_endless_looking() -> None:
    """With alpha = 5 %, because 0.1 % would need thousands of runs."""
    share, _ = ever(lambda counts: log_bayes_factor(counts, [1, 1]) >= log(20), 0.5)
    assert share <= 0.05


def test_a_chi_square_looked_at_as_often_calls_it_wrong_often() -> None:
    """The twin: the p-value belongs to one look."""
    share, _ = ever(lambda counts: chi_square_tail(chi_square(counts, [1, 1]), 1) < 0.05, 0.5)
    assert share > 0.3


def test_a_wrong_split_is_found() -> None:
    """45:55 in place of 50:50, at the default alpha of one in a thousand."""
    share, seen = ever(lambda counts: check_split(counts, [1, 1]).mismatch, 0.45, runs=100)
    assert share > 0.95 and seen < 2_500


def test_what_it_finds() -> None:
    found = check_split([4_000, 6_000], [1, 1])
    assert found.mismatch and found.evidence >= found.limit == pytest.approx(log(1_000))
    assert found.p_value == chi_square_tail(found.chi2, 1) and found.expected == (0.5, 0.5)
    canary = check_split([104, 9_896], [1, 99])
    assert not canary.mismatch and canary.p_value > 0.5
    empty = check_split([0, 0], [1, 1])
    assert (empty.mismatch, empty.evidence, empty.p_value) == (False, 0.0, 1.0)


def test_a_variant_without_any_unit_is_found() -> None:
    assert check_split([0, 3_000], [1, 99]).mismatch


@pytest.mark.parametrize(
    "call",
    [
        lambda: check_split([1, 2], [1]),
        lambda: check_split([1], [1]),
        lambda: check_split([1, -2], [1, 1]),
        lambda: check_split([1, 2], [1, 0]),
        lambda: check_split([1, 2], [1, inf]),
        lambda: check_split([1, 2], [1, 1], alpha=0),
        lambda: check_split([1, 2], [1, 1], concentration=0),
        lambda: log_split([1, 2], [1, 1], -1),
        lambda: chi_square_tail(-1, 1),
        lambda: chi_square_tail(1, 0),
    ],
)
def test_bad_input_is_refused(call: Callable[[], object]) -> None:
    with pytest.raises(ValueError):
        call()
