"""Responses that are created in the background, fetched and cancelled; what the provider found for them."""

from __future__ import annotations

import asyncio
import json

import openai
import pytest
from opentelemetry.trace import SpanKind, StatusCode

from backspan.instrument import _call
from tests.instrument.conftest import async_client

USAGE = "gen_ai.usage.input_tokens"
SEARCH = {"model": "m", "input": "x", "include": ["file_search_call.results"],
          "tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]}


def _begin(client, **more):
    prompt = {"id": "pmpt_1", "version": "7", "variables": {"name": "Ada"}}
    return client.responses.create(model="m", input="x", background=True, prompt=prompt, **more)


def _answers(patched):
    return [(point.value, dict(point.attributes)) for point in patched.metrics().get("backspan.answers", [])]


def test_queued_is_no_answer_and_the_first_complete_fetch_is(client, patched):
    begun = _begin(client)
    assert _answers(patched) == []
    assert client.responses.retrieve(begun.id).status == "in_progress"
    assert _answers(patched) == []
    assert client.responses.retrieve(begun.id).status == "completed"
    client.responses.retrieve(begun.id)
    [(count, labels)] = _answers(patched)
    assert count == 1
    assert labels["gen_ai.request.model"] == "m"
    assert (labels["gen_ai.prompt.name"], labels["gen_ai.prompt.version"]) == ("pmpt_1", "7")


def test_what_the_spans_say(client, patched):
    begun = _begin(client)
    for _ in range(2):
        client.responses.retrieve(begun.id)
    created, early, done = patched.spans
    assert [span.name for span in patched.spans] == ["chat m", "fetch_response", "fetch_response"]
    assert [span.attributes["gen_ai.response.status"] for span in patched.spans] == [
        "queued", "in_progress", "completed"]
    assert {span.attributes["gen_ai.response.id"] for span in patched.spans} == {begun.id}
    assert done.kind is SpanKind.CLIENT
    assert done.attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert created.attributes["gen_ai.prompt.name"] == "pmpt_1"
    assert "gen_ai.response.finish_reasons" not in created.attributes
    for span in (early, done):
        assert not [key for key in span.attributes if key.startswith("gen_ai.usage.")]
        assert "gen_ai.request.model" not in span.attributes


def test_a_failed_response_is_fetched_well(client, patched):
    begun = client.responses.create(model="failed", input="x", background=True)
    for _ in range(2):
        client.responses.retrieve(begun.id)
    last = patched.spans[-1]
    assert last.status.status_code is StatusCode.UNSET
    assert "error.type" not in last.attributes
    assert last.attributes["gen_ai.response.status"] == "failed"
    assert last.attributes["gen_ai.response.finish_reasons"] == ("error",)
    assert _answers(patched) == []


def test_not_found(client, patched):
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve("resp_none")
    got = patched.attributes()
    assert got["gen_ai.response.id"] == "resp_none"
    assert got["error.type"] == "openai.NotFoundError"


def test_cancelled(client, patched):
    begun = _begin(client)
    assert client.responses.cancel(begun.id).status == "cancelled"
    last = patched.spans[-1]
    assert (last.name, last.attributes["gen_ai.response.status"]) == ("fetch_response", "cancelled")
    assert last.status.status_code is StatusCode.UNSET
    assert _answers(patched) == []


def test_streamed_by_id_from_an_event_on(client, patched, content):
    begun = _begin(client)
    with client.responses.stream(response_id=begun.id, starting_after=2) as stream:
        events = list(stream)
    assert events[0].sequence_number == 3
    got = dict(patched.spans[-1].attributes)
    assert got["backspan.stream.outcome"] == "complete"
    assert got["gen_ai.response.status"] == "completed"
    assert USAGE not in got
    assert json.loads(got["gen_ai.output.messages"])[0]["parts"][0]["content"] == "You said: x"
    assert len(_answers(patched)) == 1
    assert next(client.responses.retrieve(begun.id, stream=True, starting_after=4)).sequence_number == 5
    _call.end_all()
    assert patched.spans[-1].attributes["gen_ai.request.stream_cursor"] == "4"


def test_raw_unread_and_asynchronous(server, patched):
    async def main():
        async with async_client(server) as client:
            begun = await _begin(client)
            raw = await client.responses.with_raw_response.retrieve(begun.id)
            assert raw.parse().status == "in_progress"
            async with client.responses.with_streaming_response.retrieve(begun.id) as read:
                assert b"completed" in await read.read()
            stream = await client.responses.retrieve(begun.id, stream=True)
            async for _ in stream:
                pass

    asyncio.run(main())
    assert [span.attributes.get("gen_ai.response.status") for span in patched.spans] == [
        "queued", "in_progress", "completed", "completed"]
    assert _answers(patched)[0][0] == 1


# --- what the provider found ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("stream", [False, True])
def test_file_search_is_a_retrieval_below_the_answer(client, patched, stream):
    answer = client.responses.create(**SEARCH, stream=stream)
    if stream:
        list(answer)
    found, chat = patched.spans
    assert (found.name, found.kind, chat.name) == ("retrieval vs_1", SpanKind.CLIENT, "chat m")
    assert found.parent.span_id == chat.context.span_id
    got = dict(found.attributes)
    expected = {
        "gen_ai.operation.name": "retrieval", "gen_ai.provider.name": "openai", "gen_ai.data_source.id": "vs_1",
        "backspan.index.name": "vs_1", "backspan.retrieval.server_side": True, "backspan.retrieval.document.count": 1,
        "backspan.retrieval.document.ids": ("file-7",), "backspan.retrieval.document.scores": (0.7,),
        "backspan.retrieval.score.max": 0.7, "gen_ai.retrieval.documents": '[{"id":"file-7","score":0.7}]'}
    assert {key: got.get(key) for key in expected} == expected
    assert "secret-7" not in patched.everything() and "what to find" not in patched.everything()


def test_file_search_with_content(client, patched, content, schema):
    import jsonschema

    client.responses.create(**SEARCH)
    got = dict(patched.spans[0].attributes)
    assert got["gen_ai.retrieval.query.text"] == "what to find"
    documents = json.loads(got["gen_ai.retrieval.documents"])
    jsonschema.validate(documents, schema("gen-ai-retrieval-documents"))
    assert documents == [{"id": "file-7", "score": 0.7, "source": "secret-7.md", "content": "found text 7"}]


def test_file_search_of_a_background_response_is_recorded_once(client, patched):
    begun = client.responses.create(**SEARCH, background=True)
    for _ in range(3):
        client.responses.retrieve(begun.id)
    assert [span.name for span in patched.spans].count("retrieval vs_1") == 1


def test_results_that_were_not_asked_for(client, patched):
    client.responses.create(**{**SEARCH, "include": []})
    assert "backspan.retrieval.document.count" not in patched.spans[0].attributes


# --- what the application looked for ----------------------------------------------------------------------------------
def test_search(client, patched):
    import backspan

    with backspan.turn("t"):
        client.vector_stores.search("vs_1", query="where is it", max_num_results=2)
        client.chat.completions.create(model="m", messages=[])
    got = dict(patched.spans[0].attributes)
    expected = {
        "gen_ai.operation.name": "retrieval", "gen_ai.data_source.id": "vs_1", "gen_ai.retrieval.top_k": 2,
        "backspan.index.name": "vs_1", "backspan.retrieval.document.count": 2,
        "backspan.retrieval.document.ids": ("file-0", "file-1"), "backspan.retrieval.document.scores": (0.9, 0.8),
        "backspan.retrieval.score.max": 0.9}
    assert {key: got.get(key) for key in expected} == expected
    assert "backspan.turn.id" in got
    assert "where is it" not in patched.everything() and "secret" not in patched.everything()


def test_search_with_content(client, patched, content):
    client.vector_stores.with_raw_response.search("vs_1", query=["one", "two"])
    got = patched.attributes()
    assert got["gen_ai.retrieval.query.text"] == "one\ntwo"
    assert json.loads(got["gen_ai.retrieval.documents"])[0] == {
        "id": "file-0", "score": 0.9, "source": "secret-0.md", "version": "v2", "content": "found text 0"}
