"""`record_feedback` and `feedback_token`, as an application calls them."""

import asyncio
from types import SimpleNamespace

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

import backspan
from backspan import context, semconv, telemetry
from backspan.context import Target
from backspan.feedback.record import InvalidFeedback, feedback_token, record_feedback
from backspan.feedback.token import InvalidToken, read
from tests.support.answers import answered

from .conftest import DIMS, SPAN_ID, TRACE_ID, key, target

COMPLETION = ChatCompletion.model_validate({
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "choices": []})
CHUNK = ChatCompletionChunk.model_validate({
    "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": []})
SPAN_CONTEXT = trace.SpanContext(int(TRACE_ID, 16), int(SPAN_ID, 16), False, trace.TraceFlags(1))


def judgements(out):
    return [span for span in out.spans if span.name.startswith("evaluation ")]


def links(out):
    return [(f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}") for link in judgements(out)[-1].links]


@pytest.mark.parametrize("given", [
    target(), COMPLETION, CHUNK, "chatcmpl-1", (TRACE_ID, SPAN_ID), [int(TRACE_ID, 16), int(SPAN_ID, 16)],
    {"trace_id": TRACE_ID, "span_id": SPAN_ID}, {"response_id": "chatcmpl-1"}, f"00-{TRACE_ID}-{SPAN_ID}-01",
    f"{TRACE_ID}-{SPAN_ID}", SPAN_CONTEXT, trace.NonRecordingSpan(SPAN_CONTEXT), SimpleNamespace(id="chatcmpl-1"),
], ids=lambda given: type(given).__name__)
def test_an_answer_of_this_process_is_found_by_whatever_one_holds_of_it(out, given):
    answered(target())
    receipt = record_feedback(given, thumbs=False)
    assert (receipt.status, receipt.version, receipt.name) == ("add", 1, "user_thumbs")
    assert links(out) == [(TRACE_ID, SPAN_ID)]
    assert out.spans[-1].attributes[semconv.PROMPT_VERSION] == "7"
    assert record_feedback(target(), thumbs=False).status == "unchanged"


@pytest.mark.parametrize(("given", "linked", "resolved"), [
    ((TRACE_ID, SPAN_ID), True, True), (COMPLETION, False, False), ("resp_1", False, False),
    ({"conversation_id": "c"}, False, True),
])
def test_an_answer_of_another_process_is_accepted(out, given, linked, resolved):
    assert record_feedback(given, thumbs=True).status == "add"
    assert bool(links(out)) is linked
    assert out.spans[-1].attributes[semconv.FEEDBACK_RESOLVED] is resolved


@pytest.mark.parametrize(("given", "field"), [
    (("0" * 32, SPAN_ID), "trace_id"), ((0, int(SPAN_ID, 16)), "trace_id"), ((TRACE_ID, None), "span_id"),
    ((TRACE_ID,), "target"), ((-1, 5), "trace_id"), ((1 << 128, 5), "trace_id"), ({}, "target"), (5, "target"),
    (object(), "target"), ("", "response_id"), (SimpleNamespace(id=5), "target"), ({"id": "x"}, "target"),
    ({"trace_id": TRACE_ID}, "span_id"), (Target(trace_id="x", span_id=SPAN_ID), "trace_id"),
    (f"00-{'0' * 32}-{SPAN_ID}-01", "trace_id"), (b"chatcmpl-1", "target"),
])
def test_what_names_no_answer_is_refused(out, given, field):
    with pytest.raises(InvalidFeedback) as raised:
        record_feedback(given, thumbs=True)
    assert raised.value.field == field
    assert out.spans == ()


def test_invalid_arguments_are_told_before_anything_happens(out):
    for wrong in ({}, {"stars": 9}, {"thumbs": True, "rater": 5}, {"thumbs": True, "reasons": "x"}):
        with pytest.raises(InvalidFeedback):
            record_feedback(target(), **wrong)
    assert out.spans == ()


def test_the_current_turn_is_judged_by_default(out, setenv):
    setenv(BACKSPAN="1")
    with backspan.turn("ask") as turn:
        record_feedback(thumbs=True)
    assert f"{links(out)[0][0]}-{links(out)[0][1]}" == turn.id
    assert record_feedback(turn, thumbs=True).status == "unchanged"
    assert record_feedback(turn.id, thumbs=False).status == "change"


def test_a_turn_keeps_the_dimensions_of_its_answer(out, setenv):
    setenv(BACKSPAN="1")
    with backspan.turn() as turn:
        answered(target())
    record_feedback(turn.id, thumbs=True)
    assert dict(judgements(out)[-1].attributes).items() >= DIMS.items()
    assert judgements(out)[-1].attributes[semconv.FEEDBACK_DELAY] >= 0


@pytest.mark.parametrize("on", ["", "1"])
def test_nothing_to_judge_is_no_error_because_a_variable_may_be_the_reason(out, setenv, caplog, on):
    setenv(BACKSPAN=on)
    assert record_feedback(thumbs=True).status == "ignored"
    assert record_feedback(trace.INVALID_SPAN, thumbs=True, stars=1)[1].status == "ignored"
    assert feedback_token() is None
    assert out.spans == ()
    assert ("without a target" in caplog.text) is (on == "1")


def test_a_turn_without_a_span_is_ignored_while_backspan_is_off(out):
    with backspan.turn() as turn:
        pass
    assert record_feedback(turn, thumbs=True).status == "ignored"


def test_it_works_while_the_variable_is_unset(out):
    assert record_feedback(target(), thumbs=True).status == "add"
    assert len(out.spans) == 1


def test_several_verdicts_give_several_receipts(out):
    receipts = record_feedback(target(), thumbs=False, stars=1, correction="Paris")
    assert [one.name for one in receipts] == ["user_thumbs", "user_stars", "user_correction"]
    assert len({one.id for one in receipts}) == len(out.spans) == 3


def test_a_rater_leaves_as_a_pseudonym(out, setenv):
    setenv(BACKSPAN_TOKEN_KEYS=key())
    record_feedback(target(), thumbs=True, rater="ada@example.com")
    record_feedback(target(), thumbs=True, rater="bob@example.com")
    users = [span.attributes[semconv.ENDUSER_PSEUDO_ID] for span in out.spans]
    assert users == [context.pseudonym("ada@example.com"), context.pseudonym("bob@example.com")]


def test_the_user_of_the_session_judges_unless_it_is_no_user_who_judges(out, setenv):
    setenv(BACKSPAN="1", BACKSPAN_TOKEN_KEYS=key())
    with backspan.session("c", user="ada"):
        record_feedback(target(), thumbs=True)
        record_feedback(target(), name="evaluator_grounded", value=0.5)
    ada, judge = out.spans
    assert ada.attributes[semconv.ENDUSER_PSEUDO_ID] == context.pseudonym("ada")
    assert semconv.ENDUSER_PSEUDO_ID not in judge.attributes
    assert record_feedback(target(), thumbs=True, rater="ada").status == "unchanged"


def test_a_token_judges_the_answer_it_was_made_for_as_its_rater(out, setenv):
    setenv(BACKSPAN="1")
    token = feedback_token(target(), rater="ada", names=["user_thumbs"])
    assert record_feedback(token, thumbs=False, rater="mallory").status == "add"
    assert links(out) == [(TRACE_ID, SPAN_ID)]
    assert record_feedback(target(), thumbs=False, rater="ada").status == "unchanged"
    with pytest.raises(InvalidFeedback, match="not allowed by this token"):
        record_feedback(token, stars=1)


def test_a_token_tells_a_gateway_the_place_of_the_answer():
    resource = Resource({semconv.SERVICE_NAME: "shop", semconv.ENVIRONMENT: "prod"})
    telemetry._state.tracer_provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    dims = read(feedback_token(target())).target.dims
    assert dims == {**DIMS, semconv.SERVICE_NAME: "shop", semconv.ENVIRONMENT: "prod"}


def test_a_useless_token_is_told_by_its_reason(out):
    token = feedback_token(target())
    with pytest.raises(InvalidToken, match="was not made by this service"):
        record_feedback(token[:-8] + "AAAAAAA=", thumbs=True)
    with pytest.raises(InvalidToken) as raised:
        record_feedback(feedback_token(target(), audience="other"), thumbs=True)
    assert (raised.value.reason, raised.value.field, out.spans) == ("audience", "token", ())


def test_retracting_by_name(out):
    record_feedback(target(), correction="Paris")
    assert record_feedback(target(), name="user_correction", retract=True).status == "retract"
    assert record_feedback(target(), name="user_correction", retract=True).status == "unchanged"


def test_a_fault_of_ours_never_reaches_the_application(out, setenv, tmp_path, caplog):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "token.key").write_bytes(b"\xff broken")
    setenv(BACKSPAN_RAISE="0")
    assert record_feedback(target(), thumbs=True, rater="ada").status == "add"
    assert feedback_token(target(), rater="ada") is None
    assert "failed with UnicodeDecodeError" in caplog.text


def test_tasks_judge_their_own_turns(out, setenv):
    setenv(BACKSPAN="1")

    async def ask():
        async with backspan.turn() as turn:
            await asyncio.sleep(0)
            record_feedback(thumbs=True)
            return turn.id

    async def all_of_them():
        return await asyncio.gather(*(ask() for _ in range(20)))

    turns = asyncio.run(all_of_them())
    judged = [span.attributes[semconv.TURN_ID] for span in judgements(out)]
    assert sorted(judged) == sorted(turns)
    assert len(set(turns)) == 20
