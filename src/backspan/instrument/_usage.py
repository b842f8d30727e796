"""Tokens that the provider did not tell: estimated for streams that were cut, asked for where a setting says so.

A request is changed for no other reason, and only for streamed chat completions and completions sent to a host of
``BACKSPAN_STREAM_USAGE_HOSTS``: they then carry ``stream_options: {include_usage: true}``, and the one chunk that comes
of it is kept from the application. Raw responses, and requests that say something about usage themselves, stay as they
are.
"""

from __future__ import annotations

import copy
import types
from collections.abc import AsyncGenerator, Generator, Iterable
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, cast, get_origin

from backspan import semconv
from backspan.config import settings
from backspan.instrument._call import Call
from backspan.instrument._content import Json, field

_BYTES_PER_TOKEN = 4
_PER_MESSAGE = 4
_RAW = "x-stainless-raw-response"
_ASK = {"include_usage": True}
_TYPES = ("chat_completions", "completions")


# --- estimated ------------------------------------------------------------------------------------------------------
def estimate(call: Call, texts: Iterable[str]) -> None:
    """Estimate the tokens of a stream that was cut before the provider told them; ``texts``: what arrived of it."""
    if call.output_tokens is not None or not call.first_chunk:
        return
    asked = call.asked.attributes
    size = sum(len(text) if text.isascii() else len(text.encode("utf-8", "replace")) for text in texts)
    call.output_tokens = -(-size // _BYTES_PER_TOKEN)
    if call.input_tokens is None:
        told = asked.get(semconv.INPUT_CHARACTERS, 0)
        call.input_tokens = -(-told // _BYTES_PER_TOKEN) + _PER_MESSAGE * asked.get(semconv.INPUT_MESSAGE_COUNT, 0)
    call.attributes[semconv.USAGE_ESTIMATED] = True


# --- asked for ------------------------------------------------------------------------------------------------------
def wanted(call: Call, options: Any) -> bool:
    """Whether the usage of this stream is to be asked for on the application's behalf."""
    patterns = settings().stream_usage_hosts
    if not patterns or call.asked.attributes.get(semconv.OPENAI_API_TYPE) not in _TYPES:
        return False
    host = str(call.service.attributes.get(semconv.SERVER_ADDRESS, "")).lower()
    if not any(fnmatchcase(host, pattern.lower()) for pattern in patterns):
        return False
    body: Any = options.json_data
    said: Any = cast(Json, body).get("stream_options") if isinstance(body, dict) else _ASK
    if said is not None and (not isinstance(said, dict) or "include_usage" in cast(Json, said)):
        return False
    headers: Any = options.headers
    names: list[Any] = list(cast(Json, headers)) if isinstance(headers, dict) else []
    return not any(str(name).lower() == _RAW for name in names)


def asking(options: Any) -> Any:
    """A copy of ``options`` that asks for usage; the application's own are left alone."""
    asked = copy.copy(options)
    body = cast(Json, options.json_data)
    asked.json_data = {**body, "stream_options": {**(body.get("stream_options") or {}), **_ASK}}
    return asked


@lru_cache(maxsize=64)
def hiding(stream_cls: Any) -> Any:
    """The subclass of ``stream_cls`` that keeps the chunk of usage from the application. One per class."""
    origin = get_origin(stream_cls) or stream_cls
    inner = origin.__stream__
    if hasattr(origin, "__aiter__"):
        def __stream__(self: Any) -> Any:
            return _without_async(inner(self))
    else:
        def __stream__(self: Any) -> Any:
            return _without(inner(self))

    def body(namespace: dict[str, Any]) -> None:
        names = {"__module__": origin.__module__, "__qualname__": origin.__qualname__, "__doc__": origin.__doc__}
        namespace.update({**names, "__stream__": __stream__})

    return types.new_class(origin.__name__, (stream_cls,), exec_body=body)


def _without(source: Generator[Any]) -> Generator[Any]:
    try:
        for chunk in source:
            if not _asked_for(chunk):
                yield chunk
    finally:
        source.close()


async def _without_async(source: AsyncGenerator[Any]) -> AsyncGenerator[Any]:
    try:
        async for chunk in source:
            if not _asked_for(chunk):
                yield chunk
    finally:
        await source.aclose()


def _asked_for(chunk: Any) -> bool:
    return field(chunk, "usage") is not None and not field(chunk, "choices")
