"""The turn of a web request: opened by its first call to a model or a retriever, so that other requests have none.

A server's request is served in many tasks and threads, and its answer's headers leave before a streamed model has
spoken. All of them share one `Request`, which holds the turn that its calls belong to.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from threading import RLock
from typing import Any

from opentelemetry.context import Context, get_current
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, get_current_span, set_span_in_context

from backspan import semconv, telemetry
from backspan._guard import guard
from backspan._turns import Turn, remember


def start_turn(name: str | None, attributes: Mapping[str, Any], conversation_id: str | None) -> tuple[Turn, Span]:
    """Start the span of a turn here; ``attributes`` are those of the scope."""
    said: dict[str, Any] = {semconv.OPERATION_NAME: semconv.INVOKE_WORKFLOW, **attributes}
    if name:
        said[semconv.WORKFLOW_NAME] = name
    shown = f"{semconv.INVOKE_WORKFLOW} {name}" if name else semconv.INVOKE_WORKFLOW
    span = telemetry.get_tracer().start_span(shown, kind=SpanKind.INTERNAL, attributes=said)
    turn = Turn(name, span, conversation_id)
    span.set_attribute(semconv.TURN_ID, turn.id or "")
    return turn, span


def end_turn(turn: Turn, span: Span, kind: type[BaseException] | None) -> None:
    """End the span of ``turn`` and count its answer, if it has one; ``kind`` is the exception that ended it."""
    if kind is not None and issubclass(kind, Exception):
        span.set_status(Status(StatusCode.ERROR))
        span.set_attribute(semconv.ERROR_TYPE, kind.__qualname__)
    turn.ended = True
    target = turn.target()
    if turn.answered:
        instruments = telemetry.instruments()
        instruments.answers.add(1, instruments.bounds.of(target.dims), context=set_span_in_context(span))
        span.set_attributes({key: value for key, value in target.dims.items() if value})
        remember(target.turn_id or "", target)
    span.end()


class Request:
    """One request being served. Safe for threads.

    Attributes:
        turn: the turn of the calls that the application put into no turn of its own; None until there is one.
        said: the last turn that the application opened itself.
        user: pseudonym of the user of the session in which the first call was made.
        ended: the answer has left; what runs now is no part of it.
        told: the application has put the token into the answer itself.
        ways: how the token gets onto the answer; the middleware knows what that is.
    """

    def __init__(self, ways: Any = None) -> None:
        self.ways = ways
        self.turn: Turn | None = None
        self.said: Turn | None = None
        self.user: str | None = None
        self.ended = self.told = False
        self._span: Span | None = None
        self._around: Span | None = None
        self._lock = RLock()  # reentrant: a span may be ended by a finaliser that runs in the middle of these lines
        self._scopes: tuple[Any, Any] | None = None

    def open(self, attributes: Mapping[str, Any], conversation_id: str | None, user: str | None) -> Turn | None:
        """The request's turn, opened now if need be; None after the answer has left."""
        with self._lock:
            if self.turn is None and not self.ended:
                self._around = get_current_span()
                self.user = user
                self.turn, self._span = start_turn(None, attributes, conversation_id)
            return None if self.ended else self.turn

    def parent(self) -> Context | None:
        """The context for a call that starts here: below the turn, unless it has another parent by now (None)."""
        if self._span is None or self._around is None:
            return None
        if get_current_span().get_span_context() != self._around.get_span_context():
            return None
        return set_span_in_context(self._span, get_current())

    def joined(self, scope: Any, join: Any) -> Any:
        """``join(scope)``, made once for each scope in a row: the scope with this request's turn."""
        last = self._scopes
        if last is None or last[0] is not scope:
            self._scopes = last = (scope, join(scope))
        return last[1]

    def judged(self) -> Turn | None:
        """The turn that the answer is about: the last that a model answered, else the last that was opened."""
        found = [turn for turn in (self.turn, self.said) if turn is not None]
        answered = [turn for turn in found if turn.answered]
        return max(answered, key=lambda turn: turn.at) if answered else found[-1] if found else None

    def end(self, kind: type[BaseException] | None = None) -> None:
        """The answer has left, or its making was ended by an exception of type ``kind``. Repeating it is harmless."""
        with self._lock:
            self.ended, span, self._span = True, self._span, None
        if span is not None and self.turn is not None:
            with guard("request.end"):
                end_turn(self.turn, span, kind)


request: ContextVar[Request | None] = ContextVar("backspan.request", default=None)
"""The request that is served here, if a middleware of ours said so."""


def serving() -> Request | None:
    """The request whose answer is being made here; None outside of one, and after its answer has left."""
    here = request.get()
    return None if here is None or here.ended else here
