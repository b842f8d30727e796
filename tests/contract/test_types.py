"""What the application is handed is the client's own: classes, protocols, raw responses, pages, parsed answers."""

from __future__ import annotations

import asyncio
import warnings

import openai
import pytest

from tests.contract.calls import Seven
from tests.contract.conftest import MESSAGES, async_client, stream_of, texts
from tests.contract.scenarios import shows
from tests.contract.versions import needs, parse

USAGE = {"include_usage": True}


@shows("native", "managers", "same-in-with")
def test_a_stream_is_a_native_one(client, patched):
    stream = stream_of(client)
    with stream as same:
        assert same is stream and isinstance(stream, openai.Stream)
        assert (type(stream).__name__, type(stream).__module__) == ("Stream", openai.Stream.__module__)
        assert openai.Stream in type(stream).__mro__
        assert stream.response.headers["x-request-id"] == "req_1"
        assert next(stream).choices[0].delta.role == "assistant"
        assert type(stream_of(client)) is type(stream)
        assert texts(same) == "You said: one two three"
    assert patched.spans[-1].attributes["backspan.stream.chunks"] == 7


@shows("native", "managers", "same-in-with")
def test_an_asynchronous_stream_is_a_native_one(server, patched):
    async def main():
        async with async_client(server) as client:
            stream = await stream_of(client)
            async with stream as same:
                assert same is stream and isinstance(stream, openai.AsyncStream)
                assert openai.AsyncStream in type(stream).__mro__
                assert stream.response.headers["x-request-id"] == "req_1"
                return texts([chunk async for chunk in same])

    assert asyncio.run(main()) == "You said: one two three"
    assert patched.attributes()["backspan.stream.chunks"] == 7


def _chat(client):
    return client.chat.completions.with_raw_response.create(
        model="m", messages=MESSAGES, stream=True, stream_options=USAGE)


def _responses(client):
    return client.responses.with_raw_response.create(model="m", input="one two", stream=True)


RESOURCES = [_chat, pytest.param(_responses, marks=needs("responses"))]


@shows("raw")
@pytest.mark.parametrize("ask", RESOURCES)
def test_raw_streams(client, patched, content, ask):
    raw = ask(client)
    assert raw.headers["x-request-id"] == "req_1"
    stream = raw.parse()
    assert isinstance(stream, openai.Stream) and raw.parse() is stream
    assert len(list(stream)) > 5
    _is_whole(patched.one())


@shows("raw")
@pytest.mark.parametrize("ask", RESOURCES)
def test_asynchronous_raw_streams(server, patched, content, ask):
    async def main():
        async with async_client(server) as client:
            raw = await ask(client)
            assert raw.headers["x-request-id"] == "req_1"
            stream = raw.parse()
            assert isinstance(stream, openai.AsyncStream)
            return [chunk async for chunk in stream]

    assert len(asyncio.run(main())) > 5
    _is_whole(patched.one())


def _is_whole(span):
    assert span.attributes["backspan.stream.outcome"] == "complete"
    assert span.attributes["gen_ai.usage.input_tokens"] in (5, 2)
    assert "You said: one two" in span.attributes["gen_ai.output.messages"]


@pytest.mark.parametrize("how, outcome", [("parse", "complete"), ("lines", "complete"), ("some", "closed"),
                                          ("nothing", "closed")])
def test_streaming_response(client, patched, how, outcome):
    with client.chat.completions.with_streaming_response.create(
        model="gpt-x", messages=MESSAGES, stream=True
    ) as response:
        if how == "parse":
            assert len(list(response.parse())) == 7
        elif how == "lines":
            assert [line for line in response.iter_lines() if line][-1] == "data: [DONE]"
        elif how == "some":
            next(response.iter_lines())
    assert patched.attributes()["backspan.stream.outcome"] == outcome


@shows("same-lines")
def test_the_lines_of_a_streaming_response_are_those_of_the_provider(client, patched):
    with client.chat.completions.with_streaming_response.create(
        model="gpt-x", messages=MESSAGES, stream=True
    ) as response:
        lines = [line for line in response.iter_lines() if line]
    assert len(lines) == 8 and "usage" not in "".join(lines[:-1]).replace('"usage": null', "")


@shows("pages")
def test_pages_of_other_resources(server, client, patched):
    async def main():
        async with async_client(server) as aclient:
            return [model.id async for model in aclient.models.list()], (await aclient.models.list()).data[0].id

    assert asyncio.run(main()) == (["gpt-test"], "gpt-test")
    assert [model.id for model in client.models.list()] == ["gpt-test"]
    assert patched.spans == ()


@shows("parsed")
@needs("parse")
def test_parsed_answers(client, patched, content):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        answer = parse(client, model="m", messages=MESSAGES, response_format=Seven)
        assert answer.choices[0].message.parsed == Seven(number=7)
        if hasattr(client, "responses"):
            assert client.responses.parse(model="m", input="x", text_format=Seven).output_parsed == Seven(number=7)
    assert {span.attributes["gen_ai.output.type"] for span in patched.spans} == {"json"}
