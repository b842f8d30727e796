"""Ids, ages, and what one more judgement does to a vote."""

import pytest

from backspan.feedback.model import age, feedback_id, parse, revise

from .conftest import NOW, SPAN_ID, target


def judged(**given):
    return parse(given)[0]


def walk(*steps):
    """The revisions and statuses of one vote after each step."""
    last, revisions, statuses = None, [], []
    for step in steps:
        revision, receipt = revise(last, judged(**step), target(), "ada", NOW)
        last = revision or last
        revisions.append(revision)
        statuses.append((receipt.status, receipt.version))
    return revisions, statuses


def test_an_id_tells_target_name_and_rater_apart_and_nothing_else():
    base = feedback_id(target(), "user_thumbs", "ada")
    assert base == feedback_id(target(dims={}, at=None, response_id=None, trace_flags=0), "user_thumbs", "ada")
    others = [
        feedback_id(target(trace_id="1" * 32), "user_thumbs", "ada"),
        feedback_id(target(span_id="1" * 16), "user_thumbs", "ada"),
        feedback_id(target(), "user_stars", "ada"),
        feedback_id(target(), "user_thumbs", "bob"),
        feedback_id(target(), "user_thumbs", None),
        feedback_id(target(trace_id=None, span_id=None), "user_thumbs", "ada"),
        feedback_id(target(trace_id=None, span_id=SPAN_ID, response_id=None), "user_thumbs", "ada"),
    ]
    assert len({base, *others}) == 8
    assert all(len(one) == 32 and int(one, 16) >= 0 for one in others)


@pytest.mark.parametrize(("delay", "bucket"), [
    (None, "le_1h"), (0.0, "le_1h"), (3600.0, "le_1h"), (3600.1, "le_1d"), (86400.0, "le_1d"), (86400.1, "older"),
])
def test_ages_are_disjoint_and_unknown_counts_as_fresh(delay, bucket):
    assert age(delay) == bucket


def test_a_repeated_vote_is_unchanged():
    revisions, statuses = walk({"thumbs": True}, {"thumbs": True})
    assert statuses == [("add", 1), ("unchanged", 1)]
    assert revisions[1] is None


def test_a_changed_vote_takes_the_old_value_away():
    revisions, statuses = walk({"thumbs": True}, {"thumbs": False, "reasons": ["old"]})
    assert statuses == [("add", 1), ("change", 2)]
    assert (revisions[1].value, revisions[1].previous.value, revisions[1].previous.previous) == (0.0, 1.0, None)


@pytest.mark.parametrize("more", [{"reasons": ["old"]}, {"comment": "hm"}, {"source": "operator"}])
def test_whatever_is_said_differently_is_a_change(more):
    assert walk({"thumbs": True}, {"thumbs": True, **more})[1][1] == ("change", 2)


def test_a_retract_carries_the_old_value():
    revisions, statuses = walk({"thumbs": False, "reasons": ["old"]}, {"name": "user_thumbs", "retract": True})
    assert statuses == [("add", 1), ("retract", 2)]
    gone = revisions[1]
    assert (gone.value, gone.label, gone.polarity, gone.reasons) == (0.0, "fail", "negative", ("old",))
    assert not gone.live
    assert gone.previous.op == "add"


def test_a_vote_after_a_retract_is_a_change_that_takes_nothing_away():
    revisions, statuses = walk({"thumbs": True}, {"thumbs": True, "retract": True}, {"thumbs": True})
    assert statuses == [("add", 1), ("retract", 2), ("change", 3)]
    assert revisions[2].previous is None


def test_retracting_nothing_changes_nothing():
    assert walk({"thumbs": True, "retract": True})[1] == [("unchanged", 0)]
    gone = {"thumbs": True, "retract": True}
    assert walk({"thumbs": True}, gone, gone)[1][2] == ("unchanged", 2)


def test_a_delay_is_never_negative_and_unknown_without_the_answers_time():
    early, _ = revise(None, judged(thumbs=True), target(at=NOW + 5), None, NOW)
    unknown, _ = revise(None, judged(thumbs=True), target(at=None), None, NOW)
    assert (early.delay, unknown.delay) == (0.0, None)


def test_an_answer_known_by_its_response_id_only_is_unresolved():
    known, _ = revise(None, judged(thumbs=True), target(), None, NOW)
    unknown, _ = revise(None, judged(thumbs=True), target(trace_id=None, span_id=None), None, NOW)
    assert (known.resolved, unknown.resolved) == (True, False)
