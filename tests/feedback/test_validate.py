"""What is a valid judgement, what it means, and what is said about an invalid one."""

import json

import pytest

from backspan import semconv
from backspan.feedback.model import InvalidFeedback, parse, parse_rater, parse_target

from .conftest import DIMS, SPAN_ID, TRACE_ID


def verdict(**given):
    (one,) = parse(given)
    return one.name, one.value, one.label, one.polarity, one.source


@pytest.mark.parametrize(("given", "expected"), [
    ({"thumbs": True}, ("user_thumbs", 1.0, "pass", "positive", "end_user")),
    ({"thumbs": "down"}, ("user_thumbs", 0.0, "fail", "negative", "end_user")),
    ({"name": "user_thumbs", "value": 0}, ("user_thumbs", 0.0, "fail", "negative", "end_user")),
    ({"stars": 1}, ("user_stars", 1.0, "fail", "negative", "end_user")),
    ({"stars": 2}, ("user_stars", 2.0, "fail", "negative", "end_user")),
    ({"stars": 3}, ("user_stars", 3.0, "neutral", "neutral", "end_user")),
    ({"stars": 4}, ("user_stars", 4.0, "pass", "positive", "end_user")),
    ({"name": "user_stars", "value": 5.0}, ("user_stars", 5.0, "pass", "positive", "end_user")),
    ({"correction": "Paris"}, ("user_correction", None, "corrected", "negative", "end_user")),
    ({"name": "evaluator_grounded", "value": 0.82}, ("evaluator_grounded", 0.82, None, "neutral", "evaluator")),
    ({"name": "evaluator_grounded", "value": 0.2, "label": "fail"},
     ("evaluator_grounded", 0.2, "fail", "negative", "evaluator")),
    ({"name": "review_correct", "value": True}, ("review_correct", 1.0, "pass", "positive", "reviewer")),
    ({"name": "user_preference", "label": "loss"}, ("user_preference", None, "loss", "negative", "end_user")),
    ({"name": "implicit_copy", "value": 1, "polarity": "positive"},
     ("implicit_copy", 1.0, "rule-1", "positive", "implicit")),
    ({"name": "outcome_resolved", "value": False, "source": "operator"},
     ("outcome_resolved", 0.0, "fail", "negative", "operator")),
])
def test_a_verdict_has_a_name_a_score_a_label_a_polarity_and_a_source(given, expected):
    assert verdict(**given) == expected


def test_one_call_may_carry_several_verdicts_and_the_first_has_the_reasons_and_the_comment():
    said = {"reasons": ["wrong", "old", "wrong"], "comment": "no"}
    judged = parse({"thumbs": False, "stars": 2, "correction": "Paris", **said})
    assert [(one.name, one.reasons, one.comment, one.correction) for one in judged] == [
        ("user_thumbs", ("old", "wrong"), "no", None),
        ("user_stars", (), None, None),
        ("user_correction", (), None, "Paris"),
    ]


def test_an_untouched_comment_field_is_no_comment():
    assert parse({"thumbs": True, "comment": ""})[0].comment is None


def test_the_source_can_be_forced():
    assert parse({"thumbs": True, "source": "reviewer"}, source="end_user")[0].source == "end_user"


@pytest.mark.parametrize(("given", "said"), [({}, None), ({"solicited": None}, None), ({"solicited": True}, True),
                                             ({"solicited": False}, False)])
def test_all_verdicts_of_a_call_were_asked_for_or_none_was(given, said):
    assert [one.solicited for one in parse({"thumbs": True, "stars": 5, **given})] == [said, said]


def test_only_allowed_names_pass():
    assert len(parse({"thumbs": True, "stars": 5}, names=["user_*"])) == 2
    with pytest.raises(InvalidFeedback, match="name: user_stars is not allowed"):
        parse({"thumbs": True, "stars": 5}, names=["user_thumbs"])


def test_with_retract_the_name_is_enough():
    (one,) = parse({"name": "user_correction", "retract": True})
    assert (one.name, one.retract) == ("user_correction", True)


