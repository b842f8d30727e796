"""How a call ended, in the few words that a label can hold."""

from __future__ import annotations

from typing import Any

from backspan import semconv
from backspan.config import settings
from backspan.redact.parts import masked

COMPLETE, CLOSED, CANCELLED, ABANDONED, DISCONNECTED, FAILED, INCOMPLETE = semconv.OUTCOMES
_OTHER_VERSION = "other"
_MOST_VERSIONS = 100
_MOST_MESSAGE = 1000
_TRANSPORT = frozenset({"APIConnectionError", "TransportError", "ConnectionError", "TimeoutError"})
_CLOSED = frozenset({"StreamClosed", "StreamConsumed"})
_PROVIDER_ERROR = "APIError"


def outcome_of(error: BaseException | None, terminal: bool) -> str:
    """The outcome of a stream that ``error`` stopped, or that ran out (None); ``terminal``: its last word was seen."""
    if terminal and (error is None or isinstance(error, GeneratorExit)):
        return COMPLETE
    if error is None:
        return INCOMPLETE
    if isinstance(error, GeneratorExit):
        return ABANDONED
    names = {base.__name__ for base in type(error).__mro__}
    if names & _TRANSPORT:
        return DISCONNECTED
    if names & _CLOSED:
        return CLOSED
    return FAILED if isinstance(error, Exception) else CANCELLED


def error_type(error: BaseException) -> str:
    """``error.type``: the provider's own code for an error inside a stream, else the name of the exception's class."""
    kind = type(error)
    if kind.__name__ == _PROVIDER_ERROR:
        for said in (getattr(error, "code", None), getattr(error, "type", None)):
            if isinstance(said, str) and said.isidentifier() and len(said) <= 64:
                return said
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def error_message(error: BaseException | None, attributes: dict[str, Any]) -> str | None:
    """The message of ``error``, which may quote the prompt: only while content is on.

    What is masked in it is counted in ``attributes``.
    """
    if error is None or not settings().content:
        return None
    return masked(str(error), attributes)[:_MOST_MESSAGE]


_versions: set[str] = set()


def capped(version: str) -> str:
    """``version`` as long as few are known: instructions that hold the date or documents must not make a label each."""
    if version in _versions:
        return version
    if len(_versions) >= _MOST_VERSIONS:
        return _OTHER_VERSION
    _versions.add(version)
    return version
