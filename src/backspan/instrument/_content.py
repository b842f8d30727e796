"""Content as the conventions' JSON, redacted leaf by leaf. `_fit` makes attributes of it.

Nothing here runs while content is off. Bytes and base64 never leave: type, size and hash stand for them.
"""

from __future__ import annotations

import binascii
import hashlib
import json
import math
import os
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, cast

from backspan.config import settings
from backspan.redact import Counts, examine, hooked, policy
from backspan.redact.parts import note, redacted

_SHORT_KEY = 16
_REMEMBERED_CHARACTERS = 8192
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


_SEQUENCE = (list, tuple)


def each(value: Any) -> list[Any]:
    """``value`` if it is a list or a tuple, else nothing: an iterator belongs to the application."""
    return list(cast("list[Any]", value)) if isinstance(value, _SEQUENCE) else []


# --- parts ----------------------------------------------------------------------------------------------------------
class Text(dict[str, Any]):
    """A text part, with its own JSON."""

    __slots__ = ("json",)
    json: str


def text_part(text: str) -> Json:
    """A text part, redacted and encoded; a conversation is sent again with every turn, so both are remembered."""
    if len(text) > _REMEMBERED_CHARACTERS or hooked() or len(text) > settings().content_part:
        return {"type": "text", "content": redacted(text)}
    said, encoded, found = _remembered(text, policy())
    if found:
        note(found)
    part = Text(type="text", content=said)
    part.json = encoded
    return part


@lru_cache(maxsize=256)
def _remembered(text: str, policy: str) -> tuple[str, str, Counts]:
    said, found = examine(text)
    return said, f'{{"type":"text","content":{quoted(said)}}}', found


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
    """Binary data, reduced to its type, size in bytes and SHA-256. ``data`` is base64 if it is a string.

    The hash is of the bytes themselves, so that a picture is found again by its file; of the text if it is no base64.
    """
    raw = _bytes(data) if isinstance(data, str) else data
    part: Json = {"type": "blob", "modality": modality, "content": "", "size": len(raw),
                  "sha256": hashlib.sha256(raw).hexdigest()}
    if mime_type:
        part["mime_type"] = mime_type
    return part


def _bytes(data: str) -> bytes:
    try:
        return binascii.a2b_base64(data)
    except ValueError:
        return data.encode("utf-8", "replace")


def media_part(modality: str, url: str) -> Json:
    """An address of a picture, a sound or a document; a ``data:`` address is reduced by `blob_part`."""
    if not url.startswith("data:"):
        return {"type": "uri", "modality": modality, "uri": redacted(url)}
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
        return redacted(value)
    if isinstance(value, dict):
        return {_clean_key(str(key)): clean(item) for key, item in cast(Json, value).items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in cast("list[Any]", value)]
    return _clean_scalar(value)


def _clean_key(key: str) -> str:
    """A key may be somebody's address; a short word is not."""
    return key if len(key) < _SHORT_KEY and key.isidentifier() else redacted(key)


def _clean_scalar(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        masked = redacted(str(value))
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
encode = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), default=_foreign, check_circular=False).encode
"""What `clean` returned, or the parts above, as JSON."""
quoted: Callable[[str], str] = json.encoder.encode_basestring
"""A text as JSON."""


@lru_cache(maxsize=1)
def limit() -> int:
    """Characters that one content attribute may have: past the SDK's own limit it would be cut through the JSON."""
    said = [os.environ.get(name, "") for name in
            ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT")]
    return min((int(number) for number in said if number.isdigit()), default=sys.maxsize)
