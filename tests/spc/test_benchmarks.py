"""The simulations behind the published figures: their detector is the product's, their page says what they found."""

from __future__ import annotations

import json

import numpy as np
import pytest
from benchmarks.spc import compare, delays, page
from benchmarks.spc.mixture import Mixture
from benchmarks.spc.simulate import P0, PER_HOUR, Ratings, Volume, first_alarm, ratings, run_length
from benchmarks.spc.simulate import delay as delay_of

from backspan.spc.shiryaev import CAP_ABOVE_LIMIT, MixtureSR

RATINGS = ratings(Volume(100, day=True), 240, 4, [1], after=0.2)


def stepwise(limit: float, run: int) -> list[bool]:
    """Alarms of the detector itself on one run of `RATINGS`, begun anew after each."""
    detector, out = MixtureSR(P0, cap=limit + CAP_ABOVE_LIMIT), []
    for n, bad in zip(*(counts[run] for counts in RATINGS.every(60 // PER_HOUR)), strict=True):
        out.append(detector.step(n, bad) >= limit)
        if out[-1]:
            detector = MixtureSR(P0, cap=limit + CAP_ABOVE_LIMIT)
    return out


@pytest.mark.parametrize("limit", [2.5, 6.0])
def test_the_fast_detector_is_the_detector(limit: float) -> None:
    alarms = Mixture([limit]).alarms(RATINGS)[0]
    for run in range(4):
        expected = stepwise(limit, run)
        assert any(expected) and alarms[run].tolist() == expected
    assert Mixture([limit + 0.5]).alarms(RATINGS)[0].tolist() != alarms.tolist()


def test_the_first_alarm_at_any_limit_is_read_off_the_highest_evidence() -> None:
    highest = Mixture([0.0]).highest(RATINGS)
    for limit in (2.5, 6.0):
        rings = Mixture([limit]).alarms(RATINGS)[0]
        assert (highest >= limit).argmax(1).tolist() == rings.argmax(1).tolist()


def test_run_lengths_by_hand() -> None:
    rings = np.array([[0, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 1]], bool)
    hours = first_alarm(rings, 1, warm=2)
    assert hours[:2].tolist() == [1.0, np.inf] and np.isnan(hours[2])
    assert run_length(hours, 2) == {"hours": 3.0, "error": 3.0, "alarms": 1, "runs": 2, "censored": 1}
    assert delay_of(hours) == {"mean": 84.5, "error": 59.04, "median": 84.5, "never": 0.5}


def test_volumes_follow_the_day_and_the_change() -> None:
    assert [Volume(50).name, Volume(50, True).name] == [
        "50 ratings an hour, constant", "50 ratings an hour, day profile 5 to 95"]
    pace = Volume(100, True).pace(24, np.array([0]))[0] * 60
    assert (round(pace.min()), round(pace.max()), round(pace.mean())) == (10, 190, 100)
    n, bad = RATINGS.every(60)
    assert bad[:, 192:].sum() / n[:, 192:].sum() == pytest.approx(0.2, abs=0.01)
    assert bad[:, :192].sum() / n[:, :192].sum() == pytest.approx(0.1, abs=0.005)


def test_delays_of_the_detector_itself() -> None:
    """Seeded and short: the whole is a benchmark. 9 is near the limit for 1,000 h at 100 ratings an hour."""
    assert delays.delay(9.0, 0.15, 60, seed=1) == pytest.approx(5.0, rel=0.15)
    assert delays.delay(0.1, 0.15, 3, seed=1) is None


def test_the_page_is_what_the_result_says() -> None:
    found = json.loads(compare.RESULT.read_text(encoding="utf-8"))
    assert page.render(found) == compare.PAGE.read_text(encoding="utf-8")


def test_a_changed_result_changes_the_verdict() -> None:
    """The twin: a race that we lose is listed as lost."""
    found = json.loads(compare.RESULT.read_text(encoding="utf-8"))
    rival = "z-score of 24 h > 3"
    found["cases"][0]["rules"][rival]["delays"]["0.15"]["mean"] = 0.01
    text = page.render(found)
    assert text != compare.PAGE.read_text(encoding="utf-8")
    assert f"- {rival}, {found['cases'][0]['name']}, to 15%: 0.01" in text and "It is slower in" in text


def test_ratings_are_sums_of_minutes() -> None:
    one = Ratings(np.ones((1, 120), np.int8), np.zeros((1, 120), np.int8))
    assert [counts.tolist() for counts in one.every(60)] == [[[60.0, 60.0]], [[0.0, 0.0]]]
