"""The charts of the embedded server against the detector they run."""

import json
import random

import pytest

from backspan import semconv
from backspan.feedback.model import feedback_id
from backspan.rules.spec import load
from backspan.server.spc import ChartBook, independence, subgroup
from backspan.spc.pchart import limits
from backspan.store import Policy, Store, Vote

DIMS = {semconv.SERVICE_NAME: "chat", semconv.ENVIRONMENT: "test", semconv.PROMPT_NAME: "support",
        semconv.REQUEST_MODEL: "m-1"}
CHART = load().charts[0]


@pytest.fixture
def book():
    return ChartBook(load())


@pytest.fixture
def store(tmp_path, book):
    made = Store(f"sqlite:///{tmp_path / 's.db'}", identify=feedback_id, policy=Policy(True, False),
                 watch=book.observe)
    yield made
    made.close()


def rate(store, ratings, first=0, **fields):
    """Vote without waiting in between: some are committed together."""
    futures = [store.put_votes([_vote(first + n, bad, version, **fields)]) for n, (bad, version) in enumerate(ratings)]
    return [future.result() for future in futures]


def _vote(n, bad, version, **fields):
    said = {"id": f"v{n}", "name": semconv.USER_THUMBS, "time": 1000.0 + n, "value": 1.0 - bad,
            "polarity": "negative" if bad else "positive", "trace_id": f"{n + 1:032x}", "span_id": f"{n + 1:016x}",
            "dims": {**DIMS, semconv.PROMPT_VERSION: version}}
    return Vote(**{**said, **fields})


def shown(store, book):
    with store.reading() as conn:
        return book.detail(conn, CHART)


def regression(seed=4, good=300, bad=200):
    chance = random.Random(seed)
    return [(chance.random() < 0.08, "1") for _ in range(good)] + [(chance.random() < 0.35, "2") for _ in range(bad)]


def test_rating_by_rating_it_is_the_detector(store, book):
    ratings = regression()
    rate(store, ratings)
    oracle, crossed = CHART.detector(), []
    for n, (bad, _) in enumerate(ratings, start=1):
        if oracle.step(1, int(bad)) >= CHART.limit:
            crossed.append(n)
    [service] = [c for c in shown(store, book)["cohorts"] if c["partition"] == "service"]
    assert service["statistic"] == pytest.approx(oracle.value, rel=1e-12)
    assert (service["ratings"], service["bad"]) == (len(ratings), sum(bad for bad, _ in ratings))
    [alert] = [a for a in shown(store, book)["alerts"] if a["cohort"]["partition"] == "service"]
    assert alert["rating"] == crossed[0]


def test_an_alert_says_what_since_when_and_who_is_guilty(store, book):
    rate(store, regression())
    alerts = {alert["cohort"]["partition"]: alert for alert in shown(store, book)["alerts"]}
    service = alerts["service"]
    assert service["statistic"] >= service["threshold"] == CHART.limit
    assert abs(service["since_rating"] - 301) < 40 and service["since"] == 1000.0 + service["since_rating"] - 1
    assert [(entry["key"], entry["value"]) for entry in service["guilty"]] == [(semconv.PROMPT_VERSION, "2")]
    assert alerts["prompt"]["cohort"]["labels"][semconv.PROMPT_VERSION] == "2"
    assert (service["state"], service["baseline"], service["false_alarm_every"]) == ("firing", 0.1, 100000)


def test_no_regression_no_alert(store, book):
    rate(store, regression(good=500, bad=0))
    assert shown(store, book)["alerts"] == []


def test_it_clears_when_the_evidence_is_gone_and_fires_again(store, book):
    rate(store, regression())
    rate(store, [(False, "2")] * 500, first=1000)
    assert {alert["state"] for alert in shown(store, book)["alerts"]} == {"cleared"}
    rate(store, [(True, "2")] * 40, first=3000)
    assert [alert["state"] for alert in shown(store, book)["alerts"]].count("firing") == 2


def test_changes_retractions_and_other_names_are_no_ratings(store, book):
    rate(store, [(False, "1")] * 5)
    rate(store, [(True, "1")] * 5)
    rate(store, [(True, "1")] * 5, retract=True)
    rate(store, [(True, "1")] * 5, first=50, name=semconv.USER_STARS)
    [service] = [c for c in shown(store, book)["cohorts"] if c["partition"] == "service"]
    assert (service["ratings"], service["bad"]) == (5, 0)


def test_points_hold_every_rating_once_and_have_the_p_charts_limits(store, book):
    rate(store, regression(good=130, bad=0))
    size = subgroup(CHART.baseline.p0)
    [service] = [c for c in shown(store, book)["cohorts"] if c["partition"] == "service"]
    assert [point["n"] for point in service["points"]] == [size, size, 130 - 2 * size]
    assert sum(point["bad"] for point in service["points"]) == service["bad"]
    bounds = limits(0.1, size)
    assert (service["points"][0]["lower"], service["points"][0]["upper"]) == (bounds.lower, bounds.upper)
    json.dumps(shown(store, book), allow_nan=False)


def test_independence_is_the_likelihood_ratio_statistic():
    assert independence({"a": (100, 10), "b": (50, 5)}) == pytest.approx(0, abs=1e-9)
    # 2 * sum(O ln(O/E)) of [[10, 90], [30, 70]] with E = [[20, 80], [20, 80]], by hand
    assert independence({"a": (100, 10), "b": (100, 30)}) == pytest.approx(12.9715, abs=5e-4)
    assert independence({"a": (10, 0)}) == independence({}) == 0.0
