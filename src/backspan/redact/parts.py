"""Texts on their way into a span: masked, kept within the budget of a part, and what that took is counted.

The counts belong to the span whose content is being built. That is done in one go on one thread, so they are kept by
thread until `mark` writes them beside the attribute that is set.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from backspan import semconv
from backspan.config import settings
from backspan.redact import Counts, examine, policy

_OVERHANG = 20_000
"""Characters past the budget that are looked at too: more than the longest thing that is masked has, so that none is
cut in two and its first half shown."""


class _Taken(threading.local):
    """What was masked and left out on this thread since somebody asked."""

    def __init__(self) -> None:
        self.found: dict[str, int] = {}
        self.cut = 0


_taken = _Taken()


def redacted(text: str) -> str:
    """``text`` masked, and cut to ``BACKSPAN_CONTENT_PART`` characters; both are counted for the span."""
    most = settings().content_part
    if len(text) > most:
        return _beginning(text, most)
    said, found = examine(text)
    if found:
        note(found)
    return said


def _beginning(text: str, most: int) -> str:
    whole = len(text) <= most + _OVERHANG
    said, found = examine(text if whole else text[:most + _OVERHANG])
    note(found)
    if len(said) <= most and whole:
        return said
    # What was masked made the text shorter: its end, which may be half of something, is to stay out all the same.
    kept = said[:most if whole else min(most, max(0, len(said) - _OVERHANG))]
    left = len(text) - len(kept)
    leave_out(left)
    return f"{kept}…[{left} more]"


def leave_out(characters: int) -> None:
    """Count ``characters`` that did not fit."""
    _taken.cut += characters


def note(found: Counts) -> None:
    """Count what was masked by somebody who remembered a text."""
    kinds = _taken.found
    for kind, times in found:
        kinds[kind] = kinds.get(kind, 0) + times


def take() -> tuple[dict[str, int], int]:
    """What was masked, by kind, and how many characters were left out, on this thread since the last time."""
    found, cut = _taken.found, _taken.cut
    if not found and not cut:
        return {}, 0
    _taken.found, _taken.cut = {}, 0
    return found, cut


def mark(attributes: dict[str, Any], key: str, left_out: int = 0, what: str = "items") -> None:
    """Say beside the content attribute ``key`` by what it was masked, how often, and what did not fit.

    Counts are added to those that ``attributes`` has already. ``left_out`` of ``what`` went as a whole.
    """
    found, cut = take()
    _count(attributes, found.items())
    if cut or left_out:
        attributes.setdefault(semconv.CONTENT_TRUNCATED, []).append(f"{key}: {left_out} {what}, {cut} characters")


def masked(text: str, attributes: dict[str, Any]) -> str:
    """``text`` masked and not cut; what that took is counted in ``attributes``, on top of what is counted there.

    For a text that goes beside the content: a comment, the message of an error.
    """
    said, found = examine(text)
    _count(attributes, found)
    return said


def _count(attributes: dict[str, Any], found: Iterable[tuple[str, int]]) -> None:
    attributes[semconv.REDACTION_POLICY] = policy()
    for kind, times in found:
        counted = f"{semconv.REDACTION_ENTITIES}.{kind}"
        attributes[counted] = attributes.get(counted, 0) + times
