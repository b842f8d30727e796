"""The application sees with us what it sees without us, even when we break."""

from __future__ import annotations

import asyncio
import pickle
import warnings
from typing import Any

import openai
import pytest
import wrapt
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from opentelemetry.instrumentation.utils import suppress_instrumentation

import backspan.instrument
from backspan import _guard
from backspan.instrument import _call, _openai_chat_stream, _stream
from backspan.instrument import openai as integration
from tests.instrument.conftest import MESSAGES, async_client
from tests.instrument.test_chat import TOOLS, Seven
from tests.instrument.test_content import EVERYTHING, ITEMS

OMIT = getattr(openai, "omit", openai.NOT_GIVEN)


def _raw_stream(c):
    with c.chat.completions.with_streaming_response.create(model="m", messages=MESSAGES, stream=True) as response:
        return list(response.iter_lines())


def _helper(c):
    with c.chat.completions.stream(model="m", messages=MESSAGES, response_format=Seven) as stream:
        return [event.type for event in stream], stream.get_final_completion().choices[0].message.parsed


def _pickled(c):
    raw = c.chat.completions.with_raw_response.create(model="m", messages=MESSAGES)
    return pickle.loads(pickle.dumps(raw.http_response)).json()["choices"]


CALLS: dict[str, Any] = {
    "chat": lambda c: c.chat.completions.create(model="m", messages=MESSAGES),
    "chat everything": lambda c: c.chat.completions.create(model="tool-call", messages=EVERYTHING, tools=TOOLS),
    "chat generators": lambda c: c.chat.completions.create(
        model="tool-call", messages=(m for m in MESSAGES), tools=(t for t in TOOLS)),
    "chat omitted": lambda c: c.chat.completions.create(model="m", messages=MESSAGES, stop=OMIT, seed=OMIT),
    "chat stream": lambda c: list(c.chat.completions.create(model="m", messages=MESSAGES, stream=True)),
    "chat stream usage": lambda c: list(c.chat.completions.create(
        model="m", messages=MESSAGES, stream=True, stream_options={"include_usage": True})),
    "chat stream tools": lambda c: list(c.chat.completions.create(
        model="tool-call", messages=MESSAGES, stream=True, tools=TOOLS)),
    "chat parse": lambda c: c.chat.completions.parse(model="m", messages=MESSAGES, response_format=Seven),
    "chat parse cut": lambda c: c.chat.completions.parse(model="length", messages=MESSAGES, response_format=Seven),
    "chat helper": _helper,
    "chat raw": lambda c: c.chat.completions.with_raw_response.create(model="m", messages=MESSAGES).parse(),
    "chat raw lines": _raw_stream,
    "chat pickled": _pickled,
    "chat store": lambda c: c.chat.completions.create(model="m", messages=MESSAGES, store=True, metadata={"a": "b"}),
    "chat null": lambda c: c.chat.completions.create(model="null-choices", messages=MESSAGES),
    "chat null stream": lambda c: list(c.chat.completions.create(model="null-choices", messages=MESSAGES, stream=True)),
    "chat garbage": lambda c: c.chat.completions.create(model="garbage", messages=MESSAGES),
    "chat 400": lambda c: c.chat.completions.create(model="error-400", messages=MESSAGES),
    "chat 429": lambda c: c.chat.completions.create(model="error-429", messages=MESSAGES),
    "chat 500 stream": lambda c: c.chat.completions.create(model="error-500", messages=MESSAGES, stream=True),
    "chat cut": lambda c: list(c.chat.completions.create(model="cut-after-2", messages=MESSAGES, stream=True)),
    "chat error event": lambda c: list(c.chat.completions.create(
        model="error-after-2", messages=MESSAGES, stream=True)),
    "chat bad arguments": lambda c: c.chat.completions.create(model="m"),
    "responses": lambda c: c.responses.create(model="m", input=ITEMS),
    "responses stream": lambda c: list(c.responses.create(model="m", input="x", stream=True)),
    "responses failed": lambda c: list(c.responses.create(model="failed", input="x", stream=True)),
    "embeddings": lambda c: c.embeddings.create(model="m", input=["a", "b"]),
    "post": lambda c: c.post("/chat/completions", cast_to=object, body={"model": "m", "messages": MESSAGES}),
    "models": lambda c: list(c.models.list()),
}


