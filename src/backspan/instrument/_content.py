"""Content as the conventions' JSON: redacted leaf by leaf, and cut inside the JSON, never through it.

Nothing here runs while content is off. Bytes and base64 never leave: type, size and hash stand for them.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, cast

from backspan.redact import redact

MOST_CHARACTERS = 65_536
"""Most characters of one content attribute, unless OpenTelemetry's own limit is lower."""
_LEAST_TEXT = 16
_MOST_PARSED = 65_536
Json = dict[str, Any]


class Bag:
    """A JSON object with its fields in ``__dict__``, as an SDK's models have them; read it with `peek`."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.__dict__.update(fields)


def bag(raw: bytes | str) -> Any:
    """Parse JSON into `Bag` objects, lists and plain values.

    Raises:
        ValueError: if ``raw`` is not JSON.
    """
    return json.loads(raw, object_hook=Bag)


def bagged(value: Any) -> Any:
    """Turn dicts, at any depth, into `Bag` objects."""
    if isinstance(value, dict):
        return Bag({str(key): bagged(item) for key, item in cast(Json, value).items()})
    if isinstance(value, list):
        return [bagged(item) for item in cast(list[Any], value)]
    return value


def peek(answer: Any, name: str) -> Any:
    """The field ``name`` of an answer (an SDK's model, or a `Bag`), None if it has none.

    For a field that is absent, ``getattr`` on a pydantic model costs as much as a whole metric.
    """
    fields: Json = getattr(answer, "__dict__", None) or {}
    if name in fields:
        return fields[name]
    more: Json | None = getattr(answer, "__pydantic_extra__", None)
    return more.get(name) if more else None


def field(thing: Any, name: str) -> Any:
    """The field ``name`` of a dict, of an SDK's object or of a `Bag`, None if it has none."""
    if isinstance(thing, dict):
        return cast(Json, thing).get(name)
    return peek(thing, name)


def each(value: Any) -> list[Any]:
    """``value`` if it is a list or a tuple, else nothing: an iterator belongs to the application."""
    return list(cast("list[Any]", value)) if isinstance(value, list | tuple) else []


# --- parts ----------------------------------------------------------------------------------------------------------
def text_part(text: str) -> Json:
    """A text part, redacted."""
    return {"type": "text", "content": redact(text)}


def tool_call_part(name: Any, id: Any, arguments: Any) -> Json:
    """A tool call; arguments in JSON are parsed, so that cutting and masking see their leaves."""
    part: Json = {"type": "tool_call", "name": str(name or ""), "arguments": clean(_parsed(arguments))}
    if id:
        part["id"] = str(id)
    return part


def tool_response_part(id: Any, response: Any) -> Json:
    """What a tool answered."""
    return {"type": "tool_call_response", "id": str(id or ""), "response": clean(response)}


def blob_part(modality: str, mime_type: str | None, data: str | bytes) -> Json:
    """Binary data, reduced to its type, size in bytes and SHA-256. ``data`` is base64 if it is a string."""
    raw = data.encode() if isinstance(data, str) else data
    size = len(raw) * 3 // 4 - raw[-2:].count(b"=") if isinstance(data, str) else len(raw)
    part: Json = {"type": "blob", "modality": modality, "content": "", "size": size,
                  "sha256": hashlib.sha256(raw).hexdigest()}
    if mime_type:
        part["mime_type"] = mime_type
    return part


def media_part(modality: str, url: str) -> Json:
    """An address of a picture, a sound or a document; a ``data:`` address is reduced by `blob_part`."""
    if not url.startswith("data:"):
        return {"type": "uri", "modality": modality, "uri": redact(url)}
    head, _, data = url.partition(",")
    return blob_part(modality, head[5:].partition(";")[0] or None, data)


def _parsed(arguments: Any) -> Any:
    if isinstance(arguments, str) and len(arguments) <= _MOST_PARSED and arguments[:1] in "{[":
        try:
            return json.loads(arguments or "null")
        except ValueError:
            return arguments
    return arguments


def clean(value: Any) -> Any:
    """``value`` as JSON data with every text redacted, at any depth; objects of SDKs become dicts."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {str(key): clean(item) for key, item in cast(Json, value).items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in cast("list[Any]", value)]
    return _clean_scalar(value)


def _clean_scalar(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        masked = redact(str(value))
        return value if masked == str(value) else masked
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return _foreign(value)


def _foreign(value: Any) -> Any:
    """What stands for a value that JSON has no word for."""
    if isinstance(value, bytes | bytearray | memoryview):
        raw = bytes(cast(bytes, value))
        return {"type": "bytes", "size": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
    if isinstance(value, Bag):
        return clean(vars(value))
    dump: Callable[[], Any] | None = getattr(value, "model_dump", None) or getattr(value, "dict", None)
    return clean(dump()) if callable(dump) else f"<{type(value).__name__}>"


# --- the JSON -------------------------------------------------------------------------------------------------------
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_foreign).encode


def fit(items: list[Any]) -> tuple[str, bool]:
    """``items`` as JSON within `limit` characters, and whether something had to be cut for that."""
    text = _sound(_encode(items))
    most = limit()
    return (text, False) if len(text) <= most else (_cut(items, most), True)


def _sound(text: str) -> str:
    """``text`` without lone surrogates, which no exporter can encode."""
    if text.isascii():
        return text
    return text.encode("utf-8", "replace").decode()


def _cut(items: list[Any], most: int) -> str:
    longest = most // 2
    while longest >= _LEAST_TEXT:
        text = _sound(_encode(_shortened(items, longest)))
        if len(text) <= most:
            return text
        longest //= 4
    return _thinned(_shortened(items, _LEAST_TEXT), most)


def _thinned(items: list[Any], most: int) -> str:
    """The first and the last of ``items`` that fit, when even short ones are too many."""
    keep = len(items) // 2
    while keep:
        text = _sound(_encode(items[:keep] + items[-keep:]))
        if len(text) <= most:
            return text
        keep //= 2
    return "[]"


def _shortened(value: Any, longest: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= longest else f"{value[:longest]}…[{len(value) - longest} more]"
    if isinstance(value, dict):
        return {key: _shortened(item, longest) for key, item in cast(Json, value).items()}
    if isinstance(value, list):
        return [_shortened(item, longest) for item in cast(list[Any], value)]
    return value


@lru_cache(maxsize=1)
def limit() -> int:
    """Characters that one content attribute may have: past the SDK's own limit it would be cut through the JSON."""
    said = [os.environ.get(name, "") for name in
            ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT")]
    return min([MOST_CHARACTERS, *(int(number) for number in said if number.isdigit())])
