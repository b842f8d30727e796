"""Streams end exactly once, and say how."""

from __future__ import annotations

import contextlib
import gc
import time

import openai
import pytest
from opentelemetry.trace import StatusCode

import backspan.instrument
from backspan.instrument import _call
from tests.contract.calls import TOOLS
from tests.contract.conftest import MESSAGES, stream_of, texts
from tests.contract.scenarios import shows
from tests.contract.versions import needs

USAGE = {"include_usage": True}


@shows("one-record")
def test_read_to_the_end(client, patched):
    began = time.perf_counter()
    chunks = list(stream_of(client, stream_options=USAGE))
    took = time.perf_counter() - began  # by the clock of the attributes: that of the span's ends may be set meanwhile
    got = patched.attributes()
    assert texts(chunks) == "You said: one two three"
    assert got["backspan.stream.outcome"] == "complete"
    assert got["backspan.stream.chunks"] == len(chunks) == 8
    assert got["gen_ai.request.stream"] is True
    assert got["gen_ai.response.finish_reasons"] == ("stop",)
    assert (got["gen_ai.usage.input_tokens"], got["gen_ai.usage.output_tokens"]) == (5, 5)
    first, content = got["gen_ai.response.time_to_first_chunk"], got["backspan.stream.time_to_first_content"]
    assert 0 < first <= content <= took
    metrics = patched.metrics()
    assert metrics["gen_ai.client.inference.time_to_first_chunk"][0].count == 1
    assert metrics["backspan.answers"][0].value == 1


def test_no_usage_is_unknown_not_zero(client, patched):
    list(stream_of(client))
    assert "gen_ai.usage.input_tokens" not in patched.attributes()


def _whole(stream):
    list(stream)
    return stream


def _break_in_with(stream):
    with stream:
        for _ in stream:
            break
    return stream


def _break_and_close(stream):
    for _ in stream:
        break
    stream.close()
    return stream


def _close_response(stream):
    stream.response.close()
    return stream


def _error_in_with(stream):
    with contextlib.suppress(ZeroDivisionError), stream:
        for _ in stream:
            raise ZeroDivisionError
    return stream


def _interrupted(stream):
    with contextlib.suppress(KeyboardInterrupt), stream:
        for _ in stream:
            raise KeyboardInterrupt
    return stream


def _after_the_last_word(stream):
    with stream:
        for chunk in stream:
            if chunk.choices[0].finish_reason:
                break
    return stream


@shows("left-in-with", "closed", "ended-once")
@pytest.mark.parametrize("consume, outcome", [
    (_whole, "complete"), (_break_in_with, "closed"), (_break_and_close, "closed"), (_close_response, "closed"),
    (_error_in_with, "closed"), (_interrupted, "cancelled"), (_after_the_last_word, "complete"),
])
def test_how_the_consumer_ends_it(client, patched, content, quiet, consume, outcome):
    stream = consume(stream_of(client))
    span = patched.one()
    assert span.attributes["backspan.stream.outcome"] == outcome
    assert span.status.status_code is StatusCode.UNSET
    assert stream.response.is_closed
    stream.close()
    del stream
    gc.collect()
    assert len(patched.spans) == 1


@shows("left-in-with")
def test_what_was_seen_of_a_stream_that_was_left(client, patched, content):
    with stream_of(client) as stream:
        for chunk in stream:
            if chunk.choices[0].delta.content == " said:":
                break
    said = patched.attributes()
    assert '"content":"You said:"' in said["gen_ai.output.messages"]
    assert said["backspan.stream.outcome"] == "closed"


@shows("never-read")
def test_never_read_and_dropped(client, patched, quiet):
    stream_of(client)
    gc.collect()
    assert patched.attributes()["backspan.stream.outcome"] == "abandoned"
    assert patched.attributes()["backspan.stream.chunks"] == 0


@shows("left-without-close")
def test_half_read_and_dropped(client, patched, quiet):
    for _ in stream_of(client):
        break
    gc.collect()
    span = patched.one()
    assert span.attributes["backspan.stream.outcome"] == "abandoned"
    assert span.attributes["backspan.stream.chunks"] == 1
    assert span.status.status_code is StatusCode.UNSET


def test_twin_a_stream_that_is_held_is_still_open(client, patched):
    stream = stream_of(client)
    gc.collect()
    assert patched.spans == ()
    assert len(_call._open) == 1
    stream.close()
    assert not _call._open


