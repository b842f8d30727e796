"""From the body of a request to judgements whose personal data is masked."""

from __future__ import annotations

import marshal
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar, cast

from backspan.feedback.model import Judgement, parse
from backspan.feedback.taxonomy import Taxonomy
from backspan.feedback.taxonomy_file import current
from backspan.redact import redact

Names = tuple[str, ...] | None
_Key = tuple[bytes, Names]
_K = TypeVar("_K")
_V = TypeVar("_V")
_VERDICT = frozenset({"thumbs", "stars", "name", "value", "label", "reasons", "solicited", "retract"})
_MOST, _SHORT = 4096, 400
"""Bodies whose meaning is remembered, and the bytes of the longest of them."""


class Readings:
    """What bodies say. Most are a thumb and a reason: the same few again and again, whoever votes."""

    def __init__(self) -> None:
        self._known: dict[_Key, list[Judgement]] = {}
        self._whole: dict[bytes, dict[Names, list[Judgement]]] = {}
        """By the bytes of a whole body, if there is nothing in it but a verdict."""
        self._under: Taxonomy | None = None

    def met(self, body: bytes) -> bool:
        """Tell whether `read` was asked of the same ``whole`` body."""
        return body in self._whole

    def again(self, body: bytes, names: Names) -> list[Judgement] | None:
        """What `read` has said of the same ``whole`` body with these names; None if it was not asked."""
        return self._whole.get(body, {}).get(names) if current() is self._under else None

    def read(self, payload: Mapping[str, Any], names: Names, whole: bytes = b"") -> list[Judgement]:
        """`parse` with the names that a token allows (None: all), and `redacted`.

        ``whole`` is the body that ``payload`` was decoded from, if it may be remembered for `again`: see `plain`.

        Raises:
            InvalidFeedback: for what it does not allow.
        """
        declared = current()
        if declared is not self._under:
            self._known, self._whole, self._under = {}, {}, declared
        key = _bytes(payload), names
        found = self._known.get(key)
        if found is None:
            found = [redacted(one) for one in parse(payload, names=names, taxonomy=declared)]
            if 0 < len(key[0]) <= _SHORT:
                _bounded(self._known)[key] = found
        if 0 < len(whole) <= _SHORT:
            _bounded(_bounded(self._whole).setdefault(whole, {}))[names] = found
        return found


def plain(payload: Mapping[str, Any]) -> bool:
    """Tell whether a body is a verdict that many give with the same bytes: it says not who judges, what, or why so."""
    return payload.keys() <= _VERDICT


def _bounded(known: dict[_K, _V]) -> dict[_K, _V]:
    """The same, with room for one more."""
    if len(known) >= _MOST:
        known.clear()
    return known


def _bytes(payload: Mapping[str, Any]) -> bytes:
    """Equal for equal payloads only: 1, 1.0 and True differ. Nothing for what is nested too deeply."""
    try:
        return marshal.dumps(cast("Any", payload), 2)
    except ValueError:
        return b""


def redacted(judgement: Judgement) -> Judgement:
    """A judgement whose texts have lost what names a person."""
    if judgement.comment is None and judgement.correction is None and judgement.details is None:
        return judgement
    comment, correction = (text and redact(text) for text in (judgement.comment, judgement.correction))
    details, quote = judgement.details, (judgement.details or {}).get("quote")
    if quote is not None:
        details = {**(details or {}), "quote": {**quote, "text": redact(quote["text"])}}
    return replace(judgement, comment=comment, correction=correction, details=details)
