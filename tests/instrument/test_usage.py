"""Tokens that the provider did not tell: estimated for cut streams, asked for at hosts that a setting lists."""

from __future__ import annotations

import asyncio
import gc

import openai
import pytest

from backspan import config
from tests.instrument.conftest import MESSAGES
from tests.support import scripted
from tests.support.scripted import Said, Scripted

ASK = {"include_usage": True}


def _client(server, kind=openai.OpenAI):
    return kind(base_url=server.base_url, api_key="k", max_retries=0)


def _stream(client, **more):
    return client.chat.completions.create(model="gpt-x", messages=MESSAGES, stream=True, **more)


# --- estimated ------------------------------------------------------------------------------------------------------
CHUNKS = scripted.chunks({"reasoning_content": "hm, "}, {"content": "Zwölf Köpfe"}, {"content": " und"},
                         {"tool_calls": [{"index": 0, **scripted.tool_call('{"a"')}]}, usage=False)
SAID = -(-len('hm, Zwölf Köpfe und{"a"'.encode()) // 4)
TOLD = -(-21 // 4) + 4 * 2  # 21 characters in two messages


def _cut(client, how):
    stream = _stream(client)
    if how == "closed":
        for _ in range(5):
            next(stream)
        stream.close()
    elif how == "abandoned":
        for _ in range(5):
            next(stream)
        del stream
        gc.collect()
    else:
        with pytest.raises(Exception):  # noqa: B017  httpx's own before openai 3
            list(stream)


@pytest.mark.parametrize("how", ["closed", "abandoned", "disconnected"])
def test_a_cut_stream_is_estimated(patched, how):
    with Scripted(Said(CHUNKS[:-1], cut=True)) as server, _client(server) as client:
        _cut(client, how)
    got = patched.attributes()
    assert got["backspan.stream.outcome"] == how
    assert got["backspan.usage.estimated"] is True
    assert (got["gen_ai.usage.input_tokens"], got["gen_ai.usage.output_tokens"]) == (TOLD, SAID)
    point, = patched.metrics()["gen_ai.client.inference.usage.output_tokens"]
    assert point.value == SAID
    assert point.attributes["backspan.usage.estimated"] is True


def test_a_cancelled_stream_is_estimated(patched):
    async def main():
        with Scripted(Said(CHUNKS[:-1], cut=True)) as server:
            async with _client(server, openai.AsyncOpenAI) as client:
                seen = asyncio.Event()

                async def read():
                    async for _ in await _stream(client):
                        seen.set()
                        await asyncio.sleep(60)

                task = asyncio.create_task(read())
                await seen.wait()
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            gc.collect()

    asyncio.run(main())
    got = patched.attributes()
    assert got["backspan.usage.estimated"] is True
    assert got["gen_ai.usage.input_tokens"] == TOLD


@pytest.mark.parametrize("events", [3, 2])
def test_a_cut_response_is_estimated(patched, events):
    done = scripted.response(scripted.message(scripted.text("one two three")))
    with Scripted(Said(scripted.events(done)[:events], cut=True)) as server, _client(server) as client:
        stream = client.responses.create(model="gpt-x", input="12345", stream=True)
        for _ in range(events):
            next(stream)
        stream.close()
    got = patched.attributes()
    assert (got["backspan.usage.estimated"], got["gen_ai.usage.input_tokens"]) == (True, 6)
    assert got["gen_ai.usage.output_tokens"] == {3: 2, 2: 1}[events]  # "one two ", "one "


@pytest.mark.parametrize("usage", [True, False])
def test_twin_what_the_provider_says_is_never_replaced(patched, usage):
    with Scripted(Said(scripted.chunks({"content": "a b c"}, usage=usage))) as server, _client(server) as client:
        list(_stream(client))
    got = patched.attributes()
    assert "backspan.usage.estimated" not in got
    assert got.get("gen_ai.usage.output_tokens") == (7 if usage else None)


def test_twin_nothing_came_nothing_is_estimated(patched):
    with Scripted(Said([], cut=True)) as server, _client(server) as client, pytest.raises(Exception):  # noqa: B017
        list(_stream(client))
    assert "gen_ai.usage.input_tokens" not in patched.attributes()


# --- asked for ------------------------------------------------------------------------------------------------------
@pytest.fixture
def listed(monkeypatch):
    monkeypatch.setenv("BACKSPAN_STREAM_USAGE_HOSTS", "other.example,127.0.*")
    config.reload()


def _answered():
    return Said(scripted.chunks({"content": "Hello"}))


def test_usage_is_asked_for_and_its_chunk_hidden(patched, listed):
    messages, mine = list(MESSAGES), {"model": "gpt-x", "user": "u"}
    with Scripted(_answered()) as server, _client(server) as client:
        got = list(client.chat.completions.create(**mine, messages=messages, stream=True))
    assert server.bodies[0]["stream_options"] == ASK
    assert [len(chunk.choices) for chunk in got] == [1, 1, 1]
    assert mine == {"model": "gpt-x", "user": "u"} and messages == MESSAGES
    said = patched.attributes()
    assert (said["gen_ai.usage.output_tokens"], said["backspan.stream.outcome"]) == (7, "complete")
    assert said["backspan.stream.chunks"] == 4


def test_asynchronously(patched, listed):
    async def main():
        with Scripted(_answered()) as server:
            async with _client(server, openai.AsyncOpenAI) as client:
                return [chunk async for chunk in await _stream(client)], server.bodies

    got, bodies = asyncio.run(main())
    assert len(got) == 3 and bodies[0]["stream_options"] == ASK
    assert patched.attributes()["gen_ai.usage.output_tokens"] == 7


@pytest.mark.parametrize("dropped", [False, True])
def test_such_a_stream_that_is_left_early_ends_once(patched, listed, dropped, quiet):
    with Scripted(_answered()) as server, _client(server) as client:
        stream = _stream(client)
        assert isinstance(stream, openai.Stream) and type(stream).__name__ == "Stream"
        next(stream)
        if not dropped:
            stream.close()
        del stream
        gc.collect()
    got = patched.attributes()
    assert got["backspan.stream.outcome"] == ("abandoned" if dropped else "closed")
    assert got["backspan.usage.estimated"] is True


def _raw(client):
    with client.chat.completions.with_streaming_response.create(model="m", messages=MESSAGES, stream=True) as response:
        list(response.iter_lines())


@pytest.mark.parametrize("name, call", {
    "said no": lambda client: list(_stream(client, stream_options={"include_usage": False})),
    "raw": lambda client: list(client.chat.completions.with_raw_response.create(
        model="m", messages=MESSAGES, stream=True).parse()),
    "lines": _raw,
    "plain": lambda client: client.chat.completions.create(model="m", messages=MESSAGES),
    "responses": lambda client: list(client.responses.create(model="m", input="x", stream=True)),
}.items())
def test_twin_these_are_never_changed(patched, listed, name, call):
    body = {"plain": scripted.chat(content="x"),
            "responses": scripted.events(scripted.response(scripted.message(scripted.text("x"))))}
    with Scripted(Said(body.get(name, scripted.chunks({"content": "Hello"})))) as server, _client(server) as client:
        call(client)
    assert server.bodies[0].get("stream_options") == ({"include_usage": False} if name == "said no" else None)


def test_twin_what_the_application_asked_for_it_gets(patched, listed):
    with Scripted(_answered()) as server, _client(server) as client:
        got = list(_stream(client, stream_options=ASK))
    assert got[-1].usage.completion_tokens == 7


def test_twin_at_another_host_nothing_is_asked(patched, monkeypatch):
    monkeypatch.setenv("BACKSPAN_STREAM_USAGE_HOSTS", "api.openai.com")
    config.reload()
    with Scripted(_answered()) as server, _client(server) as client:
        assert len(list(_stream(client))) == 4
    assert "stream_options" not in server.bodies[0]


def test_other_stream_options_stay(patched, listed):
    with Scripted(_answered()) as server, _client(server) as client:
        list(_stream(client, stream_options={"include_obfuscation": False}))
    assert server.bodies[0]["stream_options"] == {"include_obfuscation": False, "include_usage": True}
