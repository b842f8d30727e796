"""What others do not record: each fact for plain, raw, parsed and streamed calls of chat and responses."""

from __future__ import annotations

import asyncio
import math

import openai
import pydantic
import pytest
from opentelemetry.trace import StatusCode

from backspan import config
from tests.instrument.conftest import MESSAGES
from tests.support import scripted
from tests.support.scripted import Said, Scripted

HEADERS = {"x-request-id": "req_abc", "x-ratelimit-remaining-requests": "59", "x-ratelimit-remaining-tokens": "149984",
           "set-cookie": "xyzzy=1"}
HELLO = scripted.chat(content="Hello you")
HELLO_RESPONSE = scripted.response(scripted.message(scripted.text("Hello you")))


class City(pydantic.BaseModel):
    city: str


def _client(server, **more):
    return openai.OpenAI(base_url=server.base_url, api_key="sk-test", **{"max_retries": 0, **more})


def _chat(client, **more):
    return client.chat.completions.create(model="gpt-x", messages=MESSAGES, **more)


def _ask(client, **more):
    return client.responses.create(model="gpt-x", input="one two", **more)


WAYS = {
    "chat": (lambda client, **more: _chat(client, **more), lambda body: body),
    "chat raw": (lambda client, **more: client.chat.completions.with_raw_response.create(
        model="gpt-x", messages=MESSAGES, **more).parse(), lambda body: body),
    "chat post": (lambda client, **more: client.post(
        "/chat/completions", cast_to=object, body={"model": "gpt-x", "messages": MESSAGES, **more}), lambda body: body),
    "responses": (_ask, lambda body: body),
    "responses raw": (lambda client, **more: client.responses.with_raw_response.create(
        model="gpt-x", input="one two", **more).parse(), lambda body: body),
}
STREAMS = {
    "chat stream": lambda client, **more: list(_chat(client, stream=True, **more)),
    "chat raw stream": lambda client, **more: list(client.chat.completions.with_raw_response.create(
        model="gpt-x", messages=MESSAGES, stream=True, **more).parse()),
    "responses stream": lambda client, **more: list(_ask(client, stream=True, **more)),
}
KINDS = [*WAYS, *STREAMS]


def _run(kind: str, chat: dict, chunks: list, response: dict, patched, headers=HEADERS, **more) -> dict:
    """Make one call of ``kind`` that is answered so; return its span's attributes."""
    body = chunks if kind.startswith("chat") and kind in STREAMS else (
        chat if kind.startswith("chat") else scripted.events(response) if kind in STREAMS else response)
    with Scripted(Said(body, headers=headers)) as server, _client(server) as client:
        (STREAMS[kind] if kind in STREAMS else WAYS[kind][0])(client, **more)
    return patched.attributes()


# --- headers --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", KINDS)
def test_request_id_and_rate_limits(patched, kind):
    got = _run(kind, HELLO, scripted.chunks({"content": "Hello"}), HELLO_RESPONSE, patched)
    assert got["backspan.request.id"] == "req_abc"
    assert got["backspan.ratelimit.remaining.requests"] == 59
    assert got["backspan.ratelimit.remaining.tokens"] == 149984
    assert "xyzzy" not in patched.everything()


def test_twin_without_the_headers_nothing_is_said(patched):
    got = _run("chat", HELLO, [], {}, patched, headers={})
    assert not [key for key in got if "ratelimit" in key or "request.id" in key]


def test_errors_have_them_too(patched):
    refusal = Said({"error": {"message": "no", "code": "rate_limit_exceeded", "type": "t"}}, 429, HEADERS)
    with Scripted(refusal) as server, _client(server) as client, pytest.raises(openai.RateLimitError):
        _chat(client)
    got = patched.attributes()
    assert (got["backspan.request.id"], got["backspan.ratelimit.remaining.tokens"]) == ("req_abc", 149984)
    assert "backspan.retry.count" not in got


