"""What an answer says beside its text: refusals, tool calls, broken JSON, confidence, another model than asked for.

Everything here is put into the attributes of a call, and only when the answer carries it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from backspan import semconv
from backspan.instrument._content import Json, each, field

if TYPE_CHECKING:
    from backspan.instrument._call import Call

_FILTERED = "content_filter"
_IDS = {name: rank for rank, name in enumerate((b"x-request-id", b"apim-request-id", b"request-id"))}
_REMAINING = {
    b"x-ratelimit-remaining-requests": semconv.RATELIMIT_REMAINING_REQUESTS,
    b"x-ratelimit-remaining-tokens": semconv.RATELIMIT_REMAINING_TOKENS,
}
_MOST_ID = 128
_MOST_JSON = 1_000_000
_VERSION = re.compile(r"(?:[-@](?:v?\d[\d.]*|latest|preview|exp|beta))*(?::.*)?")


# --- the response's headers -----------------------------------------------------------------------------------------
def take_headers(call: Call, headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Take the request's id and what is left of the rate limits from ``headers``, pairs of bytes as httpx keeps them.

    Nothing else of the headers is looked at: they may hold keys and cookies.
    """
    found = call.attributes
    best = len(_IDS)
    for name, value in headers:
        if len(name) not in _LENGTHS:
            continue
        name = name.lower()
        key = _REMAINING.get(name)
        if key is not None:
            if value.isdigit():
                found[key] = int(value)
        elif _IDS.get(name, best) < best:
            best = _IDS[name]
            found[semconv.REQUEST_ID] = value.decode("latin-1")[:_MOST_ID]


_LENGTHS = frozenset(len(name) for name in (*_IDS, *_REMAINING))


# --- the answer -----------------------------------------------------------------------------------------------------
def put_tool_calls(call: Call, arguments: list[Any]) -> None:
    """Count tool calls by their arguments: the text of a JSON object, or None where a tool takes free text."""
    if arguments:
        call.attributes[semconv.TOOL_CALL_COUNT] = len(arguments)
        call.attributes[semconv.TOOL_CALL_INVALID] = sum(not _takes(text) for text in arguments)


def _takes(arguments: Any) -> bool:
    return arguments is None or isinstance(_parsed(arguments), dict)


def put_refusal(call: Call, refused: object) -> None:
    """Say that the model refused (``refused`` is true), or that a filter cut the answer."""
    if refused or _FILTERED in call.finish_reasons:
        call.attributes[semconv.REFUSED] = True


def put_shape(call: Call, text: str | None) -> None:
    """Say so when ``text``, all of an answer that was to be JSON, is not."""
    if text and _parsed(text) is _BROKEN:
        call.attributes[semconv.SCHEMA_FAILED] = True


_BROKEN = object()


def _parsed(text: Any) -> Any:
    """The value of JSON, `_BROKEN` if it is none. What is too long to parse here is taken for an object."""
    if not isinstance(text, str):
        return cast(Any, text) if isinstance(text, dict) else _BROKEN
    if len(text) > _MOST_JSON:
        return {}
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _BROKEN


def log_probabilities(tokens: Any) -> list[float]:
    """The log-probabilities of a list of tokens."""
    said = (field(token, "logprob") for token in each(tokens))
    return [float(value) for value in said if isinstance(value, int | float) and not math.isnan(value)]


def put_confidence(call: Call, said: list[float]) -> None:
    """Condense the log-probabilities of an answer's tokens."""
    if said:
        call.attributes[semconv.CONFIDENCE_MEAN] = min(1.0, math.exp(sum(said) / len(said)))
        call.attributes[semconv.CONFIDENCE_MIN] = min(1.0, math.exp(min(said)))


def error_in(answer: Any) -> str | None:
    """The code of the error that stands in a body of status 200 instead of an answer, None if there is none."""
    error = field(answer, "error")
    if not error:
        return None
    for name in ("code", "type"):
        said = field(error, name)
        if said:
            return str(said)[:64]
    return "error"


@lru_cache(maxsize=512)
def differs(asked: str, served: str) -> bool:
    """Tell whether ``served`` is neither the model ``asked`` for nor a dated or tagged version of it.

    A vendor before a slash is not part of the name, and ``latest`` may stand for any version.
    """
    wanted = asked.lower().rpartition("/")[2].removesuffix("-latest")
    got = served.lower().rpartition("/")[2]
    shorter, longer = sorted((wanted, got), key=len)
    return not (longer.startswith(shorter) and _VERSION.fullmatch(longer[len(shorter):]))


def schema_failure(error: BaseException) -> bool:
    """Tell whether the client's own parser would not take the answer."""
    names = {base.__name__ for base in type(error).__mro__}
    return bool(names & {"ValidationError", "LengthFinishReasonError", "JSONDecodeError"})


def arguments_of(message: Json) -> list[Any]:
    """The arguments of the tool calls of a chat message, given by its fields; None where a tool takes free text."""
    arguments = [_arguments(call) for call in each(message.get("tool_calls"))]
    legacy = message.get("function_call")
    return arguments if legacy is None else [*arguments, field(legacy, "arguments")]


def _arguments(call: Any) -> Any:
    function = field(call, "function")
    return cast(Any, field(function, "arguments") or "") if function is not None else None
