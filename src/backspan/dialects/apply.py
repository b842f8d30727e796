"""The dialect table, applied to the attributes of one span."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

from backspan.dialects.names import DOCUMENTS, FIELDS, LAST, MARKS, MESSAGES, NAMES, Field, Messages, Name

_DIGITS = 5
"""Of the number of a message, part or document that is looked for."""


def translated(said: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a span with the conventions' names added; ours and the conventions' own are left alone.

    A span that the Collector has translated already keeps what it has, and gets the messages that were too many for
    the Collector (`backspan.dialects.ottl`).
    """
    found = dict(said)
    if not any(mark in said for mark in MARKS):
        return found
    _names(found, NAMES)
    _fields(found)
    _names(found, LAST)
    for messages in MESSAGES:
        _messages(found, messages)
    _documents(found)
    return found


def _names(found: dict[str, Any], names: Iterable[Name]) -> None:
    for name in names:
        value = found.get(name.source)
        if value is None or (name.when is not None and found.get(name.when[0]) != name.when[1]):
            continue
        if name.target not in found and (not name.only or value in name.words):
            _put(found, name.target, _formed(name, value))
        if name.moved:
            del found[name.source]


def _formed(name: Name, value: Any) -> Any:
    value = name.words.get(value, value) if isinstance(value, str) else value
    return _as(name.form, value)


def _as(form: str, value: Any) -> Any:
    """The value in that form, or None."""
    if form == "whole":
        return int(value) if isinstance(value, int | float) else None
    if form == "text":
        return str(value) if isinstance(value, str | int | float) else None
    return [value] if form == "list" else value


def _put(found: dict[str, Any], target: str, value: Any) -> None:
    if value is not None:
        found[target] = value


def _fields(found: dict[str, Any]) -> None:
    parsed: dict[str, dict[str, Any]] = {}
    for field in FIELDS:
        if field.target in found or (field.when is not None and found.get(field.when[0]) != field.when[1]):
            continue
        if field.source not in parsed:
            parsed[field.source] = _object(found.get(field.source))
        _put(found, field.target, _as(field.form, _scalar(parsed[field.source], field)))


def _scalar(parsed: Mapping[str, Any], field: Field) -> Any:
    value = parsed.get(field.key)
    return value if isinstance(value, str | int | float) else None


def _object(text: object) -> dict[str, Any]:
    if not isinstance(text, str) or not text.startswith("{"):
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


# --- what is spread over numbered attributes ------------------------------------------------------------------------
def _spread(said: Mapping[str, Any], pattern: str, letter: str) -> dict[int, dict[str, Any]]:
    """Attributes ``before{letter}after...`` by their number, in order, each with its key from ``after`` on."""
    before, _, after = pattern.partition(f"{{{letter}}}")
    shape = re.compile(rf"{re.escape(before)}(\d{{1,{_DIGITS}}}){re.escape(after)}(.*)", re.DOTALL)
    found: dict[int, dict[str, Any]] = {}
    for key, value in said.items():
        if hit := shape.fullmatch(key):
            found.setdefault(int(hit[1]), {})[hit[2]] = value
    return dict(sorted(found.items()))


def _messages(found: dict[str, Any], kind: Messages) -> None:
    spread = {number: one for number, one in _spread(found, kind.message, "i").items() if kind.role in one}
    given = _list(found.get(kind.target))
    if not spread or (given and next(iter(spread)) < len(given)):
        return  # nothing there, or the sender has said the same under both names
    found[kind.target] = [*given, *(_message(one, kind) for one in spread.values())]
    before, _, after = kind.message.partition("{i}")
    for number, one in spread.items():
        for rest in one:
            found.pop(f"{before}{number}{after}{rest}", None)


def _list(value: Any) -> list[Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return []
    return cast("list[Any]", value) if isinstance(value, list) else []


def _message(said: Mapping[str, Any], kind: Messages) -> dict[str, Any]:
    role, text = said[kind.role], said.get(kind.text)
    if role == "tool":
        answer = {"type": "tool_call_response", "id": said.get(kind.answers), "response": text}
        return {"role": role, "parts": [answer]}
    parts = _spread(said, kind.parts, "j") if kind.parts else {}
    texts = [text, *(one.get("") for one in parts.values())]
    spoken = [{"type": "text", "content": one} for one in texts if one is not None]
    return {"role": role, "parts": [*spoken, *_calls(said, kind)]}


def _calls(said: Mapping[str, Any], kind: Messages) -> list[dict[str, Any]]:
    id, name, arguments = kind.call
    return [{"type": "tool_call", "id": said.get(id.format(j=j)), "name": one[""],
             "arguments": said.get(arguments.format(j=j))} for j, one in _spread(said, name, "j").items() if "" in one]


def _documents(found: dict[str, Any]) -> None:
    spread = {number: {key: one[theirs] for key, theirs in DOCUMENTS.keys.items() if one.get(theirs) is not None}
              for number, one in _spread(found, DOCUMENTS.document, "i").items()}
    numbers = [number for number, document in spread.items() if document]
    given = _list(found.get(DOCUMENTS.target))
    if numbers and not (given and numbers[0] < len(given)):
        found[DOCUMENTS.target] = [*given, *(spread[number] for number in numbers)]