# --- retries --------------------------------------------------------------------------------------------------------
def _busy(ms: str = "3") -> Said:
    return Said({"error": {"message": "later"}}, 503, {"retry-after-ms": ms})


@pytest.mark.parametrize("stream", [False, True])
def test_retries_and_back_off(patched, stream):
    answer = Said(scripted.chunks({"content": "x"}) if stream else HELLO, headers=HEADERS)
    with Scripted(_busy(), _busy("5"), answer) as server, _client(server, max_retries=3) as client:
        result = _chat(client, stream=stream)
        if stream:
            list(result)
    got = patched.attributes()
    assert got["backspan.retry.count"] == 2
    assert got["backspan.retry.delay"] == pytest.approx(0.008)
    assert got["backspan.request.id"] == "req_abc"


def test_retries_of_a_call_that_fails_in_the_end(patched):
    with Scripted(_busy(), _busy()) as server, _client(server, max_retries=1) as client:
        with pytest.raises(openai.InternalServerError):
            _chat(client)
    assert patched.attributes()["backspan.retry.count"] == 1


def test_retries_of_asynchronous_calls_are_told_apart(patched):
    async def main():
        with Scripted(_busy(), Said(HELLO)) as one, Scripted(Said(HELLO)) as two:
            made = [openai.AsyncOpenAI(base_url=server.base_url, api_key="k", max_retries=1) for server in (one, two)]
            await asyncio.gather(*(_chat(client) for client in made))
            for client in made:
                await client.close()

    asyncio.run(main())
    assert sorted(span.attributes.get("backspan.retry.count", 0) for span in patched.spans) == [0, 1]


def test_twin_a_call_outside_ours_is_not_ours(patched):
    with Scripted(Said(HELLO)) as server, _client(server) as client:
        client._calculate_retry_timeout(1, openai._models.FinalRequestOptions.construct(method="get", url="/x"))
        _chat(client)
    assert "backspan.retry.count" not in patched.attributes()


# --- answers --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", KINDS)
def test_a_refusal(patched, kind):
    refusing = scripted.response(scripted.message({"type": "refusal", "refusal": "I cannot"}))
    got = _run(kind, scripted.chat(refusal="I cannot"), scripted.chunks({"refusal": "I"}, {"refusal": " cannot"}),
               refusing, patched)
    assert got["backspan.response.refused"] is True
    assert "I cannot" not in patched.everything()


@pytest.mark.parametrize("kind", KINDS)
def test_twin_no_refusal(patched, kind):
    got = _run(kind, HELLO, scripted.chunks({"content": "Hello"}), HELLO_RESPONSE, patched)
    assert not {"backspan.response.refused", "backspan.tool_call.count", "backspan.schema.failed",
                "backspan.confidence.mean", "backspan.response.model.differs", "backspan.usage.estimated",
                "error.type"} & set(got)


