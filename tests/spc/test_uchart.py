"""The u-chart against the dyed cloth data, and its exact run lengths.

Dyed cloth: Montgomery, "Introduction to Statistical Quality Control" (data set `dyedcloth` of R's qcc; the limits are
what qcc 2.7 prints).
"""

from __future__ import annotations

from math import exp, inf
from random import Random

import pytest

from backspan.spc import uchart
from backspan.spc.simulate import poisson
from backspan.spc.uchart import Window

DEFECTS = [14, 12, 20, 11, 7, 10, 21, 16, 19, 23]
SIZES = [10, 8, 13, 10, 9.5, 10, 12, 10.5, 12, 12.5]
CLOTH = [Window(size, count) for size, count in zip(SIZES, DEFECTS, strict=True)]


def check_the_dyed_cloth() -> None:
    points = uchart.chart(CLOTH)
    assert points[0].centre == pytest.approx(1.423256, abs=6e-7)
    assert (points[0].lower, points[0].upper) == pytest.approx((0.29147, 2.55504), abs=6e-6)
    assert (points[2].lower, points[2].upper) == pytest.approx((0.43062, 2.41589), abs=6e-6)
    assert not any(point.out for point in points)
    assert [point.n for point in points] == SIZES


def test_the_dyed_cloth() -> None:
    check_the_dyed_cloth()


MUTANTS = {
    "mean of the rates": lambda windows: sum(w.rate for w in windows) / len(windows),
    "one window left out": lambda windows: sum(w.count for w in windows[1:]) / sum(w.exposure for w in windows[1:]),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_wrong_centre_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uchart, "centre_line", MUTANTS[name])
    with pytest.raises(AssertionError):
        check_the_dyed_cloth()


def test_limits_that_do_not_follow_the_exposure_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = uchart.limits
    monkeypatch.setattr(uchart, "limits", lambda u, exposure, **options: right(u, 10.75, **options))
    with pytest.raises(AssertionError):
        check_the_dyed_cloth()


def test_laney_is_one_for_poisson_counts_and_wide_limits_for_overdispersed_ones() -> None:
    random = Random(5)
    level, doubled = poisson(30.0), (poisson(20.0), poisson(40.0))
    fair = [Window(10, level(random)) for _ in range(4000)]
    wild = [Window(10, random.choice(doubled)(random)) for _ in range(4000)]
    assert uchart.laney_sigma_z(fair) == pytest.approx(1.0, abs=0.04)
    sigma_z = uchart.laney_sigma_z(wild)
    assert sigma_z > 1.8
    inside = uchart.points_out(wild, 3.0, sigma_z=sigma_z)
    assert len(inside) < 0.001 * len(wild) < len(uchart.points_out(wild, 3.0)) / 20


def test_phase_one_removes_the_spoilt_window() -> None:
    windows = [*CLOTH, Window(10, 60)]
    assert uchart.screen(windows).removed == (10,)
    assert uchart.screen(windows).centre == pytest.approx(uchart.centre_line(CLOTH))


@pytest.mark.parametrize(("mean", "x"), [(4.0, 10), (4.0, 2), (0.5, 3), (900.0, 990), (900.0, 800)])
def test_poisson_tails_add_up(mean: float, x: int) -> None:
    at_x = uchart.lower_tail(x + 1, mean) - uchart.lower_tail(x, mean)
    assert uchart.lower_tail(x, mean) + at_x + uchart.upper_tail(x, mean) == pytest.approx(1.0, abs=1e-9)


def test_poisson_tails_by_hand() -> None:
    assert uchart.upper_tail(0, 2.0) == pytest.approx(1 - exp(-2))
    assert uchart.upper_tail(1, 0.01) == pytest.approx(1 - exp(-0.01) * 1.01, rel=1e-9)
    assert uchart.lower_tail(0, 2.0) == 0.0 and uchart.upper_tail(-1, 2.0) == pytest.approx(1.0)


def test_exact_run_lengths() -> None:
    """Centre 4 a window: limits 0 and 10, so an alarm is a count of 11 or more, of chance .00284 (Poisson tables)."""
    assert uchart.run_length(0.4, 10) == pytest.approx(1 / 0.00284, rel=2e-3)
    assert uchart.run_length(0.4, 10, side="down") == inf
    assert uchart.run_length(0.4, 10, side="both") == uchart.run_length(0.4, 10)
    assert uchart.run_length(0.4, 10, 0.8) < uchart.run_length(0.4, 10, 0.6) < uchart.run_length(0.4, 10)
    up, down = (uchart.run_length(0.4, 100, side=side) for side in ("up", "down"))
    assert 1 / uchart.run_length(0.4, 100, side="both") == pytest.approx(1 / up + 1 / down)


@pytest.mark.parametrize(
    "call",
    [
        lambda: Window(0, 1),
        lambda: Window(1, -1),
        lambda: Window(1, float("nan")),
        lambda: uchart.centre_line([]),
        lambda: uchart.limits(-1, 10),
        lambda: uchart.limits(1, 0),
        lambda: uchart.z_scores(CLOTH, 0.0),
        lambda: uchart.laney_sigma_z(CLOTH[:1]),
        lambda: uchart.run_length(0.0, 10),
        lambda: uchart.run_length(0.4, 10, side="sideways"),  # type: ignore[arg-type]
    ],
)
def test_bad_input_is_refused(call: object) -> None:
    with pytest.raises(ValueError, match="need|must be one of"):
        call()  # type: ignore[operator]
