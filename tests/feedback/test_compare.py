"""Answers set against each other: what each of them gets, and what is sent."""

import json

import pytest

from backspan import record_feedback, semconv
from backspan.context import Target
from backspan.feedback import compare
from backspan.feedback.model import InvalidFeedback, parse
from backspan.feedback.token import mint

from .conftest import DIMS, target

A, B, C = ({"trace_id": f"{n:032x}", "span_id": f"{n:016x}"} for n in (1, 2, 3))


def known(ids, variant):
    return Target(**ids, dims={**DIMS, semconv.VARIANT: variant})


def said(*ranks, positions=(None, None, None), retract=False):
    """What answers A, B, C get."""
    common = parse({"name": "user_preference", "label": "tie", "retract": retract})[0]
    given = [compare.Candidate(known(ids, variant), rank, position)
             for ids, variant, rank, position in zip((A, B, C), "abc", ranks, positions, strict=False)]
    return {to.trace_id[-1]: one for to, one in compare.split(common, given)}


@pytest.mark.parametrize(("ranks", "expected"), [
    ((1, 2), {"1": (1.0, "win", "positive"), "2": (0.0, "loss", "negative")}),
    ((2, 1), {"1": (0.0, "loss", "negative"), "2": (1.0, "win", "positive")}),
    ((1, 1), {"1": (0.5, "tie", "neutral"), "2": (0.5, "tie", "neutral")}),
    ((1, 2, 3), {"1": (1.0, "win", "positive"), "2": (0.5, "tie", "neutral"), "3": (0.0, "loss", "negative")}),
    ((1, 1, 3), {"1": (0.75, "win", "positive"), "2": (0.75, "win", "positive"), "3": (0.0, "loss", "negative")}),
])
def test_each_answer_gets_the_share_of_the_others_that_it_was_preferred_to(ranks, expected):
    found = said(*ranks)
    assert {key: (one.value, one.label, one.polarity) for key, one in found.items()} == expected
    assert sum(one.value for one in found.values()) == len(ranks) / 2
    assert [one.details["comparison"]["lead"] for one in found.values()].count(True) == 1


def test_pairs_are_of_variants_better_first():
    def pairs(*ranks):
        return next(iter(said(*ranks).values())).details["comparison"]["pairs"]

    assert pairs(2, 1) == [["b", "a", "win"]]
    assert pairs(1, 1) == [["a", "b", "tie"]]
    assert sorted(pairs(3, 1, 2)) == [["b", "a", "win"], ["b", "c", "win"], ["c", "a", "win"]]


def test_the_group_is_the_set_of_answers_whatever_their_order():
    groups = {next(iter(said(*ranks).values())).details["comparison"]["group"] for ranks in ((1, 2), (2, 1), (1, 1))}
    assert len(groups) == 1
    assert next(iter(said(1, 2, 3).values())).details["comparison"]["group"] not in groups


@pytest.mark.parametrize(("given", "message"), [
    ("ab", "must be a list of 2 to 8 answers"),
    ([{"target": A, "rank": 1}], "must be a list of 2 to 8 answers"),
    ([{"target": A, "rank": 1}] * 9, "must be a list of 2 to 8 answers"),
    ([{"target": A}, {"target": B}], "each needs its rank: 1 is the best, equal ranks are a tie"),
    ([{"target": A, "rank": 1}, {"rank": 2}], "each has token or target, rank and position, and nothing else"),
    ([{"target": A, "rank": 1, "token": "t"}, {"target": B, "rank": 2}],
     "each has token or target, rank and position, and nothing else"),
    ([{"target": A, "rank": 0}, {"target": B, "rank": 2}], "must be a whole number from 1 to 8"),
    ([{"target": A, "rank": 1, "position": 1}, {"target": B, "rank": 2, "position": 1}], "each position once"),
    ([{"target": A, "rank": 1}, {"target": A, "rank": 2}], "each answer once"),
])
def test_what_is_no_comparison_is_refused(given, message):
    with pytest.raises(InvalidFeedback) as caught:
        record_feedback(candidates=given)
    assert (caught.value.field, caught.value.message) == ("candidates", message)


@pytest.mark.parametrize(("more", "field"), [
    ({"target": A}, "target"), ({"label": "win"}, "label"), ({"value": 1}, "value"), ({"thumbs": True}, "thumbs"),
    ({"name": "user_quick"}, "name"), ({"rejected": None}, "rejected"), ({"candidates": []}, "candidates"),
])
def test_a_comparison_is_said_in_one_way_only(more, field):
    with pytest.raises(InvalidFeedback) as caught:
        record_feedback(**{"chosen": A, "rejected": B, **more})
    assert caught.value.field == field


