"""The control chart in the terminal."""

from __future__ import annotations

import pytest

from backspan.cli._demo import chart

QUIET = ([False] * 19 + [True]) * 5
LOUD = [True, False] * 20


def draw(width: int = 80, colour: bool = False, alarm_at: int | None = 112) -> str:
    released = (101, "prompt v2") if alarm_at else None
    ratings = QUIET + LOUD if alarm_at else QUIET
    return chart.draw(ratings, 0.10, released=released, alarm_at=alarm_at, width=width, colour=colour)


@pytest.mark.parametrize("width", [60, 80, 110])
def test_the_chart_fits_the_width_and_names_its_lines(width: int) -> None:
    drawn = draw(width)
    assert {width} == {len(line) for line in drawn.splitlines()[:-1]}
    assert all(text in drawn for text in ("accepted 10%", "limit 30%", "prompt v2 out", "ALARM at rating 112"))


def test_points_above_the_limit_are_marked_and_only_those() -> None:
    assert 2 == draw().count("X")
    assert 0 == draw(alarm_at=None).count("X")


def test_no_colour_means_no_escape_codes() -> None:
    assert "\x1b" not in draw(colour=False)
    assert "\x1b" in draw(colour=True)


def test_a_window_never_mixes_two_versions() -> None:
    ratings = [False] * 30 + [True] * 30
    found = [(end, window.n, window.bad) for end, window in chart.windows(ratings, boundary=31)]
    assert [(20, 20, 0), (30, 10, 0), (50, 20, 20), (60, 10, 10)] == found


def test_a_short_rest_is_left_out_of_the_windows() -> None:
    assert [20] == [end for end, _ in chart.windows([False] * 29)]
    assert [] == chart.windows([])