@pytest.mark.parametrize(("given", "field"), [
    ({}, "thumbs"),
    ({"comment": "only words"}, "thumbs"),
    ({"retract": True}, "name"),
    ({"thumbs": 1}, "thumbs"),
    ({"thumbs": "yes"}, "thumbs"),
    ({"thumbs": []}, "thumbs"),
    ({"stars": 0}, "stars"),
    ({"stars": 6}, "stars"),
    ({"stars": 4.5}, "stars"),
    ({"stars": True}, "stars"),
    ({"stars": "5"}, "stars"),
    ({"value": 1}, "value"),
    ({"thumbs": True, "label": "pass"}, "label"),
    ({"thumbs": True, "polarity": "negative"}, "polarity"),
    ({"name": "thumbs", "value": 1}, "name"),
    ({"name": "user_", "value": 1}, "name"),
    ({"name": "user_Thumbs", "value": 1}, "name"),
    ({"name": "user_" + "x" * 60, "value": 1}, "name"),
    ({"name": 7, "value": 1}, "name"),
    ({"name": "user_thumbs", "value": 0.5}, "thumbs"),
    ({"name": "user_thumbs", "value": 1, "label": "fail"}, "label"),
    ({"name": "user_stars", "value": 1, "polarity": "positive"}, "polarity"),
    ({"name": "user_correction", "value": 1}, "name"),
    ({"name": "user_thumbs", "value": 1, "thumbs": False}, "name"),
    ({"name": "evaluator_x"}, "value"),
    ({"name": "evaluator_x", "value": float("nan")}, "value"),
    ({"name": "evaluator_x", "value": float("inf")}, "value"),
    ({"name": "evaluator_x", "value": 10**400}, "value"),
    ({"name": "evaluator_x", "value": "0.5"}, "value"),
    ({"name": "evaluator_x", "label": "a\nb"}, "label"),
    ({"name": "evaluator_x", "label": "pass", "polarity": "bad"}, "polarity"),
    ({"thumbs": True, "reasons": "inaccurate"}, "reasons"),
    ({"thumbs": True, "reasons": ["a"] * 2000}, "reasons"),
    ({"thumbs": True, "reasons": ["Not A Code"]}, "reasons"),
    ({"thumbs": True, "reasons": [["nested"]]}, "reasons"),
    ({"thumbs": True, "reasons": {"a": 1}}, "reasons"),
    ({"thumbs": True, "comment": "x" * 4097}, "comment"),
    ({"thumbs": True, "comment": 5}, "comment"),
    ({"thumbs": True, "comment": "nul\0"}, "comment"),
    ({"thumbs": True, "comment": json.loads('"\\ud800"')}, "comment"),
    ({"correction": "x" * 16385}, "correction"),
    ({"correction": ""}, "correction"),
    ({"thumbs": True, "source": "robot"}, "source"),
    ({"thumbs": True, "source": ["end_user"]}, "source"),
    ({"thumbs": True, "retract": "yes"}, "retract"),
    ({"thumbs": True, "solicited": "true"}, "solicited"),
    ({"thumbs": True, "solicited": 1}, "solicited"),
    ({"name": "evaluator_x", "value": 1, "solicited": {}}, "solicited"),
    ({"thumbs": True, "thumb": True}, "thumb"),
    ({"thumbs": True, "<script>": True}, "payload"),
])
def test_what_is_wrong_is_said_by_field(given, field):
    with pytest.raises(InvalidFeedback) as raised:
        parse(given)
    assert raised.value.field == field


def test_an_error_never_quotes_what_was_given():
    with pytest.raises(InvalidFeedback) as raised:
        parse({"thumbs": "my secret"})
    assert "secret" not in str(raised.value)
    assert isinstance(raised.value, ValueError)


def test_a_target_by_span_by_response_or_by_conversation():
    whole = {"trace_id": TRACE_ID, "span_id": SPAN_ID, "trace_flags": 0, "dims": DIMS, "at": 5, "turn_id": "t"}
    assert parse_target({**whole, "thumbs": True}).dims == DIMS
    assert parse_target({"trace_id": TRACE_ID, "span_id": SPAN_ID}).trace_flags == 1
    assert parse_target({"response_id": "r"}).response_id == "r"
    assert parse_target({"conversation_id": "c"}).conversation_id == "c"


@pytest.mark.parametrize(("given", "field"), [
    ({}, "target"),
    ({"trace_id": TRACE_ID}, "span_id"),
    ({"span_id": SPAN_ID}, "trace_id"),
    ({"trace_id": "0" * 32, "span_id": SPAN_ID}, "trace_id"),
    ({"trace_id": TRACE_ID, "span_id": "0" * 16}, "span_id"),
    ({"trace_id": TRACE_ID.upper(), "span_id": SPAN_ID}, "trace_id"),
    ({"trace_id": TRACE_ID + "\n", "span_id": SPAN_ID}, "trace_id"),
    ({"trace_id": 5, "span_id": SPAN_ID}, "trace_id"),
    ({"trace_id": TRACE_ID, "span_id": SPAN_ID, "trace_flags": 256}, "trace_flags"),
    ({"trace_id": TRACE_ID, "span_id": SPAN_ID, "trace_flags": True}, "trace_flags"),
    ({"response_id": ""}, "response_id"),
    ({"response_id": "r" * 257}, "response_id"),
    ({"response_id": {}}, "response_id"),
    ({"response_id": "r", "dims": {"user.id": "u"}}, "dims"),
    ({"response_id": "r", "dims": {semconv.SEGMENT: 5}}, "dims"),
    ({"response_id": "r", "dims": []}, "dims"),
    ({"response_id": "r", "at": "today"}, "at"),
    ({"response_id": "r", "at": float("nan")}, "at"),
])
def test_a_wrong_target_is_refused_by_field(given, field):
    with pytest.raises(InvalidFeedback) as raised:
        parse_target(given)
    assert raised.value.field == field


@pytest.mark.parametrize("rater", ["", 5, "x" * 257])
def test_a_rater_is_a_short_text(rater):
    assert parse_rater(None) is None
    with pytest.raises(InvalidFeedback, match="rater"):
        parse_rater(rater)
