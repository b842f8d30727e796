"""What comes by OTLP is masked before it is stored, whatever its sender did."""

import json

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from backspan import semconv
from backspan.server import masking
from backspan.server.spans import Received

MAIL = "anna@example.com"
ATTRIBUTES = {
    semconv.OPERATION_NAME: semconv.CHAT, semconv.REQUEST_MODEL: "m-1",
    semconv.INPUT_MESSAGES: json.dumps([
        {"role": "user", "parts": [{"type": "text", "content": f"I am {MAIL}"},
                                   {"type": "tool_call", "id": "+49 30 123456789", "arguments": {MAIL: [MAIL]}}]}]),
    semconv.OUTPUT_MESSAGES: json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": f"Hi {MAIL}"}]}]),
    semconv.RETRIEVAL_DOCUMENTS: json.dumps([{"id": f"kb/{MAIL}", "score": 0.5, "content": f"from {MAIL}", "page": 3}]),
}
VOTE = {
    semconv.FEEDBACK_ID: "0" * 31 + "1", semconv.EVALUATION_NAME: "user_thumbs", semconv.FEEDBACK_OP: "add",
    semconv.FEEDBACK_VERSION: 1, semconv.FEEDBACK_POLARITY: "negative", semconv.FEEDBACK_COMMENT: f"tell {MAIL}",
    semconv.FEEDBACK_CORRECTION: f"It is {MAIL}.",
}


def received(said):
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    provider.get_tracer("app").start_span("s", attributes=said).end()
    return Received(encode_spans(exporter.get_finished_spans()))


def test_a_call_is_masked_but_for_ids():
    (call,) = received(ATTRIBUTES).calls
    assert (call.query, call.answer) == ("I am [email]", "Hi [email]")
    parts = call.messages[0]["parts"]
    assert parts[1] == {"type": "tool_call", "id": "+49 30 123456789", "arguments": {"[email]": ["[email]"]}}
    assert call.documents == [{"id": f"kb/{MAIL}", "score": 0.5, "content": "from [email]", "page": 3}]


def test_a_vote_is_masked():
    (vote,) = received(VOTE).votes
    assert (vote.comment, vote.correction) == ("tell [email]", "It is [email].")


def test_without_masking_it_would_be_there(monkeypatch):
    """The twin: what the sender put into the span is not masked on its way."""
    monkeypatch.setattr(masking, "redact", lambda text: text)
    assert MAIL in received(ATTRIBUTES).calls[0].query and MAIL in received(VOTE).votes[0].comment


def test_masked_content_comes_out_as_it_came_in():
    once = received(ATTRIBUTES).calls[0]
    assert masking.call(once) == once


def test_numbers_that_may_be_somebodys():
    assert masking.value({"card": 4111111111111111, "tokens": 12, "yes": True, "score": 0.5}) == {
        "card": "[card]", "tokens": 12, "yes": True, "score": 0.5}


def test_what_is_nested_without_end_is_left_out():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    call = received(ATTRIBUTES).calls[0]
    from dataclasses import replace

    assert masking.call(replace(call, messages=deep)).messages == []
