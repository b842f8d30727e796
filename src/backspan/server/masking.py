"""Received content without what names a person, whatever its sender masked: `backspan.redact`, once more.

Masking twice gives the same as masking once, so what an application of ours has masked comes out as it came in.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from backspan.redact import REDACTED, redact
from backspan.store import Call, Vote

_IDS = frozenset({"id", "tool_call_id", "call_id"})
"""Fields that name things: masked, they would name nothing any more."""
_LONG = 10**7
"""Whole numbers from here on may be a phone number or a card."""


def call(said: Call) -> Call:
    """A call with its texts masked."""
    if not (said.query or said.answer or said.messages or said.documents):
        return said
    try:
        messages, documents = cast("list[Any]", value(said.messages)), cast("list[Any]", value(said.documents))
    except RecursionError:  # nested by somebody who means harm
        messages, documents = [], []
    return replace(said, query=redact(said.query), answer=redact(said.answer), messages=messages, documents=documents)


def vote(said: Vote) -> Vote:
    """A vote with its texts masked."""
    if said.comment is None and said.correction is None:
        return said
    comment, correction = (text and redact(text) for text in (said.comment, said.correction))
    return replace(said, comment=comment, correction=correction)


def value(said: Any) -> Any:
    """Data of JSON with every text in it masked, but for ids."""
    if isinstance(said, str):
        return redact(said)
    if isinstance(said, list):
        return [value(item) for item in cast("list[Any]", said)]
    if isinstance(said, dict):
        return {_key(key): item if key in _IDS and isinstance(item, str | int) else value(item)
                for key, item in cast("dict[str, Any]", said).items()}
    if isinstance(said, int) and abs(said) >= _LONG:
        masked = redact(str(said))
        return said if masked == str(said) else masked
    return said


def _key(key: str) -> str:
    return key if key.isidentifier() and len(key) < len(REDACTED) * 3 else redact(key)
