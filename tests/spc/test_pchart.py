"""The p-chart against published and exact numbers.

Orange juice: Montgomery, "Introduction to Statistical Quality Control" (data set `orangejuice` of R's qcc; the limits
below are what qcc 2.7 prints). Run lengths: exact binomial tails (scipy).
"""

from __future__ import annotations

import pytest

from backspan.spc.pchart import (
    Window,
    centre_line,
    chart,
    laney_sigma_z,
    limits,
    lower_tail,
    points_out,
    run_length,
    screen,
    upper_tail,
    wilson,
)

TRIAL = [
    *(12, 15, 8, 10, 4, 7, 16, 9, 14, 10, 5, 6, 17, 12, 22),
    *(8, 10, 5, 13, 11, 20, 18, 24, 15, 9, 12, 7, 13, 9, 6),
]
LATER = [9, 6, 12, 5, 6, 4, 6, 3, 7, 6, 2, 4, 3, 6, 5, 4, 8, 5, 6, 7, 5, 6, 3, 5]


def cans(defects: list[int]) -> list[Window]:
    return [Window(50, d) for d in defects]


def without(*samples: int) -> list[Window]:
    return cans([d for i, d in enumerate(TRIAL, 1) if i not in samples])


@pytest.mark.parametrize(
    ("windows", "centre", "lower", "upper"),
    [
        (cans(TRIAL), 0.23133, 0.05243, 0.41024),
        (without(15, 23), 0.2150, 0.04070, 0.38930),
        (without(15, 21, 23), 0.20815, 0.03590, 0.38039),
        (cans(LATER), 0.11083, 0.0, 0.24402),
    ],
)
def test_limits_of_the_orange_juice_data(windows: list[Window], centre: float, lower: float, upper: float) -> None:
    got = limits(centre_line(windows), 50)
    assert (got.lower, got.centre, got.upper) == pytest.approx((lower, centre, upper), abs=6e-6)


def test_points_out_of_the_orange_juice_data() -> None:
    trial = cans(TRIAL)
    assert [i + 1 for i in points_out(trial, centre_line(trial))] == [15, 23]
    assert [i + 1 for i in points_out(trial, centre_line(without(15, 23)))] == [15, 21, 23]
    assert [i + 31 for i in points_out(cans(LATER), 0.2150)] == [41]
    assert points_out(cans(LATER), centre_line(cans(LATER))) == []


def test_the_points_of_the_chart_are_its_limits_and_verdicts() -> None:
    points = chart([Window(50, 15), Window(200, 70)], 0.2)
    assert [(p.value, p.n, p.centre, p.out) for p in points] == [(0.3, 50, 0.2, False), (0.35, 200, 0.2, True)]
    assert [(p.lower, p.upper) for p in points] == [(b.lower, b.upper) for b in (limits(0.2, 50), limits(0.2, 200))]
    assert [i + 1 for i, p in enumerate(chart(cans(TRIAL))) if p.out] == [15, 23]
    assert not any(p.out for p in chart(cans(TRIAL), sigma_z=laney_sigma_z(cans(TRIAL))))


def test_phase_one_stops_after_two_passes() -> None:
    once, twice = screen(cans(TRIAL), passes=1), screen(cans(TRIAL))
    assert [i + 1 for i in once.removed] == [15, 23]
    assert once.centre == pytest.approx(0.2150, abs=6e-6)
    assert [i + 1 for i in twice.removed] == [15, 21, 23]
    assert twice.centre == pytest.approx(0.20815, abs=6e-6)
    assert screen(cans(LATER)).removed == ()


def test_phase_one_refuses_to_fit_nothing() -> None:
    with pytest.raises(ValueError, match="nothing is left"):
        screen([Window(10**6, 0), Window(10**6, 10**6)])


def test_laney_sigma_z() -> None:
    trial = cans(TRIAL)
    assert laney_sigma_z(trial) == pytest.approx(1.6609, abs=5e-5)
    assert laney_sigma_z(cans(LATER)) == pytest.approx(1.0071, abs=5e-5)
    wide = limits(centre_line(trial), 50, sigma_z=laney_sigma_z(trial))
    assert (wide.lower, wide.upper) == pytest.approx((0.0, 0.5285), abs=5e-5)
    assert points_out(trial, centre_line(trial), sigma_z=laney_sigma_z(trial)) == []


@pytest.mark.parametrize(
    ("n", "windows"), [(20, 419.1), (50, 310.6), (100, 505.4), (200, 342.9), (500, 563.7), (1000, 543.2)]
)
def test_exact_run_length_to_a_false_alarm(n: int, windows: float) -> None:
    assert run_length(0.10, n) == pytest.approx(windows, abs=0.05)


def test_run_length_falls_with_the_rate_and_is_infinite_where_no_count_can_signal() -> None:
    assert run_length(0.10, 100, 0.15) < run_length(0.10, 100, 0.12) < run_length(0.10, 100)
    assert run_length(0.5, 4) == float("inf")


def test_run_lengths_of_either_side() -> None:
    """The lower limit at n = 200 is .0364, so 7 bad or fewer signal."""
    up, down, both = (run_length(0.10, 200, side=side) for side in ("up", "down", "both"))
    assert down == pytest.approx(1 / lower_tail(8, 200, 0.10))
    assert 1 / both == pytest.approx(1 / up + 1 / down)
    assert run_length(0.10, 200, 0.05, side="down") < down / 20
    assert run_length(0.10, 20, side="down") == float("inf"), "a lower limit of 0 cannot be passed"
    with pytest.raises(ValueError, match="side must be one of up, down, both, got 'left'"):
        run_length(0.1, 20, side="left")  # type: ignore[arg-type]


def test_lower_tail_by_hand() -> None:
    assert lower_tail(1, 2, 0.5) == pytest.approx(0.25)
    assert lower_tail(0, 3, 0.2) == 0.0 and lower_tail(9, 3, 0.2) == pytest.approx(1.0)


def test_upper_tail_by_hand() -> None:
    assert upper_tail(1, 2, 0.5) == pytest.approx(0.25)
    assert upper_tail(-1, 3, 0.2) == pytest.approx(1.0)
    assert upper_tail(3, 3, 0.2) == 0.0


def test_wilson_interval() -> None:
    """Newcombe, Statistics in Medicine 17 (1998), table I, method 3."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


@pytest.mark.parametrize(
    "call",
    [
        lambda: Window(0, 0),
        lambda: Window(5, 6),
        lambda: Window(5, -1),
        lambda: centre_line([]),
        lambda: limits(1.1, 10),
        lambda: limits(0.1, 0),
        lambda: laney_sigma_z([Window(5, 1)]),
        lambda: laney_sigma_z([Window(5, 0), Window(5, 0)]),
        lambda: upper_tail(1, 0, 0.5),
    ],
)
def test_bad_input_is_refused(call: object) -> None:
    with pytest.raises(ValueError, match="need"):
        call()  # type: ignore[operator]
