"""`backspan.testing`: two runs of a test see the same, and nothing stays behind."""

from __future__ import annotations

import os
import time

import openai
import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import backspan
from backspan import _boot
from backspan.testing import Captured, Clock, CountingIds, capture
from tests.support.openai_server import OpenAIServer


@pytest.fixture(scope="module")
def client():
    with OpenAIServer() as server, openai.OpenAI(base_url=server.base_url, api_key="test") as one:
        yield one


def _ask_and_rate(client: openai.OpenAI) -> None:
    done = client.chat.completions.create(model="gpt-test", messages=[{"role": "user", "content": "Hello"}])
    backspan.record_feedback(done.id, thumbs="down", reasons=["wrong"], rater="anna")


def _times(seen: Captured) -> list[tuple]:
    spans = seen.spans
    return [(one.name, one.context.trace_id, one.context.span_id, one.start_time, one.end_time) for one in spans]


def test_two_runs_see_the_same(client):
    with capture() as first:
        _ask_and_rate(client)
    with capture() as second:
        _ask_and_rate(client)
    assert _times(first) == _times(second)
    call, vote = first.spans
    assert (call.name, call.context.trace_id, call.context.span_id) == ("chat gpt-test", 1, 1)
    assert vote.links[0].context.span_id == call.context.span_id
    assert vote.start_time > call.end_time


def test_metrics_and_events(client):
    with capture() as seen:
        _ask_and_rate(client)
    assert seen.value("backspan.answers") == 1
    assert seen.value("backspan.feedback", polarity="negative", gen_ai__request__model="gpt-test") == 1
    assert seen.value("backspan.feedback", polarity="positive") == 0
    assert "gen_ai.evaluation.result" in {log.event_name for log in seen.logs}


def test_content_is_off_unless_asked_for(client):
    with capture() as without:
        _ask_and_rate(client)
    with capture(content=True) as with_content:
        _ask_and_rate(client)
    assert "gen_ai.input.messages" not in without.spans[0].attributes
    assert "Hello" in with_content.spans[0].attributes["gen_ai.input.messages"]


def test_a_sampler_of_ones_own(client):
    with capture(sampler=ALWAYS_OFF) as seen:
        _ask_and_rate(client)
    assert [span.name for span in seen.spans] == ["evaluation user_thumbs"]


def test_nothing_stays_behind(client):
    before = (dict(os.environ), _boot.is_running(), time.time, openai._base_client.SyncAPIClient.request)
    with pytest.raises(ZeroDivisionError), capture() as seen:
        assert _boot.is_running() and os.environ["BACKSPAN"] == "1"
        raise ZeroDivisionError
    assert (dict(os.environ), _boot.is_running(), time.time, openai._base_client.SyncAPIClient.request) == before
    client.embeddings.create(model="embed-test", input="after")
    assert seen.spans == []


def test_clock():
    clock = Clock(start=100.0, tick=1.0)
    assert (clock.time(), clock.time_ns()) == (101.0, 102_000_000_000)
    clock.advance(60)
    assert clock.time() == 163.0


def test_ids():
    ids = CountingIds()
    assert [ids.generate_trace_id(), ids.generate_trace_id(), ids.generate_span_id()] == [1, 2, 1]
