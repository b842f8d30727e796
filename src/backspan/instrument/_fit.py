"""Content attributes: each text encoded once, and the whole cut inside the JSON, never through it.

Budgets, in characters: of a text (`_masked.redacted`), of an attribute, and of a span's content together. What does not
fit goes in this order: the oldest messages, but not system instructions and not the user's last message; then the ends
of the longest texts; then items from the middle.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast

from backspan import semconv
from backspan.config import settings
from backspan.instrument._content import Json, Text, encode, limit, quoted
from backspan.redact import Counts, hooked, policy
from backspan.redact.parts import leave_out, mark, note, take

_KEYS = (semconv.INPUT_MESSAGES, semconv.SYSTEM_INSTRUCTIONS, semconv.TOOL_DEFINITIONS, semconv.OUTPUT_MESSAGES)
_INSTRUCTING = frozenset({"system", "developer"})
_WHOLE = frozenset({"type", "role", "modality", "mime_type", "finish_reason", "sha256"})
"""Fields that are words of the conventions: a schema refuses half of them."""
_LEAST_TEXT = 16
_REMEMBERED_CHARACTERS = 32_768
Item = Json | str
"""A message, part or definition: as data, or encoded already."""


def put_content(attributes: Json, key: str, items: list[Any]) -> None:
    """Set the content attribute ``key`` to ``items`` as JSON, and say what was masked in it and what did not fit."""
    pieces = [_piece(item) for item in items]
    most, left_out = _room(attributes, key), 0
    if sum(map(len, pieces)) + len(pieces) + 1 > most:
        text, left_out = _within(key, items, pieces, most)
    else:
        text = _joined(pieces)
    attributes[key] = _sound(text)
    mark(attributes, key, left_out, "messages" if key.endswith("messages") else "items")


def _room(attributes: Json, key: str) -> int:
    """Characters that the attribute may have, at least the two of an empty list."""
    said = settings()
    left = said.content_span
    if key != semconv.OUTPUT_MESSAGES:
        left -= left // 4
    for other in _KEYS:
        if other in attributes and other != key:
            left -= len(attributes[other])
    return max(2, min(said.content_list, limit(), left))


# --- encoding -------------------------------------------------------------------------------------------------------
def _piece(item: Any) -> str:
    """``item`` as JSON. A message of texts is put together from what `text_part` has encoded already."""
    kind = type(cast(object, item))
    if kind is str:
        return item
    if kind is Text:
        return item.json
    parts: Any = item.get("parts")
    if not parts:
        return encode(item)
    texts: list[str] = []
    for part in parts:
        if type(part) is not Text:
            return encode(item)
        texts.append(part.json)
    message = f'{{"role":{quoted(item["role"])},"parts":[{",".join(texts)}]'
    if len(item) > 2:
        for key, value in item.items():
            if key not in ("role", "parts"):
                message = f"{message},{quoted(key)}:{quoted(value) if type(value) is str else encode(value)}"
    return message + "}"


def _joined(pieces: list[str]) -> str:
    return f"[{','.join(pieces)}]"


def _sound(text: str) -> str:
    """``text`` without lone surrogates, which no exporter can encode."""
    if text.isascii():
        return text
    return text.encode("utf-8", "replace").decode()


def remembered(things: list[Any], shape: Callable[[Any], Json]) -> list[Any]:
    """``shape`` of each of ``things``, encoded; what has the same JSON as a moment ago is looked up.

    For what is sent again with every call, such as tool definitions.
    """
    raw = None if hooked() else _plain(things)
    if raw is None:
        return [shape(thing) for thing in things]
    pieces, found, cut = _shaped(raw, shape, policy(), settings().content_part)
    if found:
        note(found)
    leave_out(cut)
    return list(pieces)


def _plain(things: list[Any]) -> str | None:
    try:
        raw = _RAW(things)
    except (TypeError, ValueError):  # objects of SDKs; circles
        return None
    return raw if len(raw) <= _REMEMBERED_CHARACTERS else None


_RAW = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@lru_cache(maxsize=64)
def _shaped(raw: str, shape: Callable[[Any], Json], policy: str, part: int) -> tuple[tuple[str, ...], Counts, int]:
    before, missing = take()
    pieces = tuple(encode(shape(thing)) for thing in json.loads(raw))
    found, cut = take()
    note(tuple(before.items()))
    leave_out(missing)
    return pieces, tuple(found.items()), cut


# --- cutting --------------------------------------------------------------------------------------------------------
def _within(key: str, items: list[Any], pieces: list[str], most: int) -> tuple[str, int]:
    """JSON of at most ``most`` characters, and the number of items left out."""
    if key == semconv.INPUT_MESSAGES:
        kept = _without_oldest(items, [len(piece) + 1 for piece in pieces], most - 1)
        pieces = [pieces[index] for index in kept]
    left_out = len(items) - len(pieces)
    if sum(map(len, pieces)) + len(pieces) + 1 <= most:
        return _joined(pieces), left_out
    text, some = _shorter([json.loads(piece) for piece in pieces], most)
    return text, left_out + some


def _shorter(data: list[Any], most: int) -> tuple[str, int]:
    """``data`` with its texts cut until it fits; if even short ones do not, with some items only."""
    longest = most // 2
    while longest >= _LEAST_TEXT:
        short, left = _cut(data, longest)
        text = encode(short)
        if len(text) <= most:
            leave_out(left)
            return text, 0
        longest //= 4
    short, left = _cut(data, _LEAST_TEXT)
    leave_out(left)
    return _thinned(short, most)


def _without_oldest(items: list[Any], sizes: list[int], most: int) -> list[int]:
    """Which messages to keep, so that their ``sizes`` add up to ``most`` if that can be."""
    roles = [_role(item) for item in items]
    last = max((index for index, role in enumerate(roles) if role == "user"), default=len(items) - 1)
    total, gone = sum(sizes), set[int]()
    for index, role in enumerate(roles):
        if total <= most:
            break
        if role not in _INSTRUCTING and index != last:
            total -= sizes[index]
            gone.add(index)
    return [index for index in range(len(items)) if index not in gone]


def _role(item: Any) -> Any:
    return json.loads(item).get("role") if isinstance(item, str) else item.get("role")


def _thinned(items: list[Any], most: int) -> tuple[str, int]:
    """The first and the last of ``items`` that fit, when even short ones are too many."""
    keep = len(items) // 2
    while keep:
        text = encode(items[:keep] + items[-keep:])
        if len(text) <= most:
            return text, len(items) - 2 * keep
        keep //= 2
    return "[]", len(items)


def _cut(value: Any, longest: int) -> tuple[Any, int]:
    """``value`` with every text of at most ``longest`` characters, and how many characters that left out."""
    if isinstance(value, str):
        left = len(value) - longest
        return (f"{value[:longest]}…[{left} more]", left) if left > 0 else (value, 0)
    if isinstance(value, dict):
        fields = {key: (item, 0) if key in _WHOLE else _cut(item, longest) for key, item in cast(Json, value).items()}
        return {key: item for key, (item, _) in fields.items()}, sum(left for _, left in fields.values())
    if isinstance(value, list):
        said = [_cut(item, longest) for item in cast(list[Any], value)]
        return [item for item, _ in said], sum(left for _, left in said)
    return value, 0
