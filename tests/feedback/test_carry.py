"""The token in headers, fields and events that an application sends itself."""

import json

import pytest

import backspan
from backspan import semconv
from backspan.feedback.token import read
from tests.support.answers import answered

from .conftest import SPAN_ID, TRACE_ID, target


def test_headers(out):
    headers = backspan.feedback_headers(target(), rater="ada", names=["user_*"], ttl=60)
    assert headers.pop("traceresponse") == f"00-{TRACE_ID}-{SPAN_ID}-03"
    claims = read(headers.pop("Backspan-Token"))
    assert claims.names == ("user_*",) and claims.rater and headers == {"Cache-Control": "private"}


def test_fields_go_into_json_and_event_into_a_stream(out):
    fields = json.loads(json.dumps({"answer": "x", **backspan.feedback_fields(target())}))
    assert read(fields["feedback_token"]).target == read(backspan.feedback_token(target())).target
    assert fields["turn_id"] == f"{TRACE_ID}-{SPAN_ID}"
    name, data, *end = backspan.feedback_event(target()).split("\n")
    assert (name, end) == ("event: backspan-token", ["", ""]) and read(data.removeprefix("data: "))


def test_the_turn_in_force_is_meant_where_none_is_named(out, setenv):
    setenv(BACKSPAN="1")
    with backspan.turn() as turn:
        answered(target())
        assert backspan.feedback_fields()["turn_id"] == turn.id
        assert turn.id in {f"{v[3:35]}-{v[36:52]}" for k, v in backspan.feedback_headers().items() if "trace" in k}


def test_with_nothing_to_judge_there_is_nothing_to_carry(out):
    assert (backspan.feedback_headers(), backspan.feedback_fields(), backspan.feedback_event()) == ({}, {}, "")


def test_without_a_key_the_ids_are_carried_all_the_same(out, setenv):
    setenv(BACKSPAN_TOKEN_KEYS="broken")
    assert list(backspan.feedback_headers(target())) == ["traceresponse"]
    assert list(backspan.feedback_fields(target())) == ["turn_id"]
    assert backspan.feedback_event(target()) == ""


def test_wrong_arguments_are_told():
    for helper in (backspan.feedback_headers, backspan.feedback_fields, backspan.feedback_event):
        with pytest.raises(backspan.feedback.fields.InvalidFeedback):
            helper(target(), ttl=0)


def test_an_answer_that_comes_after_its_turn_is_counted_once(out, setenv):
    setenv(BACKSPAN="1")
    with backspan.turn() as turn:
        scope = backspan.context.current()
    for _ in range(2):
        answered(target(), scope)
    out.points(semconv.ANSWERS)
    assert sum(point.value for point in out.points(semconv.ANSWERS)) == 1
    assert turn.answered
