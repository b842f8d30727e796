"""Agent sessions: one span where the agent's events are streamed, and one for a session that is begun with work."""

from __future__ import annotations

import asyncio
import contextlib
import json

import openai
import pytest

from backspan.instrument import _openai_common as common
from tests.instrument.conftest import async_client

WORK = {"environment": {"type": "none"}, "agent": {"model": "gpt-a", "instructions": "Be kind to marker-of-mine."}}
ASK = [{"role": "user", "content": [{"type": "input_text", "text": "what is marker-of-mine"}]}]


@pytest.fixture
def sessions(client):
    found = getattr(client.beta, "agents", None)
    if found is None:
        pytest.skip("the installed SDK has no beta.agents")
    return found.sessions


def test_a_streamed_session(sessions, patched, content):
    kinds = [event.type for event in sessions.create(**WORK, input=ASK, stream=True)]
    span = patched.one()
    assert span.name == "invoke_agent" and len(kinds) == 6
    expected = {
        "gen_ai.operation.name": "invoke_agent", "openai.api.type": "agents", "gen_ai.request.model": "gpt-a",
        "gen_ai.response.model": "gpt-a-served", "gen_ai.agent.id": "agent_1", "gen_ai.response.status": "completed",
        "gen_ai.usage.input_tokens": 5, "gen_ai.usage.output_tokens": 3,
        "gen_ai.usage.cache_read.input_tokens": 2, "gen_ai.usage.reasoning.output_tokens": 1,
        "gen_ai.response.finish_reasons": ("stop",), "backspan.stream.outcome": "complete",
        "backspan.stream.chunks": 6, "backspan.input.message.count": 1,
    }
    assert {key: span.attributes.get(key) for key in expected} == expected
    assert span.attributes["gen_ai.conversation.id"].startswith("sess_") and span.attributes["backspan.prompt.hash"]
    said = json.loads(span.attributes["gen_ai.output.messages"])[0]
    assert said["parts"] == [{"type": "text", "content": "the answer"}]
    assert "what is" in span.attributes["gen_ai.input.messages"]
    assert sum(point.value for point in patched.metrics()["backspan.answers"]) == 1


def test_a_session_that_is_only_begun_is_no_answer(sessions, patched):
    assert sessions.create(**WORK, input="what is it").id
    got = patched.attributes()
    assert (got["gen_ai.response.status"], got["backspan.input.message.count"]) == ("in_progress", 1)
    assert "backspan.answers" not in patched.metrics()


def test_a_session_with_nothing_to_do_makes_no_span(sessions, patched):
    sessions.create(**WORK)
    assert patched.spans == ()


def test_the_events_of_a_session_add_up_over_its_turns(sessions, patched):
    seen = list(sessions.events.stream("sess_9"))
    got = patched.attributes()
    assert len(seen) == 10
    assert [got[f"gen_ai.usage.{name}"] for name in (
        "input_tokens", "output_tokens", "cache_read.input_tokens", "reasoning.output_tokens")] == [10, 6, 4, 2]
    assert (got["gen_ai.conversation.id"], got["backspan.stream.outcome"]) == ("sess_7", "complete")


def test_a_turn_of_a_session_that_is_there(sessions, patched):
    """The look-alike's turns are not those that the SDK's helper waits for; its requests are the same."""
    with contextlib.suppress(RuntimeError), sessions.stream("sess_9", input="more") as stream:
        list(stream)
    assert patched.one().name == "invoke_agent"  # the events; sending the input is no call of its own


@pytest.mark.parametrize("after, outcome", [(4, "closed"), (5, "complete"), (6, "closed"), (7, "closed")])
def test_whoever_stops_between_turns_has_seen_them_whole(sessions, patched, after, outcome):
    """Chunks: the session, a turn, two words, its end; a turn, …"""
    stream = sessions.events.stream("sess_9")
    for _, _event in zip(range(after), stream, strict=False):
        pass
    stream.close()
    assert patched.attributes()["backspan.stream.outcome"] == outcome


def test_a_turn_that_failed(sessions, patched):
    list(sessions.create(**{**WORK, "agent": {"model": "failed"}}, input="x", stream=True))
    got = patched.attributes()
    assert (got["error.type"], got["backspan.stream.outcome"]) == ("usage_limit_exceeded", "failed")


def test_an_error_of_the_request(sessions, patched):
    with pytest.raises(openai.APIStatusError):
        sessions.create(**WORK, input="x", extra_body={"model": "error-429"})
    assert patched.attributes()["error.type"]


def test_content_is_off_by_default(sessions, patched):
    list(sessions.create(**WORK, input=ASK, stream=True))
    assert "marker-of-mine" not in patched.everything() and "the answer" not in patched.everything()


def test_text_is_kept_as_far_as_there_is_room(sessions, patched, content, monkeypatch):
    monkeypatch.setattr(common, "MOST_CHARACTERS", 5)
    list(sessions.create(**WORK, input="x", stream=True))
    said = json.loads(patched.attributes()["gen_ai.output.messages"])[0]
    assert said["parts"] == [{"type": "text", "content": "the a"}]


def test_asynchronously(server, patched):
    async def main():
        async with async_client(server) as client:
            if not hasattr(client.beta, "agents"):
                pytest.skip("the installed SDK has no beta.agents")
            stream = await client.beta.agents.sessions.create(**WORK, input="x", stream=True)
            return [event.type async for event in stream]

    assert len(asyncio.run(main())) == 6
    assert patched.attributes()["gen_ai.usage.output_tokens"] == 3