@shows("cut")
def test_connection_lost(client, patched, content):
    with pytest.raises(Exception) as raised:
        list(stream_of(client, "cut-after-3", stream_options=USAGE))
    span = patched.one()
    assert span.attributes["backspan.stream.outcome"] == "disconnected"
    assert span.attributes["backspan.stream.chunks"] == 3
    assert span.attributes["error.type"].endswith(type(raised.value).__name__)
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["gen_ai.response.finish_reasons"] == ("error",)
    assert '"content":"You said:"' in span.attributes["gen_ai.output.messages"]


@shows("error-event")
def test_error_event(client, patched):
    with pytest.raises(openai.APIError):
        list(stream_of(client, "error-after-2"))
    span = patched.one()
    assert span.attributes["backspan.stream.outcome"] == "failed"
    assert span.attributes["error.type"] == "server_error"
    assert span.status.status_code is StatusCode.ERROR


@shows("failed-response")
@needs("responses")
@pytest.mark.parametrize("model, status, reason", [("incomplete", StatusCode.UNSET, "length"),
                                                   ("failed", StatusCode.ERROR, "error")])
def test_a_response_that_did_not_complete(client, patched, model, status, reason):
    list(client.responses.create(model=model, input="one", stream=True))
    span = patched.one()
    assert span.status.status_code is status
    assert span.attributes["backspan.stream.outcome"] == model
    assert span.attributes["gen_ai.response.finish_reasons"] == (reason,)
    assert span.attributes.get("error.type") == ("server_error" if model == "failed" else None)


@shows("refused-stream")
@pytest.mark.parametrize("status, name", [(401, "AuthenticationError"), (429, "RateLimitError")])
def test_refused_stream(client, patched, status, name):
    with patched.provider.get_tracer("web").start_as_current_span("request") as request:
        with pytest.raises(openai.APIStatusError):
            stream_of(client, f"error-{status}")
    call, outer = patched.spans
    assert (outer.name, outer.status.status_code) == ("request", StatusCode.UNSET)
    assert call.parent.span_id == request.get_span_context().span_id
    assert call.status.status_code is StatusCode.ERROR
    assert call.attributes["error.type"] == f"openai.{name}"
    assert call.attributes["backspan.stream.outcome"] == "failed"


def test_null_choices(client, patched):
    assert len(list(stream_of(client, "null-choices"))) == 7
    assert patched.attributes()["backspan.stream.outcome"] == "incomplete"


def test_tool_calls(client, patched, content):
    list(stream_of(client, "tool-call", tools=TOOLS))
    got = patched.attributes()
    assert got["gen_ai.response.finish_reasons"] == ("tool_calls",)
    assert '"arguments":{"city":"Paris"},"id":"call_1"' in got["gen_ai.output.messages"]


@shows("ended-once")
def test_unpatched_while_streams_are_open(client, patched, quiet):
    read, dropped, closed = (stream_of(client) for _ in range(3))
    next(dropped)
    backspan.instrument.uninstrument()
    assert len(list(read)) == 7
    closed.close()
    del dropped
    gc.collect()
    outcomes = [span.attributes["backspan.stream.outcome"] for span in patched.spans]
    assert outcomes == ["complete", "closed", "abandoned"]


def test_a_stream_collected_inside_telemetry_is_ended_at_the_next_call(client, patched):
    """A collection may start while this thread holds a lock of the SDK's; ending a span there could wait for ever."""
    streams = [stream_of(client)]

    class Processor:
        def on_start(self, span, parent_context=None):
            streams.clear()
            gc.collect()

        def on_end(self, span):
            pass

        _on_ending = on_end

        def shutdown(self):
            pass

    patched.provider.add_span_processor(Processor())
    with patched.provider.get_tracer("app").start_as_current_span("other"):
        assert patched.spans == () and len(_call.orphans) == 1
    list(stream_of(client))
    outcomes = [span.attributes.get("backspan.stream.outcome") for span in patched.spans]
    assert sorted(filter(None, outcomes)) == ["abandoned", "complete"]


@needs("helper")
@pytest.mark.parametrize("whole", [True, False])
def test_stream_helper(client, patched, whole):
    from tests.contract.versions import helper

    with helper(client, model="gpt-x", messages=MESSAGES) as events:
        if whole:
            assert events.get_final_completion().choices[0].message.content == "You said: one two three"
        else:
            next(iter(events))
    assert patched.attributes()["backspan.stream.outcome"] == ("complete" if whole else "closed")