def _plain(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return type(value).__qualname__, value.model_dump(warnings=False)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _outcome(call, client) -> Any:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            result = _plain(call(client))
        except Exception as error:  # noqa: BLE001  whatever it is, it must be the same
            result = type(error), str(error), type(error.__cause__)
    return result, [str(warning.message) for warning in said]


def _request(server) -> Any:
    request = server.requests[-1]
    return request.method, request.path, request.body, [
        (name, value) for name, value in request.headers if name not in ("host", "idempotency-key")]


def _observe(server, name):
    server._answers = 0  # so that both runs see the same ids
    with openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=0) as client:
        return _outcome(CALLS[name], client), _request(server)


@pytest.mark.parametrize("setting", ["1", "content"])
@pytest.mark.parametrize("name", CALLS)
def test_same_with_and_without_us(server, seen, monkeypatch, name, setting):
    from backspan import config

    without = _observe(server, name)
    monkeypatch.setenv("BACKSPAN", setting)
    config.reload()
    backspan.instrument.imported(openai)
    try:
        assert _observe(server, name) == without
    finally:
        backspan.instrument.uninstrument()
    assert len(seen.spans) == (0 if name in ("models", "chat bad arguments") else 1)


def test_same_for_a_stream_of_the_apps_own_class(server, patched):
    class Mine(openai.Stream[openai.types.chat.ChatCompletionChunk]):
        def shout(self):
            return [chunk.choices[0].delta.content for chunk in self]

    with openai.OpenAI(base_url=server.base_url, api_key="k") as client:
        stream = client.post("/chat/completions", cast_to=openai.types.chat.ChatCompletionChunk, stream=True,
                             stream_cls=Mine, body={"model": "m", "messages": MESSAGES, "stream": True})
        assert isinstance(stream, Mine) and len(stream.shout()) == 7
    assert patched.attributes()["backspan.stream.outcome"] == "complete"


def test_the_apps_options_are_not_changed(client, patched):
    headers, body = {"x-a": "b"}, {"k": "v"}
    client.chat.completions.create(model="m", messages=MESSAGES, extra_headers=headers, extra_body=body)
    assert (headers, body) == ({"x-a": "b"}, {"k": "v"})


# --- faults of ours -------------------------------------------------------------------------------------------------
def _boom(*args, **kwargs):
    raise RuntimeError("a fault of ours that quotes xyzzy")


FAULTS = {
    "asked": (integration, "APIS", {path: integration.Api(api.operation, _boom, api.answered, api.failed, api.fold)
                                    for path, api in integration.APIS.items()}),
    "answered": (integration, "APIS", {path: integration.Api(api.operation, api.asked, _boom, _boom, api.fold)
                                       for path, api in integration.APIS.items()}),
    "chunks": (_openai_chat_stream.ChatFold, "rare", _boom),
    "fold": (_openai_chat_stream.ChatFold, "finish", _boom),
    "start": (_call.Call, "_start", _boom),
    "span": (_call.Call, "_close_span", _boom),
    "metrics": (_call.Call, "_record", _boom),
    "remember": (_call.Call, "_remember", _boom),
    "hold": (integration, "hold", _boom),
    "stream": (integration, "followed", _boom),
    "watcher": (_stream, "_holder", _boom),
}
FAULTY_CALLS = ("chat", "chat stream", "chat raw", "chat raw lines", "chat parse", "chat 429", "chat cut", "responses",
                "responses stream")


@pytest.mark.parametrize("fault", FAULTS)
def test_our_faults_are_ours_alone(server, seen, monkeypatch, caplog, fault):
    monkeypatch.delenv("BACKSPAN_RAISE")
    without = {name: _observe(server, name) for name in FAULTY_CALLS}
    monkeypatch.setattr(*FAULTS[fault])
    backspan.instrument.imported(openai)
    try:
        assert {name: _observe(server, name) for name in FAULTY_CALLS} == without
    finally:
        backspan.instrument.uninstrument()
    assert sum(_guard.failures().values()) >= 1
    ours = [record.getMessage() for record in caplog.records if record.name == "backspan"]
    assert len(ours) == len(_guard.failures())  # once per place
    assert "xyzzy" not in "".join(ours)


