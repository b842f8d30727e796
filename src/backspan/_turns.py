"""What can be judged: a turn, or a single call. And which of them this process answered last."""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from types import MappingProxyType
from typing import NamedTuple

from opentelemetry.trace import Span, SpanContext

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


class Answer(NamedTuple):
    """What a call knows of its answer when it ends: made for every call, turned into a `Target` for the few judged."""

    context: SpanContext
    response_id: str | None
    conversation_id: str | None
    turn_id: str | None
    dims: Mapping[str, str]
    at: float

    def target(self) -> Target:
        """The answer as something that can be judged."""
        ids: tuple[str | None, str | None] = (None, None)
        if self.context.is_valid:
            ids = f"{self.context.trace_id:032x}", f"{self.context.span_id:016x}"
        return Target(*ids, int(self.context.trace_flags), self.response_id, self.conversation_id, self.turn_id,
                      dict(self.dims), self.at)


class Turn:
    """One thing the user saw: the answer to one request, whatever calls it took. A handle for feedback."""

    def __init__(self, name: str | None = None, span: Span | None = None, conversation_id: str | None = None) -> None:
        self.name = name
        self.conversation_id = conversation_id
        self.answered = self.ended = False
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

    @property
    def at(self) -> float:
        """When it was answered last, or else opened, in Unix seconds."""
        return self._at

    def asked(self, dims: Mapping[str, str]) -> None:
        """Note what is known of an answer when a model is asked, for a token that leaves before the answer does."""
        if not self.answered:
            self._dims = dims

    def saw(self, answer: Answer) -> bool:
        """Note the answer of a model inside this turn; the last one is what the user saw.

        False if it is the first one and the turn has ended: then nobody has counted this turn's answer yet.
        """
        late = self.ended and not self.answered
        self.answered, self.response_id, self._dims, self._at = True, answer.response_id, answer.dims, answer.at
        return not late

    def target(self) -> Target:
        """The turn as a `Target`, with what is known of it now."""
        if self._context is None or not self._context.is_valid:
            return Target(response_id=self.response_id, conversation_id=self.conversation_id, dims=self._dims)
        trace_id, span_id = f"{self._context.trace_id:032x}", f"{self._context.span_id:016x}"
        return Target(trace_id, span_id, int(self._context.trace_flags), self.response_id, self.conversation_id,
                      f"{trace_id}-{span_id}", dict(self._dims), self._at)


_remembered: OrderedDict[str | int, Target | Answer] = OrderedDict()
"""By response id, or by trace and span id as one number: writing every call's ids out costs more than keeping it."""
_lock = Lock()


def _key(text: str) -> str | int:
    if len(text) == 49 and text[32] == "-":
        try:
            return int(text[:32], 16) << 64 | int(text[33:], 16)
        except ValueError:
            return text
    return text


def _keep(key: str | int, known: Target | Answer) -> None:
    _remembered[key] = known
    _remembered.move_to_end(key)
    if len(_remembered) > _REMEMBERED:
        _remembered.popitem(last=False)


def remember(key: str, target: Target) -> None:
    """Keep ``target`` so that feedback finds it by ``gen_ai.response.id``, or by ``<trace id>-<span id>``.

    The 20,000 newest keys are kept.
    """
    with _lock:
        _keep(_key(key), target)


def remember_answer(answer: Answer) -> None:
    """Keep ``answer`` under both of its ids."""
    at = answer.context
    with _lock:
        if answer.response_id:
            _keep(answer.response_id, answer)
        if at.is_valid:
            _keep(at.trace_id << 64 | at.span_id, answer)


def lookup(key: str) -> Target | None:
    """The target that this process remembers under ``key``, or None if it is not (or no longer) known."""
    with _lock:
        known = _remembered.get(_key(key))
    return known.target() if isinstance(known, Answer) else known


def _after_fork_in_child() -> None:
    global _lock
    _lock = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
