"""What people think of an answer finds the span of that answer."""

from __future__ import annotations

import pytest

import backspan
from backspan import telemetry
from tests.contract.conftest import MESSAGES, stream_of
from tests.contract.scenarios import shows


@pytest.fixture
def judged(patched):
    """The spans that judge, by what they link to; feedback has a tracer of its own that ends in the same exporter."""

    def read():
        telemetry.flush(5)
        found = [span for span in patched.spans if span.name.startswith("evaluation")]
        return [span for span in found if len(span.links) == 1]

    return read


def _ask(client):
    return client.chat.completions.create(model="m", messages=MESSAGES)


def _ids(span):
    return span.context.trace_id, span.context.span_id


@shows("given-span-wins")
def test_the_given_span_is_judged_and_not_the_current_one(client, patched, judged):
    _ask(client)
    call = patched.one()
    with patched.provider.get_tracer("web").start_as_current_span("POST /feedback"):
        backspan.record_feedback((f"{call.context.trace_id:032x}", f"{call.context.span_id:016x}"), thumbs=False)
    (evaluation,) = judged()
    assert _ids(evaluation.links[0]) == _ids(call)


@shows("many-votes")
def test_several_judgements_of_one_answer(client, patched, judged):
    answer = _ask(client)
    for _ in range(2):  # the second time is a retry
        backspan.record_feedback(answer, thumbs=True, rater="a")
        backspan.record_feedback(answer, thumbs=False, rater="b")
        backspan.record_feedback(answer, stars=4)
    assert sorted((span.name, span.events[0].attributes["gen_ai.evaluation.score.value"]) for span in judged()) == [
        ("evaluation user_stars", 4.0), ("evaluation user_thumbs", 0.0), ("evaluation user_thumbs", 1.0)]


@shows("by-response-id")
def test_by_the_id_of_the_response(client, patched, judged):
    answer = _ask(client)
    call = patched.one()
    backspan.record_feedback({"response_id": answer.id}, thumbs=True)
    backspan.record_feedback(answer.id, stars=5)
    assert [_ids(span.links[0]) for span in judged()] == [_ids(call)] * 2


@shows("answer-is-target")
@pytest.mark.parametrize("stream", [False, True])
def test_the_answer_or_its_last_chunk_is_the_target(client, patched, judged, stream):
    answer = list(stream_of(client))[-1] if stream else _ask(client)
    call = patched.one()
    backspan.record_feedback(answer, thumbs=True)
    (evaluation,) = judged()
    assert _ids(evaluation.links[0]) == _ids(call)
