"""Tables of four counts: figures from the literature, by hand, and from a real store; few are called few."""

import pytest

from backspan.context import Target
from backspan.feedback.model import feedback_id
from backspan.store import Vote, guards, outcomes
from backspan.store.outcomes_report import Four, compare, odds_ratio, phi, report

from .conftest import NOW, chat, put, put_spans
from .test_outcomes import solved


def test_newcombes_own_example():
    """Newcombe (1998), table II, (a): 56 of 70 against 48 of 80, method 10 gives 0.0524 to 0.3339."""
    found = compare(Four(56, 14, 48, 32), "a", "b")
    assert found["difference"] == {"value": pytest.approx(0.2), "low": pytest.approx(0.0524, abs=5e-5),
                                   "high": pytest.approx(0.3339, abs=5e-5)}
    assert found["verdict"] == "better" and found["a"]["n"] == 70
    assert compare(Four(48, 32, 56, 14), "a", "b")["verdict"] == "worse"


def test_phi_and_odds_ratio_by_hand():
    four = Four(30, 10, 20, 40)
    assert phi(four) == pytest.approx((30 * 40 - 10 * 20) / (40 * 60 * 50 * 50) ** 0.5)
    assert odds_ratio(four)["value"] == pytest.approx(30.5 * 40.5 / (10.5 * 20.5))
    assert odds_ratio(four)["low"] < odds_ratio(four)["value"] < odds_ratio(four)["high"]


@pytest.mark.parametrize(("four", "verdict"), [
    (Four(), "too_few"), (Four(29, 0, 0, 100), "too_few"), (Four(30, 0, 0, 100), "better"),
    (Four(40, 40, 41, 39), "no_difference")])
def test_the_verdict(four, verdict):
    assert compare(four, "a", "b")["verdict"] == verdict


def test_empty_rows_have_no_figures():
    found = compare(Four(3, 1), "a", "b")
    assert (found["difference"], found["phi"], found["odds_ratio"], found["b"]["share"]) == (None, None, None, None)


def _vote(number, up):
    trace, span = f"{number:032x}", f"{number:016x}"
    return Vote(feedback_id(Target(trace_id=trace, span_id=span), "user_thumbs", "u"), "user_thumbs", NOW,
                value=float(up), polarity="positive" if up else "negative", trace_id=trace, span_id=span, rater="u")


def _told(number, good, **fields):
    return solved(good, id=f"o{number}", join_key=f"k{number}", **fields)


@pytest.fixture
def full(store):
    """Turns 1 to 9 with votes and outcomes; one outcome waits, three are of work without a model."""
    put_spans(store, [chat(f"{n:016x}", f"{n:032x}", join_key=f"k{n}") for n in range(1, 10)])
    put(store, *(_vote(n, n <= 5) for n in range(1, 9)))  # the ninth has no vote
    told = [_told(n, n in (1, 2, 3, 6)) for n in range(1, 10)]
    alone = [_told(n, n == 21, assisted=False) for n in (20, 21, 22)]
    store.work(lambda batch: outcomes.accept(batch, [*told, *alone, _told(99, True)], store.identify)).result()
    return store


def _report(store, **more):
    with store.reading() as conn:
        return report(conn, **{"since": 0, **more})


def test_from_the_store(full):
    [one] = _report(full)["outcomes"]
    votes, helped = one["votes"], one["assistance"]
    assert (votes["up"]["good"], votes["up"]["bad"], votes["down"]["good"], votes["down"]["bad"]) == (3, 2, 1, 2)
    assert (helped["assisted"]["good"], helped["assisted"]["bad"]) == (4, 5)
    assert (helped["unassisted"]["good"], helped["unassisted"]["bad"]) == (1, 2)
    assert (one["waiting"], votes["verdict"], helped["verdict"]) == (1, "too_few", "too_few")


def test_a_vote_that_is_taken_back_is_no_pair(full):
    vote = _vote(1, True)
    full.put_votes([Vote(**{**vars(vote), "retract": True})]).result()
    assert _report(full)["outcomes"][0]["votes"]["up"]["n"] == 4


@pytest.mark.parametrize("more", [{"since": NOW + 1}, {"until": NOW}, {"name": "outcome_other"}])
def test_narrowed_to_nothing(full, more):
    assert _report(full, **more)["outcomes"] == []


def test_a_vote_that_is_held_is_no_pair(full):
    full.write(lambda conn: guards.hold(conn, {_vote(1, True).id: "burst"}, NOW)).result()
    assert _report(full)["outcomes"][0]["votes"]["up"]["n"] == 4
