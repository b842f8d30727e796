"""The life of one call to a model: started, perhaps streamed, ended exactly once. Spans and metrics, no library.

A call is ended by whoever learns first how it went: the wrapper around the request, the stream, the response that the
application closed, the garbage collector, or the end of the process.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

from backspan import context, semconv, telemetry
from backspan._guard import guarded
from backspan.config import settings
from backspan.instrument._outcome import ABANDONED, DISCONNECTED, FAILED, capped, error_message, error_type, outcome_of

if TYPE_CHECKING:
    from contextvars import Token

    from backspan.instrument._stream import Fold

_SCOPE_LABELS = (semconv.PROMPT_NAME, semconv.PROMPT_VERSION, semconv.VARIANT)

_clock = time.perf_counter
_open: dict[int, Call] = {}
orphans: deque[tuple[Call, int]] = deque()


@dataclass(frozen=True)
class Service:
    """Who answers, found once per client: attributes for spans, and the fewer labels for metrics."""

    attributes: dict[str, Any]
    labels: dict[str, Any]


@dataclass(frozen=True)
class Operation:
    """What is asked for. ``answers``: whether its result is an answer that people may judge."""

    name: str
    answers: bool


class Asked(NamedTuple):
    """What a request says: the model, attributes that are always recorded, and content, empty while content is off."""

    model: str | None
    attributes: dict[str, Any]
    instructions: str | None
    content: dict[str, Any]
    prompt: tuple[str, str | None] | None = None


class Call:
    """One call. Extractors fill the public fields; `end` turns them into a span and metrics, once."""

    __slots__ = (
        "__weakref__", "_context", "_dims_version", "_labels", "_operation", "_prompt", "_scope", "_started", "_ticket",
        "_to", "_token", "asked", "attributes", "error_type", "finish_reasons", "first_chunk", "first_content", "fold",
        "input_tokens", "output_tokens", "recording", "response_id", "response_model", "span", "stream",
    )

    def __init__(self, operation: Operation, service: Service, asked: Asked, stream: bool) -> None:
        self._operation, self.asked, self.stream = operation, asked, stream
        self._ticket = [True]
        self._scope = context.current()
        self._to = telemetry.instruments()  # now: at the end of the process none can be made
        self._labels = {semconv.OPERATION_NAME: operation.name, **service.labels}
        self._token: Token[Context] | None = None
        self.attributes: dict[str, Any] = asked.content
        self.fold: Fold[Any] | None = None
        self.response_id: str | None = None
        self.response_model: str | None = None
        self.finish_reasons: list[str] = []
        self.input_tokens: int | None = None
        self.output_tokens: int | None = None
        self.error_type: str | None = None
        self.first_chunk = self.first_content = 0.0
        self._start(operation, service, asked)

    def _start(self, operation: Operation, service: Service, asked: Asked) -> None:
        if asked.model:
            self._labels[semconv.REQUEST_MODEL] = asked.model
        attributes = {**self._labels, **service.attributes, **asked.attributes}
        self._name_prompt(attributes, asked)
        attributes.update(self._scope.attributes)
        name = f"{operation.name} {asked.model}" if asked.model else operation.name
        self._started = _clock()
        self.span = telemetry.get_tracer().start_span(name, kind=SpanKind.CLIENT, attributes=attributes)
        self.recording = self.span.is_recording()
        self._context = set_span_in_context(self.span)

    def _name_prompt(self, attributes: dict[str, Any], asked: Asked) -> None:
        """The version is what the application or the request names, else the hash of the system instructions."""
        self._prompt, version = asked.prompt or (None, None)
        if asked.instructions:
            attributes[semconv.PROMPT_HASH] = digest = context.prompt_hash(asked.instructions)
            version = version or capped(digest)
        self._dims_version = version
        if self._prompt:
            attributes[semconv.PROMPT_NAME] = self._prompt
        if version:
            attributes[semconv.PROMPT_VERSION] = version

    # --- the current span -------------------------------------------------------------------------------------------
    def enter(self) -> None:
        """Make the span current, for the duration of the request."""
        self._token = attach(self._context)

    def leave(self) -> None:
        """Make the caller's span current again."""
        # A coroutine may be closed in another context than it ran in; there is nothing to give back there.
        if self._token is not None and get_current() is self._context:
            detach(self._token)
        self._token = None

    # --- handed out -------------------------------------------------------------------------------------------------
    def hand_out(self) -> None:
        """The application holds a stream or an unread response now; the end of the process ends the call too."""
        _open[id(self)] = self
        if len(_open) == 1:
            _have_exit_told()

    def abandon(self) -> None:
        """End a call whose stream was garbage-collected, as soon as that is safe.

        A collection may start while this thread holds a lock of OpenTelemetry's or ours: then the call is ended at the
        next one, with the time of now.
        """
        if not self._ticket:
            return
        if _inside_telemetry():
            orphans.append((self, time.time_ns()))
        else:
            self.stop(ABANDONED)

    # --- the end ----------------------------------------------------------------------------------------------------
    @guarded
    def stop(self, outcome: str, error: BaseException | None = None, at: int | None = None) -> None:
        """End a streamed call with ``outcome``, after what was seen of the stream has been read out."""
        if self.fold is not None and self._ticket:
            outcome = self.fold.settle(outcome)
        if self.stream:
            self.attributes[semconv.STREAM_OUTCOME] = outcome
        self.end(error if outcome in (DISCONNECTED, FAILED) else None, at)

    @guarded
    def fail(self, error: BaseException) -> None:
        """End the call with what the request raised."""
        if self.stream:
            self.attributes[semconv.STREAM_OUTCOME] = outcome_of(error, False)
        self.end(error)

    def end(self, error: BaseException | None = None, at: int | None = None) -> None:
        """End the span and record the metrics; only the first call does anything. ``at`` is in Unix nanoseconds."""
        try:
            self._ticket.pop()  # whoever gets it ends the call: threads, finalisers and exit may race
        except IndexError:
            return
        elapsed = _clock() - self._started
        _open.pop(id(self), None)
        self.fold = None  # it refers to us: without this, only the garbage collector could free either
        if error is not None:
            self.error_type = self.error_type or error_type(error)
        if self.recording:
            self._close_span(error, at)
        self._record(elapsed)
        if self._answered():
            self._remember()

    def _close_span(self, error: BaseException | None, at: int | None) -> None:
        late = self.attributes
        for key, value in (
            (semconv.RESPONSE_ID, self.response_id), (semconv.RESPONSE_MODEL, self.response_model),
            (semconv.RESPONSE_FINISH_REASONS, self.finish_reasons or None),
            (semconv.USAGE_INPUT_TOKENS, self.input_tokens), (semconv.USAGE_OUTPUT_TOKENS, self.output_tokens),
            (semconv.ERROR_TYPE, self.error_type),
        ):
            if value is not None:
                late[key] = value
        if self.first_chunk:
            late[semconv.RESPONSE_TIME_TO_FIRST_CHUNK] = self.first_chunk - self._started
        if self.first_content:
            late[semconv.STREAM_TIME_TO_FIRST_CONTENT] = self.first_content - self._started
        if self.error_type is not None:
            self.span.set_status(Status(StatusCode.ERROR, error_message(error)))
        self.span.set_attributes(late)
        self.span.end(at)

    def _record(self, elapsed: float) -> None:
        labels, to = self._labels, self._to
        if self.response_model:
            labels[semconv.RESPONSE_MODEL] = self.response_model
        said = self._scope.attributes
        if said:
            labels.update({key: said[key] for key in _SCOPE_LABELS if key in said})
        failed = {**labels, semconv.ERROR_TYPE: self.error_type} if self.error_type else labels
        both = settings().semconv_both
        if not self._operation.answers or both:
            to.operation_duration.record(elapsed, failed, self._context)
        if self._operation.answers:
            to.inference_duration.record(elapsed, failed, self._context)
            self._record_tokens(labels)
            if self.first_chunk:
                to.time_to_first_chunk.record(self.first_chunk - self._started, labels, self._context)
        if both:
            self._record_old(labels)

    def _record_tokens(self, labels: dict[str, Any]) -> None:
        known = self.input_tokens is not None or self.output_tokens is not None
        series = frozenset({**labels, semconv.TOKEN_MODALITY: "text" if known else "unknown"}.items())
        self._to.input_tokens.add_to(series, self.input_tokens or 0)
        self._to.output_tokens.add_to(series, self.output_tokens or 0)

    def _record_old(self, labels: dict[str, Any]) -> None:
        to = self._to
        for kind, tokens in (("input", self.input_tokens), ("output", self.output_tokens)):
            if tokens is not None:
                to.old_token_usage.record(tokens, {**labels, semconv.TOKEN_TYPE: kind}, self._context)
        if self.first_chunk:
            to.old_time_to_first_chunk.record(self.first_chunk - self._started, labels, self._context)

    def _answered(self) -> bool:
        """Whether somebody may have seen an answer: a whole one, or the beginning of a broken one."""
        return self._operation.answers and (self.error_type is None or bool(self.first_content))

    def _remember(self) -> None:
        at = self.span.get_span_context()
        scope = self._scope
        labels = context.dims(scope, self.asked.model, self._dims_version)
        if self._prompt and not scope.prompt_name:
            labels[semconv.PROMPT_NAME] = self._prompt
        turn = scope.turn.id if scope.turn is not None else None
        trace_id, span_id = (f"{at.trace_id:032x}", f"{at.span_id:016x}") if at.is_valid else (None, None)
        context.answered(context.Target(
            trace_id, span_id, int(at.trace_flags), self.response_id, scope.conversation_id, turn, labels, time.time(),
        ), scope)


