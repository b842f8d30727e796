"""Readers of single fields: each takes the given fields, returns the value in its type, or raises `InvalidFeedback`."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import Any, Final, cast

from backspan import semconv

MAX_REASONS: Final = 8
MAX_COMMENT: Final = 4096
"""Characters."""
MAX_CORRECTION: Final = 16384
"""Characters."""
MAX_QUOTE: Final = 1024
"""Characters of a quoted part of the answer."""
MAX_CANDIDATES: Final = 8
"""Answers in one comparison."""
MAX_ID: Final = 256
"""Characters of a response id, conversation id, rater or dimension."""

DIMS: Final = (*semconv.DIMENSIONS, semconv.ENVIRONMENT, semconv.SERVICE_NAME)
CODE: Final = re.compile(r"[a-z0-9_]{1,64}")
"""A feedback name or a reason."""
LABEL: Final = re.compile(r"[A-Za-z0-9_.\- ]{1,64}")
_HEX = {32: re.compile(r"[0-9a-f]{32}"), 16: re.compile(r"[0-9a-f]{16}")}


class InvalidFeedback(ValueError):
    """An argument of a judgement or its target is wrong; nothing was recorded.

    Attributes:
        field: the argument's or JSON field's name.
        message: what is wrong with it. Never quotes what was given, which may be personal.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


def name(given: Mapping[str, Any]) -> str:
    """A feedback name with one of the declared prefixes and something after it."""
    found = given["name"]
    if not isinstance(found, str) or not CODE.fullmatch(found):
        raise InvalidFeedback("name", "must be 1 to 64 of a-z, 0-9 and _")
    if not any(found.startswith(prefix) and found != prefix for prefix in semconv.NAME_PREFIXES):
        raise InvalidFeedback("name", f"must start with one of {', '.join(semconv.NAME_PREFIXES)}")
    return found


def number(given: Mapping[str, Any]) -> float | None:
    """A finite number, or None when absent; a boolean is 1.0 or 0.0."""
    value = given.get("value")
    if value is None:
        return None
    if not isinstance(value, int | float) or abs(value) > 1e15 or not math.isfinite(value):
        raise InvalidFeedback("value", "must be a boolean or a finite number of at most 1e15")
    return float(value)


def label(given: Mapping[str, Any], field: str = "label") -> str | None:
    """A short word, or None when absent."""
    found = given.get(field)
    if found is not None and (not isinstance(found, str) or not LABEL.fullmatch(found)):
        raise InvalidFeedback(field, "must be 1 to 64 letters, digits, spaces, '_', '.' or '-'")
    return found


def reasons(given: Mapping[str, Any]) -> tuple[str, ...]:
    """Codes, without repetition and sorted."""
    found = given.get("reasons", ())
    if not isinstance(found, list | tuple | set | frozenset):
        raise InvalidFeedback("reasons", "must be a list of codes")
    codes = cast("Collection[object]", found)
    if len(codes) > MAX_REASONS:
        raise InvalidFeedback("reasons", f"at most {MAX_REASONS}")
    if not all(isinstance(code, str) and CODE.fullmatch(code) for code in codes):
        raise InvalidFeedback("reasons", "each must be 1 to 64 of a-z, 0-9 and _")
    return tuple(sorted({str(code) for code in codes}))


def text(given: Mapping[str, Any], field: str, limit: int) -> str | None:
    """Text that UTF-8, protobuf and PostgreSQL can all hold: no lone surrogates, no NUL."""
    found = given.get(field)
    if found is None:
        return None
    if not isinstance(found, str) or not found:
        raise InvalidFeedback(field, "must be a non-empty string")
    if len(found) > limit:
        raise InvalidFeedback(field, f"at most {limit} characters")
    if "\0" in found or any("\ud800" <= character <= "\udfff" for character in found):
        raise InvalidFeedback(field, "must be valid Unicode without NUL")
    return found


def flag(given: Mapping[str, Any], field: str) -> bool:
    """A boolean, False when absent."""
    found = given.get(field, False)
    if not isinstance(found, bool):
        raise InvalidFeedback(field, "must be true or false")
    return found


def optional_flag(given: Mapping[str, Any], field: str) -> bool | None:
    """A boolean, None when absent: nobody said."""
    return flag(given, field) if given.get(field) is not None else None


def choice(given: Mapping[str, Any], field: str, choices: tuple[str, ...]) -> str | None:
    """One of ``choices``, or None when absent."""
    chosen = given.get(field)
    if chosen is not None and chosen not in choices:
        raise InvalidFeedback(field, f"must be one of {', '.join(choices)}")
    return chosen


