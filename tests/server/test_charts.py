"""The charts of the embedded server against the detector they run."""

import json
import random

import pytest

from backspan import semconv
from backspan.server.charts.detector import subgroup
from backspan.server.charts.evidence import independence, significant, unequal
from backspan.spc.pchart import limits

from .charting import NOW, given, house, vote

CHART = given().charts[0]


@pytest.fixture
def up(tmp_path):
    with house(tmp_path / "s.db") as made:
        yield made


def regression(seed=4, good=300, bad=200):
    chance = random.Random(seed)
    return [(chance.random() < 0.08, "1") for _ in range(good)] + [(chance.random() < 0.35, "2") for _ in range(bad)]


def test_rating_by_rating_it_is_the_detector(up):
    ratings = regression()
    up.rate(ratings)
    oracle, crossed = CHART.detector(), []
    for n, (bad, _) in enumerate(ratings, start=1):
        if oracle.step(1, int(bad)) >= CHART.limit:
            crossed.append(n)
    service = up.cohort("service")
    assert service["statistic"] == pytest.approx(oracle.value, rel=1e-12)
    assert (service["ratings"], service["bad"]) == (len(ratings), sum(bad for bad, _ in ratings))
    [alert] = [a for a in up.shown()["alerts"] if a["cohort"]["partition"] == "service"]
    assert alert["rating"] == crossed[0]


def test_an_alert_says_what_since_when_and_who_is_guilty(up):
    up.clock.now = NOW + 600
    votes = [up.store.put_votes([vote(n, bad, version)]) for n, (bad, version) in enumerate(regression())]
    for waiting in votes:
        waiting.result()
    alerts = {alert["cohort"]["partition"]: alert for alert in up.shown()["alerts"]}
    service = alerts["service"]
    assert service["statistic"] >= service["threshold"] == CHART.limit
    assert abs(service["since_rating"] - 301) < 40 and service["since"] == NOW + service["since_rating"] - 1
    [guilty] = service["guilty"]
    assert (guilty["key"], guilty["value"]) == (semconv.PROMPT_VERSION, "2")
    assert guilty["rest"]["n"] == 300 and guilty["score"] > guilty["limit"]
    assert alerts["prompt"]["cohort"]["labels"][semconv.PROMPT_VERSION] == "2"
    assert (service["state"], service["baseline"], service["false_alarm_every"]) == ("firing", 0.1, 100000)
    assert (service["phase"], service["phi"], service["promise"]) == ("given", 1.0, "100000 rated events")


def test_no_regression_no_alert(up):
    up.rate(regression(good=500, bad=0))
    assert up.shown()["alerts"] == []
    assert up.cohort()["phase"] == "given"


def test_it_clears_when_the_evidence_is_gone_and_fires_again(up):
    up.rate(regression())
    assert up.cohort()["phase"] == "alarm"
    up.rate([(False, "2")] * 500, first=1000)
    assert {alert["state"] for alert in up.shown()["alerts"]} == {"cleared"}
    up.rate([(True, "2")] * 40, first=3000)
    assert [alert["state"] for alert in up.shown()["alerts"]].count("firing") == 2


def test_it_clears_when_nobody_rates_any_more_and_fires_again_when_they_do(up):
    up.rate(regression())
    up.clock.now += CHART.idle_after - 1
    up.tick()
    assert set(alarms(up)) == {"firing"}
    up.clock.now += 1
    up.tick()
    assert set(alarms(up)) == {"cleared"}
    up.rate([(True, "2")], first=1000)
    assert alarms(up).count("firing") == 2


def alarms(up):
    """States of the pager's alerts."""
    return [alert["state"] for alert in up.shown()["alerts"] if alert["alert"] == "BackspanQualityRegression"]


def test_a_cohort_that_was_long_away_starts_anew(up):
    up.rate([(True, "2")] * 8)
    before = up.cohort()["statistic"]
    up.clock.now += CHART.forget_after - 1
    up.rate([(False, "2")], first=100)
    assert up.cohort()["statistic"] == pytest.approx(before, abs=1)
    up.clock.now += CHART.forget_after
    up.rate([(False, "2")], first=200)
    fresh = CHART.detector()
    assert up.cohort()["statistic"] == pytest.approx(fresh.step(1, 0))


def test_an_alert_of_a_chart_that_is_gone_ends(up):
    up.rate(regression())
    up.reopen(given(name="another"))
    up.tick()
    up.reopen(given())
    assert {alert["state"] for alert in up.shown()["alerts"]} == {"cleared"}


def test_changes_retractions_and_other_names_are_no_ratings(up):
    up.rate([(False, "1")] * 5)
    up.rate([(True, "1")] * 5)
    up.rate([(True, "1")] * 5, retract=True)
    up.rate([(True, "1")] * 5, first=50, name=semconv.USER_STARS)
    service = up.cohort()
    assert (service["ratings"], service["bad"]) == (5, 0)


def test_points_hold_every_rating_once_and_have_the_p_charts_limits(up):
    up.rate(regression(good=130, bad=0))
    size = subgroup(CHART.baseline.p0)
    service = up.cohort()
    assert [point["n"] for point in service["points"]] == [size, size, 130 - 2 * size]
    assert sum(point["bad"] for point in service["points"]) == service["bad"]
    bounds = limits(0.1, size)
    assert (service["points"][0]["lower"], service["points"][0]["upper"]) == (bounds.lower, bounds.upper)
    assert {point["phase"] for point in service["points"]} == {"given"}
    json.dumps(up.shown(), allow_nan=False)


def test_the_summary_says_how_the_chart_is_drawn_and_where_the_limits_are(up):
    up.rate(regression(good=30, bad=0))
    shown, service = up.shown(), up.cohort()
    assert (shown["drawn_as"], shown["reason"]) == CHART.drawn_as
    assert (shown["evaluated"], shown["why"], shown["centre"], shown["worse"]) == (True, "", 0.1, "up")
    assert service["n"] == service["window"]["n"] == 30
    assert service["limits"]["upper"] == limits(0.1, 30).upper
    assert (service["p0"], service["phi"], service["baseline"], service["learning"]) == (0.1, 1.0, "given", None)


def test_independence_is_the_likelihood_ratio_statistic():
    assert independence({"a": (100, 10), "b": (50, 5)}) == pytest.approx(0, abs=1e-9)
    # 2 * sum(O ln(O/E)) of [[10, 90], [30, 70]] with E = [[20, 80], [20, 80]], by hand
    assert independence({"a": (100, 10), "b": (100, 30)}) == pytest.approx(12.9715, abs=5e-4)
    assert independence({"a": (10, 0)}) == independence({}) == 0.0


def test_unequal_is_the_poisson_deviance():
    assert unequal({"a": (100, 10), "b": (50, 5)}) == pytest.approx(0, abs=1e-9)
    # 2 * (10 ln(10/20) + 30 ln(30/20)), by hand
    assert unequal({"a": (100, 10), "b": (100, 30)}) == pytest.approx(10.4650, abs=5e-4)
    assert unequal({"a": (10, 0)}) == unequal({}) == unequal({"a": (0, 3)}) == 0.0


def test_more_values_need_more_certainty():
    # chi-square at 0.1 %: 10.828, 16.266 and 27.877 with 1, 3 and 9 degrees of freedom
    assert [significant(values) for values in (2, 4, 10)] == pytest.approx([10.828, 16.266, 27.877], rel=0.035)