def test_twin_our_tests_see_our_faults(client, patched, monkeypatch):
    monkeypatch.setattr(*FAULTS["asked"])
    with pytest.raises(RuntimeError):
        client.chat.completions.create(model="m", messages=MESSAGES)


def test_a_span_processor_of_the_apps_that_raises_in_a_stream(client, patched, monkeypatch):
    monkeypatch.delenv("BACKSPAN_RAISE")

    class Processor:
        def on_start(self, span, parent_context=None):
            pass

        def on_end(self, span):
            raise RuntimeError

        def _on_ending(self, span):
            pass

        def shutdown(self):
            pass

    patched.provider.add_span_processor(Processor())
    assert len(list(client.chat.completions.create(model="m", messages=MESSAGES, stream=True))) == 7


# --- standing down --------------------------------------------------------------------------------------------------
def test_suppressed(client, patched):
    with suppress_instrumentation():
        client.chat.completions.create(model="m", messages=MESSAGES)
        list(client.chat.completions.create(model="m", messages=MESSAGES, stream=True))
    assert patched.spans == ()
    assert patched.metrics() == {}


def test_patching_twice_is_patching_once(client, patched):
    backspan.instrument.imported(openai)
    client.chat.completions.create(model="m", messages=MESSAGES)
    patched.one()


def test_unpatching_leaves_the_sdk_as_it_was(seen):
    base = openai._base_client
    before = base.SyncAPIClient.__dict__["request"], base.AsyncAPIClient.__dict__["request"]
    backspan.instrument.imported(openai)
    assert base.SyncAPIClient.__dict__["request"] is not before[0]
    backspan.instrument.uninstrument()
    assert (base.SyncAPIClient.__dict__["request"], base.AsyncAPIClient.__dict__["request"]) == before


def test_somebody_elses_wrapper_is_there_first(server, seen, caplog):
    base = openai._base_client
    original = base.SyncAPIClient.__dict__["request"]
    wrapt.wrap_function_wrapper(
        base.SyncAPIClient, "request", lambda wrapped, _, args, kwargs: wrapped(*args, **kwargs))
    try:
        backspan.instrument.imported(openai)
        with openai.OpenAI(base_url=server.base_url, api_key="k") as client:
            client.chat.completions.create(model="m", messages=MESSAGES)
    finally:
        base.SyncAPIClient.request = original
        backspan.instrument.uninstrument()
    assert seen.spans == ()
    assert [record.getMessage() for record in caplog.records if record.name == "backspan"] == [
        "backspan: openai is instrumented by somebody else's wrapper already, so backspan leaves it alone"]


class OpenAIInstrumentor(BaseInstrumentor):
    """As OpenTelemetry's, OpenLLMetry's and OpenInference's are."""

    def instrumentation_dependencies(self):
        return ()

    def _instrument(self, **kwargs):
        pass

    def _uninstrument(self, **kwargs):
        pass


@pytest.mark.parametrize("module", [
    "opentelemetry.instrumentation.genai.openai", "opentelemetry.instrumentation.openai",
    "openinference.instrumentation.openai"])
def test_another_vendor_comes_and_goes(client, patched, monkeypatch, caplog, module):
    import sys
    import types

    fake = types.ModuleType(module)
    fake.OpenAIInstrumentor = OpenAIInstrumentor
    monkeypatch.setitem(sys.modules, module, fake)
    other = OpenAIInstrumentor()
    other.instrument()
    for _ in range(2):
        client.chat.completions.create(model="m", messages=MESSAGES)
    assert patched.spans == ()
    assert len([record for record in caplog.records if module in record.getMessage()]) == 1
    other.uninstrument()
    client.chat.completions.create(model="m", messages=MESSAGES)
    patched.one()


# --- a coroutine that ends elsewhere --------------------------------------------------------------------------------
def test_a_coroutine_closed_in_another_context(server, patched, quiet):
    import contextvars

    async def main():
        async with async_client(server) as client:
            call = client.chat.completions.create(model="hang", messages=MESSAGES)
            first = contextvars.copy_context()
            first.run(call.send, None)
            contextvars.copy_context().run(call.close)

    asyncio.run(main())
    assert patched.attributes()["error.type"] == "GeneratorExit"