def hex_id(given: Mapping[str, Any], field: str, digits: int) -> str | None:
    """``digits`` lower-case hex digits, not all zero, or None when absent."""
    text = given.get(field)
    if text is None:
        return None
    if not isinstance(text, str) or not _HEX[digits].fullmatch(text):
        raise InvalidFeedback(field, f"must be {digits} lower-case hex digits")
    if not text.strip("0"):
        raise InvalidFeedback(field, "must not be all zero")
    return text


def trace_flags(given: Mapping[str, Any]) -> int:
    """W3C trace flags; absent means sampled: whoever has the id of a trace has mostly seen the trace."""
    flags = given.get("trace_flags", 1)
    if isinstance(flags, bool) or not isinstance(flags, int) or not 0 <= flags <= 255:
        raise InvalidFeedback("trace_flags", "must be a whole number from 0 to 255")
    return flags


def dims(given: Mapping[str, Any]) -> Mapping[str, str]:
    """Metric dimensions: keys of `semconv.DIMENSIONS`, and the environment and service that answered."""
    found = given.get("dims", {})
    if not isinstance(found, Mapping):
        raise InvalidFeedback("dims", "must be an object")
    items = cast("Mapping[object, object]", found)
    for key, value in items.items():
        if key not in DIMS:
            raise InvalidFeedback("dims", f"keys must be among {', '.join(DIMS)}")
        if value != "":
            text({"dims": value}, "dims", MAX_ID)
    return {str(key): str(value) for key, value in items.items()}


def at(given: Mapping[str, Any]) -> float | None:
    """Unix seconds, or None when absent."""
    found = given.get("at")
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found <= 4e9:
        raise InvalidFeedback("at", "must be unix seconds")
    return float(found)


def whole(value: object, field: str, least: int, most: int) -> int:
    """A whole number from ``least`` to ``most``."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidFeedback(field, f"must be a whole number from {least} to {most}")
    return value


def quote(given: Mapping[str, Any]) -> dict[str, Any] | None:
    """The marked part of an answer: ``text``, and ``start`` and ``end`` in characters; None when absent."""
    found = given.get("quote")
    if found is None:
        return None
    if not isinstance(found, Mapping) or set(cast("Mapping[object, Any]", found)) != {"text", "start", "end"}:
        raise InvalidFeedback("quote", "must be an object with text, start and end")
    said = cast("Mapping[str, Any]", found)
    words = text({"quote": said["text"]}, "quote", MAX_QUOTE)
    start, end = (whole(said[key], "quote", 0, 10**7) for key in ("start", "end"))
    if end <= start:
        raise InvalidFeedback("quote", "must end after it starts")
    return {"text": words, "start": start, "end": end}


CONSENTS: Final = ("analytics", "improve", "contact")
"""What a person can agree to: being counted, being used to improve the system, being written to."""


def consent(given: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the judge agreed to: flags of `CONSENTS` and the ``policy`` he saw; None when absent."""
    found = given.get("consent")
    if found is None:
        return None
    if not isinstance(found, Mapping):
        raise InvalidFeedback("consent", f"must be an object with {', '.join(CONSENTS)} and policy")
    said = cast("Mapping[str, Any]", found)
    for key, value in said.items():
        fits = isinstance(value, bool) if key in CONSENTS else isinstance(value, str) and LABEL.fullmatch(value)
        if key not in (*CONSENTS, "policy") or not fits:
            raise InvalidFeedback("consent", f"{', '.join(CONSENTS)} are true or false, policy is a short word")
    return dict(said)


CIRCUMSTANCES: Final = ("consent", "surface", "ui_variant", "positions", "position")
"""Fields that say how a judgement came about, and are no part of it."""


def circumstances(given: Mapping[str, Any]) -> dict[str, Any] | None:
    """What is said of `CIRCUMSTANCES`, None if nothing is.

    ``surface`` and ``ui_variant`` are short words for where and in which form it was asked, ``positions`` says where
    each reason was shown (from 1), ``position`` where the answer was.
    """
    if not any(key in given for key in CIRCUMSTANCES):
        return None
    words = {key: label(given, key) for key in ("surface", "ui_variant") if key in given}
    places = {"position": whole(given["position"], "position", 1, 100)} if "position" in given else {}
    shown = {"positions": _positions(given["positions"])} if "positions" in given else {}
    agreed = {"consent": consent(given)} if "consent" in given else {}
    return {**agreed, **words, **places, **shown}


def _positions(found: object) -> dict[str, int]:
    items: Mapping[object, object] = cast("Mapping[object, object]", found) if isinstance(found, Mapping) else {}
    if not 0 < len(items) <= 50 or not all(isinstance(code, str) and CODE.fullmatch(code) for code in items):
        raise InvalidFeedback("positions", "must be an object of at most 50 reasons")
    return {str(code): whole(place, "positions", 1, 100) for code, place in items.items()}
