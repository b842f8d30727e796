"""Every resource that runs a model: one span whatever the way of calling, and what the application sees is the same."""

from __future__ import annotations

import asyncio
import warnings

import openai
import pytest
from opentelemetry.trace import SpanKind, StatusCode

from tests.instrument.conftest import async_client
from tests.instrument.openai_calls import ROWS, SECRET
from tests.support.openai_more_bodies import HEARD, PIXELS, SOUND

pytestmark = pytest.mark.filterwarnings("ignore:.*(deprecated|Sora API):DeprecationWarning")
EACH = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
STREAMED = pytest.mark.parametrize("row", [row for row in ROWS if row.streams], ids=lambda row: row.id)


def _span(patched, row):
    span = patched.one()
    assert (span.name, span.kind) == (row.span, SpanKind.CLIENT)
    assert span.attributes["gen_ai.operation.name"] == row.span.split(" ")[0]
    assert span.attributes["gen_ai.provider.name"] == "openai"
    assert span.attributes["server.address"] == "127.0.0.1"
    assert span.attributes.get("gen_ai.request.model") == ("m" if row.model else None)
    return dict(span.attributes)


@EACH
def test_plain(client, patched, row):
    row.on(client)(**row.asked())
    got = _span(patched, row)
    told, said = row.tokens or (None, None)
    assert (got.get("gen_ai.usage.input_tokens"), got.get("gen_ai.usage.output_tokens")) == (told, said)
    assert SECRET not in patched.everything()
    metrics = patched.metrics()
    inference = row.span.startswith(("text_completion", "generate_content"))
    assert ("gen_ai.client.inference.duration" in metrics) == inference
    assert ("gen_ai.client.operation.duration" in metrics) != inference
    ran = row.answers and not row.span.startswith("invoke_agent")  # a run that was created has not said anything yet
    assert ("backspan.answers" in metrics) == ran


@EACH
def test_asynchronous(server, patched, row):
    async def main():
        async with async_client(server) as client:
            await row.on(client)(**row.asked())

    asyncio.run(main())
    got = _span(patched, row)
    assert got.get("gen_ai.usage.input_tokens") == (row.tokens or [None])[0]


@EACH
def test_raw_and_unread_responses(client, patched, row):
    raw = getattr(row.of(client).with_raw_response, row.method)(**row.asked())
    assert raw.parse() is not None
    with getattr(row.of(client).with_streaming_response, row.method)(**row.asked()) as unread:
        assert b"".join(unread.iter_bytes())
    with getattr(row.of(client).with_streaming_response, row.method)(**row.asked()) as read:
        assert read.read()
    raw_span, unread_span, read_span = patched.spans
    assert {span.name for span in patched.spans} == {row.span}
    if row.tokens:
        assert raw_span.attributes["gen_ai.usage.input_tokens"] == row.tokens[0]
        assert read_span.attributes["gen_ai.usage.input_tokens"] == row.tokens[0]
        assert "gen_ai.usage.input_tokens" not in unread_span.attributes  # nobody read it as what it is


@EACH
def test_asynchronous_raw_and_unread_responses(server, patched, row):
    async def main():
        async with async_client(server) as client:
            raw = await getattr(row.of(client).with_raw_response, row.method)(**row.asked())
            assert raw.status_code == 200
            async with getattr(row.of(client).with_streaming_response, row.method)(**row.asked()) as read:
                assert await read.read()

    asyncio.run(main())
    assert [span.name for span in patched.spans] == [row.span] * 2


@EACH
def test_an_error_answer(client, patched, row):
    asked = row.asked()
    with pytest.raises(openai.APIStatusError):
        if "model" in asked or row.model:
            row.on(client)(**{**asked, "model": "error-429"})
        else:
            row.on(client)(**asked, extra_body={"model": "error-429"})
    span = patched.one()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "openai.RateLimitError"
    assert "backspan.answers" not in patched.metrics()


@EACH
def test_content_obeys_the_conventions(client, patched, content, row, schema):
    import json

    import jsonschema

    row.on(client)(**row.asked())
    got = _span(patched, row)
    for key, name in (("gen_ai.input.messages", "gen-ai-input-messages"),
                      ("gen_ai.output.messages", "gen-ai-output-messages"),
                      ("gen_ai.system_instructions", "gen-ai-system-instructions"),
                      ("gen_ai.retrieval.documents", "gen-ai-retrieval-documents")):
        if key in got:
            jsonschema.validate(json.loads(got[key]), schema(name))
    everything = patched.everything()
    assert PIXELS not in everything and str(SOUND) not in everything
    sent = [value for value in row.arguments.values() if isinstance(value, str)]
    assert (SECRET in everything) == any(SECRET in text for text in sent) or "thread" in row.arguments


@STREAMED
def test_streamed(client, patched, row):
    stream = row.on(client)(**row.asked(stream=True))
    events = list(stream)
    assert isinstance(stream, openai.Stream)
    got = _span(patched, row)
    assert got["backspan.stream.outcome"] == "complete"
    assert got["backspan.stream.chunks"] == len(events)
    assert got["gen_ai.request.stream"] is True
    assert got["backspan.stream.time_to_first_content"] >= got["gen_ai.response.time_to_first_chunk"]
    assert SECRET not in patched.everything() and HEARD not in patched.everything()
    assert ("backspan.answers" in patched.metrics()) == row.answers
    if not row.span.startswith("text_completion"):  # which says its usage only when asked for it
        assert got["gen_ai.usage.output_tokens"] == (row.tokens or (5, 3))[1]


@STREAMED
def test_streamed_asynchronously_and_closed_early(server, patched, content, row):
    async def main():
        async with async_client(server) as client:
            stream = await row.on(client)(**row.asked(stream=True))
            async for _ in stream:
                break
            await stream.close()

    asyncio.run(main())
    got = _span(patched, row)
    assert got["backspan.stream.outcome"] == "closed"
    assert got["backspan.stream.chunks"] == 1


@STREAMED
def test_streamed_and_cut(client, patched, row):
    if "model" not in row.arguments:
        stream = row.on(client)(**row.asked(stream=True), extra_body={"model": "cut-after-2"})
    else:
        stream = row.on(client)(**{**row.asked(stream=True), "model": "cut-after-2"})
    with pytest.raises(openai.APIConnectionError):
        list(stream)
    got = patched.attributes()
    assert got["backspan.stream.outcome"] == "disconnected"


@EACH
def test_the_application_sees_what_it_sees_without_us(server, row, seen):
    import backspan.instrument

    def once():
        with openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=0) as client, \
                warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            answer = row.on(client)(**row.asked())
            dumped = answer.model_dump() if hasattr(answer, "model_dump") else answer.read()
            said = [str(one.message) for one in warned if issubclass(one.category, DeprecationWarning)]
        request = server.requests[-1]
        body = request.body if b"boundary" not in request.body else b""
        headers = {name: value for name, value in request.headers if name not in ("content-type", "host")}
        for number in ("id", "created"):
            if isinstance(dumped, dict):
                dumped.pop(number, None)
        return type(answer), dumped, said, request.path, headers, body if "multipart" not in (
            request.header("content-type") or "") else b""

    bare = once()
    backspan.instrument.imported(openai)
    try:
        assert once() == bare
    finally:
        backspan.instrument.uninstrument()
    assert len(seen.spans) == 1


@EACH
def test_a_resource_that_is_missing_from_the_table_is_noticed(client, patched, row, monkeypatch):
    import backspan.instrument.openai as integration

    monkeypatch.setattr(integration, "_api", lambda options: None)
    row.on(client)(**row.asked())
    with pytest.raises(AssertionError):
        _span(patched, row)
