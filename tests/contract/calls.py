"""A broad table of calls, each made in the same words on a synchronous and an asynchronous client, and what the
application sees of one: result, exception, warnings, and the request on the wire.
"""

from __future__ import annotations

import asyncio
import gc
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import openai
import pydantic
from openai.types.chat import ChatCompletionChunk as Chunk

from backspan.instrument.openai import APIS
from tests.contract.conftest import MESSAGES, async_client, make_client
from tests.contract.uses import BYTES, EVENTS, FIRST, ITEMS, LINES, PARSED, PICKLED, RAW, RAW_ITEMS, VALUE
from tests.contract.versions import OMIT, helper, parse

TOOLS: Any = [{"type": "function", "function": {"name": "weather", "description": "d", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
    "additionalProperties": False}, "strict": True}}]
HISTORY: Any = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]},
    openai.types.chat.ChatCompletionMessage(role="assistant", content="A dot."),
    {"role": "assistant", "content": None, "tool_calls": [
        {"id": "call_0", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}]},
    {"role": "tool", "tool_call_id": "call_0", "content": "sunny"},
]


class Seven(pydantic.BaseModel):
    """What `parse` is asked for."""

    number: int


# --- the table ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Case:
    """One call: how it is made, how its result is used, what it needs, and how many spans it is."""

    call: Callable[[Any], Any]
    use: tuple[Callable[[Any], Any], Callable[[Any], Any]] = VALUE
    needs: str | None = None
    spans: int = 1


def _chat(model: str = "m", **more: Any) -> Callable[[Any], Any]:
    return lambda c: c.chat.completions.create(**{"model": model, "messages": MESSAGES, **more})


def _stream(model: str = "m", **more: Any) -> Callable[[Any], Any]:
    return _chat(model, stream=True, **more)


def _response(model: str = "m", **more: Any) -> Callable[[Any], Any]:
    return lambda c: c.responses.create(**{"model": model, "input": "one two", "instructions": "Be kind.", **more})


def _raw_chat(model: str = "m", **more: Any) -> Callable[[Any], Any]:
    return lambda c: c.chat.completions.with_raw_response.create(**{"model": model, "messages": MESSAGES, **more})


def _streaming(model: str = "m", **more: Any) -> Callable[[Any], Any]:
    return lambda c: c.chat.completions.with_streaming_response.create(
        **{"model": model, "messages": MESSAGES, **more})


