"""The Responses API and embeddings."""

from __future__ import annotations

import asyncio

import openai
import pydantic
import pytest
from opentelemetry.trace import StatusCode

from backspan import context
from tests.instrument.conftest import async_client
from tests.support.openai_server import OpenAIServer


class Seven(pydantic.BaseModel):
    number: int


def _ask(client, model="gpt-x", **more):
    return client.responses.create(model=model, input="one two", instructions="Be kind.", **more)


def test_plain(client, patched):
    answer = _ask(client, max_output_tokens=9, reasoning={"effort": "low"}, previous_response_id="resp_0",
                  conversation="conv_1", prompt={"id": "pmpt_1", "version": "7"})
    got = patched.attributes()
    expected = {
        "gen_ai.operation.name": "chat", "openai.api.type": "responses", "gen_ai.request.model": "gpt-x",
        "gen_ai.request.max_tokens": 9, "gen_ai.request.reasoning.level": "low", "gen_ai.response.id": answer.id,
        "gen_ai.request.previous_response.id": "resp_0", "gen_ai.conversation.id": "conv_1",
        "gen_ai.prompt.name": "pmpt_1", "gen_ai.prompt.version": "7",
        "backspan.prompt.hash": context.prompt_hash("Be kind."), "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 4, "gen_ai.usage.output_tokens": 4, "gen_ai.usage.cache_read.input_tokens": 1,
        "backspan.input.message.count": 1, "backspan.input.characters": 15,
    }
    assert {key: got.get(key) for key in expected} == expected
    labels = dict(patched.metrics()["backspan.answers"][0].attributes)
    assert (labels["gen_ai.prompt.name"], labels["gen_ai.prompt.version"]) == ("pmpt_1", "7")


def test_parse_and_raw(client, patched):
    assert client.responses.parse(model="m", input="x", text_format=Seven).output_parsed == Seven(number=7)
    assert client.responses.with_raw_response.create(model="m", input="x").parse().output_text == "You said: x"
    assert [span.attributes["gen_ai.usage.input_tokens"] for span in patched.spans] == [1, 1]
    assert patched.spans[0].attributes["gen_ai.output.type"] == "json"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model, status, reason, outcome", [
    ("gpt-x", StatusCode.UNSET, "stop", "complete"), ("incomplete", StatusCode.UNSET, "length", "incomplete"),
    ("failed", StatusCode.ERROR, "error", "failed"),
])
def test_how_it_ended(client, patched, model, status, reason, outcome, stream):
    answer = _ask(client, model, stream=stream)
    if stream:
        list(answer)
    span = patched.one()
    assert span.status.status_code is status
    assert span.attributes["gen_ai.response.finish_reasons"] == (reason,)
    assert span.attributes["gen_ai.usage.input_tokens"] == 4
    assert span.attributes.get("error.type") == ("server_error" if model == "failed" else None)
    assert span.attributes.get("backspan.stream.outcome") == (outcome if stream else None)


def test_events_are_counted_and_the_first_content_is_a_delta(client, patched):
    events = list(_ask(client, stream=True))
    got = patched.attributes()
    assert got["backspan.stream.chunks"] == len(events)
    assert got["gen_ai.response.time_to_first_chunk"] < got["backspan.stream.time_to_first_content"]


def test_helper_and_early_close(client, patched, content):
    with client.responses.stream(model="m", input="one two three") as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                break
    got = patched.attributes()
    assert got["backspan.stream.outcome"] == "closed"
    assert '"content":"You"' in got["gen_ai.output.messages"]


@pytest.mark.parametrize("model, outcome", [("cut-after-3", "disconnected"), ("error-after-3", "failed")])
def test_broken_streams(client, patched, model, outcome):
    with pytest.raises(Exception):  # noqa: B017  which exception differs between the SDK's versions
        list(_ask(client, model, stream=True))
    span = patched.one()
    assert span.attributes["backspan.stream.outcome"] == outcome
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["gen_ai.response.id"].startswith("resp_")


def test_async(server, patched):
    async def main():
        async with async_client(server) as client:
            await _ask(client)
            return [event async for event in await _ask(client, stream=True)]

    assert asyncio.run(main())
    assert [span.attributes["gen_ai.usage.output_tokens"] for span in patched.spans] == [4, 4]


# --- embeddings -----------------------------------------------------------------------------------------------------
def test_embeddings(client, patched):
    answer = client.embeddings.create(model="e", input=["a b", "c"], dimensions=4)
    span, metrics = patched.one(), patched.metrics()
    assert span.name == "embeddings e"
    assert len(answer.data[0].embedding) == 4
    got = dict(span.attributes)
    assert got["gen_ai.embeddings.dimension.count"] == 4
    assert got["gen_ai.usage.input_tokens"] == 3
    assert (got["backspan.input.message.count"], got["backspan.input.characters"]) == (2, 4)
    assert "gen_ai.request.encoding_formats" in got
    ours = [name for name in metrics if not name.startswith(("backspan.feedback", "backspan.plugin"))]
    assert ours == ["gen_ai.client.operation.duration"]


def test_embeddings_of_tokens_and_async(server, patched):
    async def main():
        async with async_client(server) as client:
            await client.embeddings.create(model="e", input="hello", encoding_format="float")

    asyncio.run(main())
    got = patched.attributes()
    assert got["gen_ai.request.encoding_formats"] == ("float",)
    assert got["gen_ai.embeddings.dimension.count"] == 8


# --- who answers ----------------------------------------------------------------------------------------------------
def test_azure_by_class(server, patched):
    with openai.AzureOpenAI(azure_endpoint=server.base_url.removesuffix("/v1"), api_key="k", api_version="1") as client:
        client.chat.completions.create(model="gpt-x", messages=[])
    assert "/deployments/gpt-x/chat/completions" in server.requests[-1].path
    assert patched.attributes()["gen_ai.provider.name"] == "azure.ai.openai"


def test_a_client_whose_address_changes(server, client, patched):
    _ask(client)
    with OpenAIServer() as other:
        client.base_url = other.base_url
        _ask(client)
    ports = [span.attributes["server.port"] for span in patched.spans]
    assert len(set(ports)) == 2
