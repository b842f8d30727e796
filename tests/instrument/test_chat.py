"""Chat completions: span, attributes and metrics, whatever the way in."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pydantic
import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from backspan import context
from backspan.instrument import _outcome
from tests.instrument.conftest import MESSAGES, async_client

TOOLS: Any = [{"type": "function", "function": {"name": "weather", "description": "d", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}}}}]


class Seven(pydantic.BaseModel):
    number: int


def test_plain_call_gives_one_span(client, patched):
    answer = client.chat.completions.create(
        model="gpt-x", messages=MESSAGES, temperature=0.5, top_p=0.9, seed=3, max_tokens=9, stop="x", n=2)
    span = patched.one()
    got = dict(span.attributes)
    assert (span.name, span.kind, span.status.status_code) == ("chat gpt-x", SpanKind.CLIENT, StatusCode.UNSET)
    assert got["backspan.prompt.hash"] == got["gen_ai.prompt.version"] == context.prompt_hash("Be kind.")
    expected = {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "openai.api.type": "chat_completions",
        "gen_ai.request.model": "gpt-x", "gen_ai.request.temperature": 0.5, "gen_ai.request.top_p": 0.9,
        "gen_ai.request.seed": 3, "gen_ai.request.max_tokens": 9, "gen_ai.request.stop_sequences": ("x",),
        "gen_ai.request.choice.count": 2, "gen_ai.response.id": answer.id, "gen_ai.response.model": answer.model,
        "gen_ai.response.finish_reasons": ("stop", "stop"), "gen_ai.usage.input_tokens": 5,
        "gen_ai.usage.output_tokens": answer.usage.completion_tokens, "gen_ai.usage.cache_read.input_tokens": 1,
        "server.address": "127.0.0.1", "openai.response.system_fingerprint": "fp_1",
        "backspan.input.message.count": 2, "backspan.input.characters": 21,
    }
    assert {key: got.get(key) for key in expected} == expected
    assert got["server.port"] == client.base_url.port


def test_twin_without_the_patch_there_is_no_span(server, seen):
    with openai.OpenAI(base_url=server.base_url, api_key="k") as client:
        client.chat.completions.create(model="gpt-x", messages=MESSAGES)
    assert seen.spans == ()


def test_metrics_of_one_call(client, patched):
    answer = client.chat.completions.create(model="gpt-x", messages=MESSAGES)
    got = patched.metrics()
    assert {name for name in got if not name.startswith(("backspan.feedback", "backspan.plugin"))} == {
        "gen_ai.client.inference.duration", "gen_ai.client.inference.usage.input_tokens",
        "gen_ai.client.inference.usage.output_tokens", "backspan.answers"}
    assert got["gen_ai.client.inference.duration"][0].count == 1
    assert got["gen_ai.client.inference.usage.input_tokens"][0].value == 5
    assert got["gen_ai.client.inference.usage.output_tokens"][0].value == answer.usage.completion_tokens
    assert got["backspan.answers"][0].value == 1
    labels = dict(got["backspan.answers"][0].attributes)
    assert labels["gen_ai.request.model"] == "gpt-x"
    assert labels["gen_ai.prompt.version"] == context.prompt_hash("Be kind.")


def test_older_metric_names_beside_the_new_ones(client, patched, monkeypatch):
    monkeypatch.setenv("BACKSPAN_SEMCONV", "both")
    from backspan import config

    config.reload()
    client.chat.completions.create(model="gpt-x", messages=MESSAGES)
    got = patched.metrics()
    assert got["gen_ai.client.operation.duration"][0].count == 1
    kinds = {dict(point.attributes)["gen_ai.token.type"] for point in got["gen_ai.client.token.usage"]}
    assert kinds == {"input", "output"}


def test_the_answer_can_be_found_by_its_id(client, patched):
    answer = client.chat.completions.create(model="gpt-x", messages=MESSAGES)
    target, span = context.lookup(answer.id), patched.one()
    assert target is not None
    assert (target.trace_id, target.span_id) == (f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}")
    assert target.dims["gen_ai.request.model"] == "gpt-x"


def _plain(client):
    return client.chat.completions.create(model="gpt-x", messages=MESSAGES)


WAYS = {
    "create": _plain,
    "clone": lambda client: _plain(client.with_options(timeout=9)),
    "raw": lambda client: client.chat.completions.with_raw_response.create(model="gpt-x", messages=MESSAGES).parse(),
    "parse": lambda client: client.chat.completions.parse(model="gpt-x", messages=MESSAGES, response_format=Seven),
    "post": lambda client: client.post("/chat/completions", cast_to=object, body={"model": "gpt-x",
                                                                                  "messages": MESSAGES}),
    "extra_body": lambda client: client.chat.completions.create(model="other", messages=MESSAGES,
                                                                extra_body={"model": "gpt-x"}),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_in_gives_the_same_span(client, patched, way):
    WAYS[way](client)
    span = patched.one()
    assert span.name == "chat gpt-x"
    assert span.attributes["gen_ai.usage.input_tokens"] == 5
    assert span.attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert span.attributes["gen_ai.response.id"].startswith("chatcmpl-")


@pytest.mark.parametrize("how", ["read", "parse", "json", "bytes", "nothing"])
def test_streaming_response_that_is_not_a_stream(client, patched, how):
    with client.chat.completions.with_streaming_response.create(model="gpt-x", messages=MESSAGES) as response:
        assert response.headers["x-request-id"] == "req_1"
        if how == "bytes":
            assert b"".join(response.iter_bytes())
        elif how != "nothing":
            assert getattr(response, how)()
    got = patched.attributes()
    assert ("gen_ai.usage.input_tokens" in got) is (how in ("read", "parse", "json"))
    assert "backspan.stream.outcome" not in got


def test_parsed_answer_is_intact_and_silent(client, patched):
    answer = client.chat.completions.parse(model="gpt-x", messages=MESSAGES, response_format=Seven)
    assert answer.choices[0].message.parsed == Seven(number=7)
    assert patched.attributes()["gen_ai.output.type"] == "json"


@pytest.mark.parametrize("model, reason", [("length", "length"), ("content-filter", "content_filter")])
def test_tokens_of_an_answer_that_cannot_be_parsed(client, patched, model, reason):
    with pytest.raises(openai.OpenAIError) as raised:
        client.chat.completions.parse(model=model, messages=MESSAGES, response_format=Seven)
    span = patched.one()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"].endswith(type(raised.value).__name__)
    assert span.attributes["gen_ai.response.finish_reasons"] == (reason,)
    # What the exception still holds depends on the SDK's version: a cut answer always, a filtered one in newer ones.
    assert ("gen_ai.usage.input_tokens" in span.attributes) is hasattr(raised.value, "completion")
    assert hasattr(raised.value, "completion") or model == "content-filter"


def test_async_call(server, patched):
    async def main():
        async with async_client(server) as client:
            answer = await asyncio.wait_for(client.chat.completions.create(model="gpt-x", messages=MESSAGES), 30)
            raw = await client.chat.completions.with_raw_response.create(model="gpt-x", messages=MESSAGES)
            async with client.chat.completions.with_streaming_response.create(
                model="gpt-x", messages=MESSAGES
            ) as response:
                parsed = await response.parse()
            return answer.id, raw.parse().id, parsed.id

    ids = asyncio.run(main())
    assert [span.attributes["gen_ai.response.id"] for span in patched.spans] == list(ids)
    assert {span.attributes["gen_ai.usage.input_tokens"] for span in patched.spans} == {5}


def test_retries_are_inside_one_span(server, patched):
    with openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=3) as client:
        client.chat.completions.create(model="flaky-500-2", messages=MESSAGES)
    assert patched.one().status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("status, name", [(401, "AuthenticationError"), (429, "RateLimitError"),
                                          (500, "InternalServerError")])
def test_refusals(client, patched, status, name):
    with pytest.raises(openai.APIStatusError):
        client.chat.completions.create(model=f"error-{status}", messages=MESSAGES)
    span = patched.one()
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description is None
    assert span.attributes["error.type"] == f"openai.{name}"
    assert span.events == ()
    metrics = patched.metrics()
    assert "backspan.answers" not in metrics
    assert dict(metrics["gen_ai.client.inference.duration"][0].attributes)["error.type"] == f"openai.{name}"
    tokens = metrics["gen_ai.client.inference.usage.input_tokens"][0]
    assert (tokens.value, dict(tokens.attributes)["gen_ai.token.modality"]) == (0, "unknown")


def test_nobody_listening(patched):
    with openai.OpenAI(base_url="http://127.0.0.1:9/v1", api_key="k", max_retries=0) as client:
        with pytest.raises(openai.APIConnectionError):
            client.chat.completions.create(model="gpt-x", messages=MESSAGES)
    assert patched.attributes()["error.type"] == "openai.APIConnectionError"


@pytest.mark.parametrize("model", ["null-choices", "no-usage", "garbage"])
def test_odd_answers_are_returned_as_they_are(server, patched, model):
    def ask():
        with openai.OpenAI(base_url=server.base_url, api_key="k") as client:
            try:
                answer = client.chat.completions.create(model=model, messages=MESSAGES)
            except ValueError as error:  # not JSON
                return repr(error)
            return answer.model_dump(exclude={"id"})

    with_us = ask()
    from backspan.instrument import uninstrument

    uninstrument()
    without = ask()
    assert with_us == without
    assert patched.one().name == f"chat {model}"


def test_cancelled_before_the_answer(server, patched):
    async def main():
        before = len(server.requests)
        async with async_client(server) as client:
            task = asyncio.create_task(client.chat.completions.create(model="hang", messages=MESSAGES))
            while len(server.requests) == before:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    span = patched.one()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"].endswith("CancelledError")


def test_tool_calls_are_answers(client, patched):
    client.chat.completions.create(model="tool-call", messages=MESSAGES, tools=TOOLS)
    assert patched.attributes()["gen_ai.response.finish_reasons"] == ("tool_calls",)


def test_messages_from_a_generator_reach_the_server(server, client, patched):
    client.chat.completions.create(model="gpt-x", messages=(message for message in MESSAGES))
    assert server.requests[-1].json["messages"] == MESSAGES
    assert patched.attributes()["backspan.input.message.count"] == 2


def test_what_is_not_given_is_not_recorded(client, patched, quiet):
    absent = getattr(openai, "omit", openai.NOT_GIVEN)
    client.chat.completions.create(
        model="gpt-x", messages=MESSAGES, temperature=absent, tools=absent, stop=absent, seed=openai.NOT_GIVEN)
    assert not {key for key in patched.attributes() if key.startswith("gen_ai.request.")} - {"gen_ai.request.model"}


def test_other_paths_are_none_of_our_business(client, patched):
    assert [model.id for model in client.models.list()] == ["gpt-test"]
    assert patched.spans == ()


def test_scope_is_on_the_span_and_in_the_labels(client, patched):
    with context.session("c-1", user="u", segment="pro"), context.prompt("greet", version=4), context.variant("f", "b"):
        client.chat.completions.create(model="gpt-x", messages=MESSAGES)
    got = patched.attributes()
    assert got["gen_ai.conversation.id"] == "c-1"
    assert (got["gen_ai.prompt.name"], got["gen_ai.prompt.version"]) == ("greet", "4")
    assert got["feature_flag.result.variant"] == "b"
    assert got["enduser.pseudo.id"] != "u"
    labels = dict(patched.metrics()["backspan.answers"][0].attributes)
    assert labels == {
        "gen_ai.request.model": "gpt-x", "gen_ai.prompt.name": "greet", "gen_ai.prompt.version": "4",
        "feature_flag.result.variant": "b", "backspan.segment": "pro", "backspan.index.version": ""}
    duration = dict(patched.metrics()["gen_ai.client.inference.duration"][0].attributes)
    assert (duration["gen_ai.prompt.version"], "backspan.segment" in duration) == ("4", False)


def test_versions_by_hash_are_capped(client, patched, monkeypatch):
    monkeypatch.setattr(_outcome, "_MOST_VERSIONS", 2)
    for text in ("a", "b", "c", "a"):
        client.chat.completions.create(model="gpt-x", messages=[{"role": "system", "content": text}])
    versions = [span.attributes["gen_ai.prompt.version"] for span in patched.spans]
    assert versions == [context.prompt_hash("a"), context.prompt_hash("b"), "other", context.prompt_hash("a")]
    assert len({span.attributes["backspan.prompt.hash"] for span in patched.spans}) == 3


def test_the_span_is_current_during_the_call_only(client, patched):
    during = []
    client._client.event_hooks["request"].append(lambda request: during.append(trace.get_current_span()))
    with trace.use_span(trace.NonRecordingSpan(trace.INVALID_SPAN_CONTEXT)) as outer:
        client.chat.completions.create(model="gpt-x", messages=MESSAGES)
        stream = client.chat.completions.create(model="gpt-x", messages=MESSAGES, stream=True)
        assert trace.get_current_span() is outer
        list(stream)
    assert [span.get_span_context() for span in during] == [span.context for span in patched.spans]


def test_the_span_is_a_child_of_the_callers(client, patched):
    with patched.provider.get_tracer("app").start_as_current_span("request") as outer:
        client.chat.completions.create(model="gpt-x", messages=MESSAGES)
    assert patched.spans[0].parent.span_id == outer.get_span_context().span_id
