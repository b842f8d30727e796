"""What can be judged: a turn, or a single call. And which of them this process answered last."""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from types import MappingProxyType

from opentelemetry.trace import Span

_REMEMBERED = 20_000
_EMPTY: Mapping[str, str] = MappingProxyType({})


def _nothing_said() -> Mapping[str, str]:
    return _EMPTY


@dataclass(frozen=True)
class Target:
    """A turn or a single call that can be judged, with the low-cardinality facts a metric needs.

    ``trace_id`` and ``span_id`` are 32 and 16 lower-case hex digits; ``dims`` has the keys of `semconv.DIMENSIONS`;
    ``at`` is the time of the answer in Unix seconds.
    """

    trace_id: str | None = None
    span_id: str | None = None
    trace_flags: int = 0
    response_id: str | None = None
    conversation_id: str | None = None
    turn_id: str | None = None
    dims: Mapping[str, str] = field(default_factory=_nothing_said)
    at: float | None = None


class Turn:
    """One thing the user saw: the answer to one request, whatever calls it took. A handle for feedback."""

    def __init__(self, name: str | None = None, span: Span | None = None, conversation_id: str | None = None) -> None:
        self.name = name
        self.conversation_id = conversation_id
        self.answered = False
        self.response_id: str | None = None
        self.index: tuple[str | None, str | None] = (None, None)
        self._dims: Mapping[str, str] = _EMPTY
        self._context = span.get_span_context() if span is not None else None
        self._at = time.time()

    @property
    def id(self) -> str | None:
        """``<trace id>-<span id>`` of the turn's span, or None while backspan is off."""
        target = self.target()
        return target.turn_id

    def saw(self, target: Target) -> None:
        """Note the answer of a model inside this turn; the last one is what the user saw."""
        self.answered, self.response_id, self._dims, self._at = True, target.response_id, target.dims, time.time()

    def target(self) -> Target:
        """The turn as a `Target`, with what is known of it now."""
        if self._context is None or not self._context.is_valid:
            return Target(response_id=self.response_id, conversation_id=self.conversation_id, dims=self._dims)
        trace_id, span_id = f"{self._context.trace_id:032x}", f"{self._context.span_id:016x}"
        return Target(trace_id, span_id, int(self._context.trace_flags), self.response_id, self.conversation_id,
                      f"{trace_id}-{span_id}", self._dims, self._at)


_remembered: OrderedDict[str, Target] = OrderedDict()
_lock = Lock()


def remember(key: str, target: Target) -> None:
    """Keep ``target`` so that feedback finds it by ``gen_ai.response.id``, or by ``<trace id>-<span id>``.

    The 20,000 newest keys are kept.
    """
    with _lock:
        _remembered[key] = target
        _remembered.move_to_end(key)
        if len(_remembered) > _REMEMBERED:
            _remembered.popitem(last=False)


def lookup(key: str) -> Target | None:
    """The target that this process remembers under ``key``, or None if it is not (or no longer) known."""
    with _lock:
        return _remembered.get(key)


def _after_fork_in_child() -> None:
    global _lock
    _lock = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