# --- streams that nobody ended --------------------------------------------------------------------------------------
_FINALISERS = frozenset({"_inside_telemetry", "abandon", "__del__", "ended", "call", "watch", "awatch"})
_LOCKING = ("opentelemetry.", "backspan.", "prometheus_client.")


def _inside_telemetry() -> bool:
    """Tell whether this thread is in code that may hold a lock we need; the finaliser's own frames are not."""
    frame: FrameType | None = sys._getframe()  # pyright: ignore[reportPrivateUsage]
    while frame is not None and frame.f_code.co_name in _FINALISERS:
        frame = frame.f_back
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).startswith(_LOCKING):
            return True
        frame = frame.f_back
    return False


@guarded
def reap() -> None:
    """End the calls that could not be ended when their stream was collected."""
    while orphans:
        call, at = orphans.popleft()
        call.stop(ABANDONED, at=at)


def _have_exit_told() -> None:
    telemetry.at_exit(end_all)


def end_all() -> None:
    """End every open call: the process is about to end, and the providers with it."""
    reap()
    for call in list(_open.values()):
        call.stop(ABANDONED)


def _after_fork_in_child() -> None:
    for call in list(_open.values()):
        call._ticket.clear()  # pyright: ignore[reportPrivateUsage]  # the parent ends what it began
    _open.clear()
    orphans.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
