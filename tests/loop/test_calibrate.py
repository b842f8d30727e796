"""Calibration on simulated votes, where it is known what each signal is worth; and the estimates that come of it."""

import json
import math
import random

import pytest
import sqlalchemy as sa

from backspan import semconv
from backspan.feedback.signals import Catalogue
from backspan.loop.calibrate import (
    Labelled,
    Weights,
    WeightsError,
    auc,
    fit,
    key_of,
    priors,
    read,
    write,
)
from backspan.loop.satisfaction import SETTLED, Satisfaction, labelled
from tests.store.conftest import NOW, put, put_spans

from .test_implicit import _judged, said

KNOWN = Catalogue()
TRUE = {"copy:positive": (0.5, 0.1), "regenerate:negative": (0.05, 0.4), "save:positive": (0.2, 0.2)}
"""Signal -> how often it is there with a good answer, and with a bad one."""


def simulated(n, *, good=0.7, seed=7, true=TRUE):
    draw = random.Random(seed)
    found = []
    for number in range(n):
        is_good = draw.random() < good
        there = frozenset(key for key, shares in true.items() if draw.random() < shares[0 if is_good else 1])
        found.append(Labelled(f"t{number}", is_good, there))
    return found


def _true_ratio(key):
    good, bad = TRUE[key]
    return math.log(good / bad)


def test_with_many_votes_the_weights_are_the_true_ones():
    weights = fit(simulated(40_000), KNOWN, NOW)
    for key in TRUE:
        assert weights.signals[key].present == pytest.approx(_true_ratio(key), abs=0.12), key
        good, bad = TRUE[key]
        assert weights.signals[key].absent == pytest.approx(math.log((1 - good) / (1 - bad)), abs=0.05)
    assert weights.base == pytest.approx(math.log(7 / 3), abs=0.05)


def test_a_signal_that_says_nothing_is_weighed_at_nothing_whatever_its_prior():
    assert priors(KNOWN).signals["save:positive"].present == pytest.approx(math.log(3))
    assert abs(fit(simulated(40_000), KNOWN, NOW).signals["save:positive"].present) < 0.1


def test_with_few_votes_the_priors_count():
    prior = priors(KNOWN).signals["copy:positive"].present
    few = [fit(simulated(30, seed=seed), KNOWN, NOW).signals["copy:positive"].present for seed in range(40)]
    free = [fit(simulated(30, seed=seed), KNOWN, NOW, strength=0.5).signals["copy:positive"].present
            for seed in range(40)]
    spread, loose = (max(values) - min(values) for values in (few, free))
    assert spread < loose / 2 and min(few) > 0
    never_seen = fit(simulated(30), KNOWN, NOW).signals["pin:positive"]
    assert (never_seen.present, never_seen.absent) == (priors(KNOWN).signals["pin:positive"].present, 0)
    assert prior == pytest.approx(math.log(1.4 / 0.6))


def test_the_auc_is_that_of_the_truth():
    votes = simulated(20_000)
    weights = fit(votes, KNOWN, NOW)
    truth = auc([(sum(math.log(TRUE[key][0] / TRUE[key][1]) if key in one.signals
                      else math.log((1 - TRUE[key][0]) / (1 - TRUE[key][1])) for key in TRUE), one.good)
                 for one in votes])
    assert weights.auc.value == pytest.approx(truth.value, abs=0.01) and weights.auc.value > 0.75


def test_where_signals_say_nothing_the_auc_is_chance():
    """The twin: measured on the votes that made the weights, it would look better than it is."""
    nothing = {f"{name}:positive": (0.3, 0.3) for name in ("copy", "save", "pin", "share", "accept", "apply")}
    left_out, seen = [], []
    for seed in range(8):
        votes = simulated(400, true=nothing, seed=seed)
        weights = fit(votes, KNOWN, NOW, strength=0.5)
        left_out.append(weights.auc.value)
        seen.append(auc([(weights.estimate(one.signals), one.good) for one in votes]).value)
    assert sum(left_out) / 8 == pytest.approx(0.5, abs=0.03) and sum(seen) / 8 > 0.55


@pytest.mark.parametrize(("ranked", "value"), [
    ([(0.9, True), (0.1, False)], 1.0), ([(0.1, True), (0.9, False)], 0.0), ([(0.5, True), (0.5, False)], 0.5),
    ([(0.9, True), (0.4, True), (0.4, False), (0.1, False)], 0.875)])