def links(span):
    return [(f"{one.context.trace_id:x}", *(one.attributes.get(f"backspan.feedback.{key}")
                                             for key in ("role", "rank", "position"))) for one in span.links]


def test_one_span_with_a_link_per_answer_and_a_count_per_answer(out):
    first, second = known(A, "a"), known(B, "b")
    receipt = record_feedback(name="user_preference", rater="anna", reasons=["other"], candidates=[
        {"target": first, "rank": 2, "position": 1}, {"target": second, "rank": 1, "position": 2}])
    assert (receipt.status, receipt.version, receipt.name) == ("add", 1, "user_preference")
    (span,) = out.spans
    assert span.name == "evaluation user_preference" and span.attributes["backspan.feedback.id"] == receipt.id
    assert links(span) == [("2", "chosen", 1, 2), ("1", "rejected", 2, 1)]
    assert out.counts("name", "polarity", "op", "feature_flag.result.variant") == {
        ("user_preference", "positive", "add", "b"): 1, ("user_preference", "negative", "add", "a"): 1}


def pairs_of(out):
    return {tuple(point.attributes[key] for key in ("winner", "loser", "result", "op")): point.value
            for point in out.points(semconv.COMPARISONS)}


def test_a_changed_preference_takes_the_old_pair_away_and_repeating_it_is_harmless(out):
    first, second = known(A, "a"), known(B, "b")
    for chosen, rejected, status in ((first, second, "add"), (first, second, "unchanged"), (second, first, "change")):
        assert record_feedback(chosen=chosen, rejected=rejected, rater="anna").status == status
    assert [links(span)[0][0] for span in out.spans] == ["1", "2"]
    gone = record_feedback(chosen=first, rejected=second, rater="anna", retract=True)
    assert gone.status == "retract"
    assert pairs_of(out) == {("a", "b", "win", "add"): 1, ("a", "b", "win", "retract"): 1,
                             ("b", "a", "win", "change"): 1, ("b", "a", "win", "retract"): 1}


def test_the_same_answer_in_another_comparison_is_another_judgement(out):
    first, second, third = known(A, "a"), known(B, "b"), known(C, "c")
    assert record_feedback(chosen=first, rejected=second, rater="anna").status == "add"
    assert record_feedback(chosen=first, rejected=[second, third], rater="anna").status == "add"
    assert record_feedback(first, thumbs=True, rater="anna").status == "add"
    names = [span.attributes["gen_ai.evaluation.name"] for span in out.spans]
    assert names == ["user_preference", "user_preference", "user_thumbs"]
    assert [role for _, role, _, _ in links(out.spans[1])] == ["ranked"] * 3


def test_tokens_must_be_of_one_rater(setenv, out):
    anna, bert = (mint(known(ids, "a"), rater=rater) for ids, rater in ((A, "p-anna"), (B, "p-bert")))
    with pytest.raises(InvalidFeedback) as caught:
        record_feedback(chosen=anna, rejected=bert)
    assert caught.value.message == "all tokens must be of one rater"
    assert record_feedback(chosen=anna, rejected=mint(known(B, "b"), rater="p-anna")).status == "add"
    assert out.spans[0].attributes["enduser.pseudo.id"] == "p-anna"


def test_a_skip_is_counted_and_is_no_judgement(out):
    receipt = record_feedback(target(), name="user_thumbs", skip=True)
    assert (receipt.status, receipt.version) == ("skip", 0)
    assert not out.spans
    (point,) = out.points(semconv.FEEDBACK_SKIPS_METRIC)
    assert point.value == 1 and point.attributes["name"] == "user_thumbs"
    assert point.attributes[semconv.PROMPT_VERSION] == "7"


def test_to_a_gateway_goes_one_request(setenv, monkeypatch):
    from backspan.feedback import record

    sent = []
    monkeypatch.setattr(record.forwarder, "post", lambda *post: sent.append(json.loads(json.dumps(post))))
    setenv(BACKSPAN_GATEWAY_URL="http://127.0.0.1:9")
    receipt = record_feedback(chosen=known(A, "a"), rejected=known(B, "b"), rater="anna")
    ((body, token),) = sent
    assert receipt.status == "queued" and len(receipt.id) == 32 and token is None
    assert [(one["rank"], one["target"]["trace_id"]) for one in body["candidates"]] == [
        (1, A["trace_id"]), (2, B["trace_id"])]
    assert "chosen" not in body and body["rater"] != "anna"