def _impatient(call: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda c: call(c.with_options(timeout=openai.Timeout(30, read=1.0)))


def _patient(call: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda c: call(c.with_options(max_retries=2))


def _nobody(call: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda c: call(c.with_options(base_url="http://127.0.0.1:9/v1"))


def _resource(path: str, api: Any, stream: bool = False) -> Callable[[Any], Any]:
    """A request to one path of the table of resources, answered by something that fits all or none of them."""
    url = re.sub(r"\{\w+\}", "id_1", path)
    more: Any = {} if api.method == "get" else {"body": {"model": "any", "input": "x", "stream": stream}}

    def call(c: Any) -> Any:
        if not stream:
            return getattr(c, api.method)(url, cast_to=object, **more)
        kind = openai.AsyncStream if isinstance(c, openai.AsyncOpenAI) else openai.Stream
        return getattr(c, api.method)(url, cast_to=Chunk, stream=True, stream_cls=kind[Chunk], **more)

    return call


STATUSES = (400, 401, 404, 409, 422, 429, 500, 503)
CASES: dict[str, Case] = {
    "chat": Case(_chat()),
    "chat settings": Case(_chat(temperature=0.5, top_p=0.9, seed=3, max_tokens=9, stop=["x"], n=2, user="u")),
    "chat history": Case(_chat("tool-call", messages=HISTORY, tools=TOOLS)),
    "chat iterators": Case(lambda c: c.chat.completions.create(
        model="tool-call", messages=iter(MESSAGES), tools=(tool for tool in TOOLS))),
    "chat omitted": Case(_chat(stop=OMIT, seed=OMIT, tools=openai.NOT_GIVEN, temperature=None)),
    "chat stored": Case(_chat(store=True, metadata={"a": "b"}) if hasattr(openai, "omit") else _chat()),
    "chat extras": Case(_chat(extra_headers={"x-a": "b", "authorization": "Bearer mine"}, extra_query={"q": "1"},
                              extra_body={"top_k": 4})),
    "chat bad arguments": Case(lambda c: c.chat.completions.create(model="m"), spans=0),
    "chat odd arguments": Case(_chat(temperature="warm", messages=[{"role": 7}, "no message"], user=b"u", seed={})),
    "chat unsendable": Case(_chat(messages=[{"role": "user", "content": object()}])),
    "chat all null": Case(_chat("all-null")),
    "chat null choices": Case(_chat("null-choices")),
    "chat no usage": Case(_chat("no-usage")),
    "chat error body": Case(_chat("error-body")),
    "chat garbage": Case(_chat("garbage")),
    "chat cut": Case(_chat("cut")),
    "chat late": Case(_impatient(_chat("hang"))),
    "chat nobody": Case(_nobody(_chat())),
    "chat retried": Case(_patient(_chat("flaky-500-1"))),
    "chat retried in vain": Case(_patient(_chat("error-503"))),
    **{f"chat {status}": Case(_chat(f"error-{status}")) for status in STATUSES},
    "chat raw": Case(_raw_chat(), RAW),
    "chat raw 429": Case(_raw_chat("error-429"), RAW),
    "chat raw garbage": Case(_raw_chat("garbage"), RAW),
    "chat pickled": Case(_raw_chat(), PICKLED),
    "chat streaming response": Case(_streaming(), PARSED),
    "chat streaming bytes": Case(_streaming(), BYTES),
    "chat streaming 400": Case(_streaming("error-400"), PARSED),
    "stream": Case(_stream(), ITEMS),
    "stream usage": Case(_stream(stream_options={"include_usage": True}), ITEMS),
    "stream no usage": Case(_stream(stream_options={"include_usage": False}), ITEMS),
    "stream tools": Case(_stream("tool-call", tools=TOOLS), ITEMS),
    "stream two tools": Case(_stream("two-tools", tools=TOOLS), ITEMS),
    "stream first": Case(_stream(), FIRST),
    "stream raw": Case(_raw_chat(stream=True), RAW_ITEMS),
    "stream lines": Case(_streaming(stream=True), LINES),
    "stream parsed": Case(_streaming(stream=True), PARSED),
    "stream null delta": Case(_stream("null-delta"), ITEMS),
    "stream null list": Case(_stream("null-list"), ITEMS),
    "stream all null": Case(_stream("all-null"), ITEMS),
    "stream azure": Case(_stream("azure"), ITEMS),
    "stream bad event": Case(_stream("bad-event"), ITEMS),
    "stream garbage": Case(_stream("garbage"), ITEMS),
    "stream cut": Case(_stream("cut-after-2"), ITEMS),
    "stream cut at once": Case(_stream("cut-after-0"), ITEMS),
    "stream error event": Case(_stream("error-after-2"), ITEMS),
    "stream late": Case(_impatient(_stream("stall-after-0")), ITEMS),
    "stream nobody": Case(_nobody(_stream()), ITEMS),
    **{f"stream {status}": Case(_stream(f"error-{status}"), ITEMS) for status in (401, 429, 500)},
    "parse": Case(lambda c: parse(c, model="m", messages=MESSAGES, response_format=Seven), needs="parse"),
    "parse length": Case(lambda c: parse(c, model="length", messages=MESSAGES, response_format=Seven), needs="parse"),
    "parse filtered": Case(
        lambda c: parse(c, model="content-filter", messages=MESSAGES, response_format=Seven), needs="parse"),
    "parse all null": Case(
        lambda c: parse(c, model="all-null", messages=MESSAGES, response_format=Seven), needs="parse"),
    "helper": Case(
        lambda c: helper(c, model="m", messages=MESSAGES, response_format=Seven), EVENTS, needs="helper"),
    "responses": Case(_response(), needs="responses"),
    "responses items": Case(_response(input=[{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}]),
                            needs="responses"),
    "responses parse": Case(lambda c: c.responses.parse(model="m", input="x", text_format=Seven), needs="responses"),
    "responses raw": Case(lambda c: c.responses.with_raw_response.create(model="m", input="x"), RAW, "responses"),
    "responses stream": Case(_response(stream=True), ITEMS, "responses"),
    "responses raw stream": Case(
        lambda c: c.responses.with_raw_response.create(model="m", input="x", stream=True), RAW_ITEMS, "responses"),
    "responses lines": Case(lambda c: c.responses.with_streaming_response.create(model="m", input="x", stream=True),
                            LINES, "responses"),
    "responses helper": Case(lambda c: c.responses.stream(model="m", input="x"), EVENTS, "responses"),
    "responses failed": Case(_response("failed"), needs="responses"),
    "responses stream failed": Case(_response("failed", stream=True), ITEMS, "responses"),
    "responses stream incomplete": Case(_response("incomplete", stream=True), ITEMS, "responses"),
    "responses stream cut": Case(_response("cut-after-3", stream=True), ITEMS, "responses"),
    "responses stream error": Case(_response("error-after-3", stream=True), ITEMS, "responses"),
    "responses 400": Case(_response("error-400"), needs="responses"),
    "embeddings": Case(lambda c: c.embeddings.create(model="m", input=["a", "b"], dimensions=4)),
    "embeddings floats": Case(lambda c: c.embeddings.create(model="m", input="a", encoding_format="float")),
    "embeddings raw": Case(lambda c: c.embeddings.with_raw_response.create(model="m", input="a"), RAW),
    "embeddings 404": Case(lambda c: c.embeddings.create(model="error-404", input="a")),
    "embeddings garbage": Case(lambda c: c.embeddings.create(model="garbage", input="a")),
    "completions": Case(lambda c: c.completions.create(model="m", prompt="say"), spans=-1),
    "completions 500": Case(lambda c: c.completions.create(model="error-500", prompt="say"), spans=-1),
    "post": Case(lambda c: c.post("/chat/completions", cast_to=object, body={"model": "m", "messages": MESSAGES})),
    "clone": Case(lambda c: _chat()(c.with_options(timeout=9, default_headers={"x-c": "d"}))),
    "models": Case(lambda c: c.models.list(), ITEMS, spans=0),
    "nothing there": Case(lambda c: c.post("/no/such/path", cast_to=object, body={}), spans=0),
}
CASES |= {f"resource {path}": Case(_resource(path, api)) for path, api in APIS.items()}
CASES |= {f"resource stream {path}": Case(_resource(path, api, True), ITEMS)
          for path, api in APIS.items() if api.fold is not None}
"""``spans`` of -1: whatever number of spans, as long as the application sees the same."""


# --- what the application sees --------------------------------------------------------------------------------------
def observe(server: Any, case: Case, asynchronous: bool) -> Any:
    """Make the call; return what the application saw, and what the provider did."""
    server.restart_numbers()
    before = len(server.requests)
    with _no_collection(), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        result = asyncio.run(_atry(server, case)) if asynchronous else _try(server, case)
    heard = [(warning.category, str(warning.message), warning.filename, warning.lineno) for warning in said]
    return result, heard, [_request(request) for request in server.requests[before:]]


@contextmanager
def _no_collection() -> Iterator[None]:
    """When the collector runs is chance, and what it finds of other tests would be heard as a warning of this call."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _try(server: Any, case: Case) -> Any:
    with make_client(server) as client:
        try:
            return plain(case.use[0](case.call(client)))
        except Exception as error:  # noqa: BLE001  whatever it is, it must be the same
            return _raised(error)


async def _atry(server: Any, case: Case) -> Any:
    async with async_client(server) as client:
        try:
            return plain(await case.use[1](case.call(client)))
        except Exception as error:  # noqa: BLE001  as above
            return _raised(error)


def plain(value: Any) -> Any:
    """``value`` with its types, as what can be compared between two runs."""
    if hasattr(value, "model_dump"):
        return type(value).__mro__, value.model_dump(warnings=False), getattr(value, "_request_id", None)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def _raised(error: BaseException | None) -> Any:
    if error is None:
        return None
    fields = {name: _attribute(value) for name, value in vars(error).items()}
    cause, args = _raised(error.__cause__), [_attribute(value) for value in error.args]
    return type(error), str(error), args, fields, cause, error.__suppress_context__


def _attribute(value: Any) -> Any:
    if hasattr(value, "status_code"):
        return value.status_code, value.content
    if hasattr(value, "method"):
        return value.method, value.url.path, value.content
    return plain(value) if isinstance(value, str | int | float | dict | None) or hasattr(value, "model_dump") else type(
        value)


def _request(request: Any) -> Any:
    headers = [(name, value) for name, value in request.headers if name not in ("host", "idempotency-key")]
    return request.method, request.path, headers, request.body