def test_auc_by_hand(ranked, value):
    assert auc(ranked).value == value


def test_auc_needs_both():
    assert auc([(0.5, True)]) is None and auc([]) is None
    with pytest.raises(WeightsError):
        fit([Labelled("t", True, frozenset())], KNOWN, NOW)


def test_the_file(tmp_path):
    weights = fit(simulated(500), KNOWN, NOW)
    write(weights, tmp_path / "w.json")
    again = read(tmp_path / "w.json")
    assert again == weights and again.estimate({"copy:positive"}) == weights.estimate({"copy:positive"})
    assert fit(simulated(500), KNOWN, NOW + 9).version == weights.version
    assert fit(simulated(501), KNOWN, NOW).version != weights.version
    for text in ("", "[]", "{}", json.dumps({"format": 2}), json.dumps({"format": 1, "signals": {}})):
        (tmp_path / "w.json").write_text(text)
        with pytest.raises(WeightsError):
            read(tmp_path / "w.json")


# --- the job --------------------------------------------------------------------------------------------------------
@pytest.fixture
def run(make, clock, tmp_path):
    store = make()
    job = Satisfaction(tmp_path / "weights.json")

    def step(after=SETTLED + 60):
        clock.now = NOW + after
        while True:
            done = store.work(job.apply).result()
            if not done.more:
                return done

    step.store, step.file = store, job.file
    return step


def _estimates(store):
    with store.reading() as conn:
        return {int(turn_id[:32], 16): (value, weights) for turn_id, value, weights in
                conn.execute(sa.text("select turn_id, value, weights from estimates"))}


def _histogram(store):
    with store.reading() as conn:
        return {json.loads(row.labels)["weights"]: row.value for row in conn.execute(
            sa.text("select labels, value from counters where metric = :m"), {"m": semconv.PROM_SATISFACTION})
            if '"le":"sum"' in row.labels}


def test_every_turn_has_an_estimate_once(run):
    put_spans(run.store, [said(1, "q"), said(2, "r", session="c-2"), said(3, "s", session="c-3", consent="")])
    put(run.store, _judged(1, "implicit_copy", 0.5))
    run(after=60)
    assert _estimates(run.store) == {}
    run()
    found = _estimates(run.store)
    assert set(found) == {1, 2} and found[1][1] == "prior" and found[1][0] == pytest.approx(0.7) and found[2][0] == 0.5
    run(after=SETTLED + 200)
    assert _histogram(run.store) == {"prior": pytest.approx(1.2)}


def test_it_never_enters_a_vote(run):
    put_spans(run.store, [said(1, "q")])
    run()
    with run.store.reading() as conn:
        assert conn.execute(sa.text("select count(*) from vote_log")).scalar() == 0
        assert conn.execute(sa.text("select count(*) from counters where metric like 'backspan_feedback%' "
                                    "and value > 0")).scalar() == 0


def test_new_weights_are_taken_up_and_broken_ones_are_not(run):
    put_spans(run.store, [said(1, "q")])
    run()
    write(Weights("w2", NOW, 1.0, {}), run.file)
    put_spans(run.store, [said(2, "q", at=100)])
    run(after=SETTLED + 300)
    run.file.write_text("broken")
    put_spans(run.store, [said(3, "q", at=400)])
    run(after=SETTLED + 600)
    assert {number: weights for number, (_, weights) in _estimates(run.store).items()} == {1: "prior", 2: "w2", 3: "w2"}


def test_the_auc_counts_votes_on_these_estimates(run):
    put_spans(run.store, [said(n, "q", session=f"c-{n}") for n in range(1, 5)])
    put(run.store, *(_judged(n, "implicit_copy", 0.5) for n in (1, 2)))
    put(run.store, *(_judged(n, "user_thumbs", float(n <= 2), source="end_user",
                             polarity="positive" if n <= 2 else "negative") for n in range(1, 5)))
    run()
    run(after=2 * SETTLED + 200)
    with run.store.reading() as conn:
        from backspan.store import estimates

        assert estimates.told_auc(conn)["auc"]["value"] == 1.0
        answers = labelled(conn, KNOWN, 0, "user_thumbs")
    assert sorted((one.good, sorted(one.signals)) for one in answers) == [
        (False, []), (False, []), (True, ["copy:positive"]), (True, ["copy:positive"])]
    assert key_of("implicit_copy", "positive") == "copy:positive"