def test_a_filter_counts_as_a_refusal(patched):
    assert _run("chat", scripted.chat("content_filter", content=""), [], {}, patched)["backspan.response.refused"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("arguments, invalid", [('{"city": "Paris"}', 0), ('{"city": ', 1), ('"Paris"', 1), ("", 1)])
def test_tool_calls_and_whether_their_arguments_are_json(patched, kind, arguments, invalid):
    deltas = [{"tool_calls": [{"index": 0, **scripted.tool_call("")}]},
              *({"tool_calls": [{"index": 0, "function": {"arguments": part}}]} for part in (arguments[:3],
                                                                                             arguments[3:]))]
    got = _run(kind, scripted.chat("tool_calls", tool_calls=[scripted.tool_call(arguments)]),
               scripted.chunks(*deltas, finish="tool_calls"), scripted.response(scripted.call_item(arguments)), patched,
               tools=[])
    assert (got["backspan.tool_call.count"], got["backspan.tool_call.invalid"]) == (1, invalid)


def test_tools_that_take_free_text_are_never_invalid(patched):
    free = {"id": "c", "type": "custom", "custom": {"name": "shell", "input": "ls"}}
    got = _run("chat post", scripted.chat("tool_calls", tool_calls=[free]), [], {}, patched)
    assert (got["backspan.tool_call.count"], got["backspan.tool_call.invalid"]) == (1, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_confidence(patched, kind):
    said = [{"token": "a", "bytes": None, "logprob": math.log(0.9), "top_logprobs": []},
            {"token": "b", "bytes": None, "logprob": math.log(0.4), "top_logprobs": []}]
    more = {"include": ["message.output_text.logprobs"]} if kind.startswith("responses") else {"logprobs": True}
    half = [{"content": said[:1], "refusal": None}, {"content": said[1:], "refusal": None}]
    chunks = scripted.chunks({"content": "a"}, {"content": "b"})
    for chunk, logprobs in zip(chunks[1:3], half, strict=True):
        chunk["choices"][0]["logprobs"] = logprobs
    got = _run(kind, scripted.chat(content="ab", logprobs={"content": said, "refusal": None}), chunks,
               scripted.response(scripted.message(scripted.text("ab", said))), patched, **more)
    assert got["backspan.confidence.mean"] == pytest.approx(0.6)
    assert got["backspan.confidence.min"] == pytest.approx(0.4)


def test_twin_log_probabilities_that_were_not_asked_for_are_not_looked_at(patched):
    said = {"content": [{"token": "a", "bytes": None, "logprob": -1.0, "top_logprobs": []}], "refusal": None}
    assert "backspan.confidence.mean" not in _run("chat", scripted.chat(content="a", logprobs=said), [], {}, patched)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text, failed", [('{"city": "Paris"}', None), ('{"city": "Par', True), ("Paris", True)])
def test_an_answer_that_is_not_the_json_asked_for(patched, kind, text, failed):
    more = ({"text": {"format": {"type": "json_object"}}} if kind.startswith("responses")
            else {"response_format": {"type": "json_object"}})
    got = _run(kind, scripted.chat(content=text), scripted.chunks({"content": text[:4]}, {"content": text[4:]}),
               scripted.response(scripted.message(scripted.text(text))), patched, **more)
    assert got.get("backspan.schema.failed") is failed


# --- answers that do not parse --------------------------------------------------------------------------------------
def _parse(client):
    parse = getattr(client.chat.completions, "parse", None) or client.beta.chat.completions.parse
    return parse(model="gpt-x", messages=MESSAGES, response_format=City)


@pytest.mark.parametrize("finish, text, raised, reason", [
    ("length", '{"city": "Par', "LengthFinishReasonError", "length"),
    ("content_filter", "", "ContentFilterFinishReasonError", "content_filter"),
    ("stop", "Paris, of course", "ValidationError", "stop"),
])
def test_usage_of_an_answer_that_does_not_parse(patched, finish, text, raised, reason):
    with Scripted(Said(scripted.chat(finish, content=text), headers=HEADERS)) as server, _client(server) as client:
        with pytest.raises(Exception) as caught:
            _parse(client)
    assert type(caught.value).__name__ == raised
    span = patched.one()
    got = dict(span.attributes)
    assert span.status.status_code is StatusCode.ERROR
    assert (got["gen_ai.usage.input_tokens"], got["gen_ai.usage.output_tokens"]) == (11, 7)
    assert got["gen_ai.usage.cache_read.input_tokens"] == 4 and got["gen_ai.usage.reasoning.output_tokens"] == 3
    assert got["gen_ai.response.finish_reasons"] == (reason,)
    assert got.get("backspan.schema.failed") is (None if finish == "content_filter" else True)
    assert got.get("backspan.response.refused") is (True if finish == "content_filter" else None)
    assert got["backspan.request.id"] == "req_abc"
    points = patched.metrics()["gen_ai.client.inference.usage.output_tokens"]
    assert [point.value for point in points] == [7]


def test_usage_of_a_response_that_does_not_parse(patched):
    said = scripted.response(scripted.message(scripted.text("Paris")))
    with Scripted(Said(said)) as server, _client(server) as client, pytest.raises(pydantic.ValidationError):
        client.responses.parse(model="gpt-x", input="x", text_format=City)
    got = patched.attributes()
    assert (got["gen_ai.usage.output_tokens"], got["backspan.schema.failed"]) == (7, True)


@pytest.mark.parametrize("kind", WAYS)
def test_an_error_with_status_200(patched, kind):
    body = {"error": {"message": "xyzzy", "code": "model_overloaded"}}
    got = _run(kind, body, [], body, patched)
    assert got["error.type"] == "model_overloaded"
    assert patched.one().status.status_code is StatusCode.ERROR
    assert "xyzzy" not in patched.everything()
    assert "backspan.answers" not in patched.metrics()


def test_an_error_with_status_200_of_another_resource(patched):
    with Scripted(Said({"error": {"type": "overloaded"}, "data": []})) as server, _client(server) as client:
        client.post("/embeddings", cast_to=object, body={"model": "e", "input": "x"})
    assert patched.attributes()["error.type"] == "overloaded"


# --- models ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_was_not_asked_for(patched, kind):
    got = _run(kind, scripted.chat(model="gpt-y", content="x"), scripted.chunks({"content": "x"}, model="gpt-y"),
               scripted.response(scripted.message(scripted.text("x")), model="gpt-y"), patched)
    assert (got["gen_ai.request.model"], got["gen_ai.response.model"]) == ("gpt-x", "gpt-y")
    assert got["backspan.response.model.differs"] is True


# --- metrics --------------------------------------------------------------------------------------------------------
def test_metrics_of_all(patched, monkeypatch):
    monkeypatch.setenv("BACKSPAN_METRICS", "all")
    config.reload()
    refusal = scripted.chat(refusal="no", model="gpt-y", tool_calls=[scripted.tool_call("{")])
    with Scripted(_busy(), Said(refusal, headers=HEADERS), Said(scripted.chunks({"content": "x"}))) as server:
        with _client(server, max_retries=1) as client:
            _chat(client)
            list(_chat(client, stream=True))
    sums = {name: sum(getattr(point, "value", 0) for point in points) for name, points in patched.metrics().items()}
    assert {name: sums.get(name) for name in (
        "backspan.retries", "backspan.refusals", "backspan.tool_calls", "backspan.tool_calls.invalid",
        "backspan.response.model.differences", "backspan.schema.failures", "backspan.streams",
    )} == {"backspan.retries": 1, "backspan.refusals": 1, "backspan.tool_calls": 1, "backspan.tool_calls.invalid": 1,
           "backspan.response.model.differences": 1, "backspan.schema.failures": 0, "backspan.streams": 1}
    assert sums["gen_ai.client.inference.usage.cache_read.input_tokens"] == 8
    assert sums["gen_ai.client.inference.usage.reasoning.output_tokens"] == 6
    assert sums["backspan.retry.delay"] == pytest.approx(0.003)
    got = patched.metrics()
    assert got["backspan.stream.time_to_first_content"][0].count == 1
    assert {(point.attributes["limit"], point.value) for point in got["backspan.ratelimit.remaining"]} == {
        ("requests", 59), ("tokens", 149984)}
    assert {dict(point.attributes)["backspan.stream.outcome"] for point in got["backspan.streams"]} == {"complete"}
    refusals = dict(got["backspan.refusals"][0].attributes)
    assert refusals == dict(got["backspan.answers"][0].attributes)


def test_twin_by_default_there_are_none_of_them(patched):
    _run("chat", scripted.chat(refusal="no"), [], {}, patched)
    assert not {"backspan.refusals", "backspan.retries", "backspan.ratelimit.remaining"} & set(patched.metrics())
