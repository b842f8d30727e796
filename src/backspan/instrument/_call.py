"""The life of one call to a model: started, perhaps streamed, ended exactly once. Spans and metrics, no library.

A call is ended by whoever learns first how it went: the wrapper around the request, the stream, the response that the
application closed, the garbage collector, or the end of the process.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

from backspan import context, semconv, telemetry
from backspan._guard import guarded
from backspan.instrument import _cost, _measured, _unended
from backspan.instrument._facts import differs
from backspan.instrument._outcome import ABANDONED, DISCONNECTED, FAILED, capped, error_message, error_type, outcome_of

if TYPE_CHECKING:
    from contextvars import Token

    from backspan.instrument._stream import Fold

_clock = time.perf_counter
_open = _unended.calls
orphans, reap, end_all = _unended.orphans, _unended.reap, _unended.end_all
_running: ContextVar[Call | None] = ContextVar("backspan.call", default=None)


@dataclass(frozen=True)
class Service:
    """Who answers, found once per client: attributes for spans, and the fewer labels for metrics."""

    attributes: dict[str, Any]
    labels: dict[str, Any]
    prices: str | None = None
    """Its id in the price list, if there is a list and it is in there."""
    renames: bool = False
    """Whether models are called by names of the customer's own, so that another name is not another model."""


@dataclass(frozen=True)
class Operation:
    """What is asked for. ``answers``: whether its result is an answer that people may judge. ``inference``: whether one
    model gives it, which an agent's is not; it decides which metrics there are.
    """

    name: str
    answers: bool
    inference: bool = True


class Asked(NamedTuple):
    """What a request says: the model, attributes that are always recorded, and content, empty while content is off.

    ``subject`` follows the operation in the span's name where that is not the model; "" for nothing. ``tools``,
    ``logprobs`` and ``json`` say what the answer may therefore carry.
    """

    model: str | None
    attributes: dict[str, Any]
    instructions: str | None
    content: dict[str, Any]
    prompt: tuple[str, str | None] | None = None
    subject: str | None = None
    tools: bool = False
    logprobs: bool = False
    json: bool = False


class Call:
    """One call. Extractors fill the public fields; `end` turns them into a span and metrics, once."""

    __slots__ = (
        "__weakref__", "_outer", "_started", "_token", "answers", "asked", "attributes", "context", "error_type",
        "finish_reasons", "first_chunk", "first_content", "fold", "input_tokens", "labels", "modalities", "operation",
        "output_tokens", "prompt", "recording", "response", "response_id", "response_model", "scope", "service", "span",
        "stream", "ticket", "to", "version",
    )

    def __init__(self, operation: Operation, service: Service, asked: Asked, stream: bool) -> None:
        self.operation, self.service, self.asked, self.stream = operation, service, asked, stream
        self.ticket = [True]
        self.scope, parent = context.calling()
        self.to = telemetry.instruments()  # now: at the end of the process none can be made
        self.labels = {semconv.OPERATION_NAME: operation.name, **service.labels}
        self._token: Token[Context] | None = None
        self._outer: Call | None = None
        self.response: Any = None
        """The HTTP response, from when it is there until the SDK has made something of it; never of a stream."""
        self.answers = operation.answers
        """Whether what came back is an answer that people may judge; extractors know better than the operation."""
        self.modalities: dict[str, tuple[int, int]] | None = None
        """Input and output tokens by modality, where the provider tells them apart."""
        self.attributes: dict[str, Any] = asked.content
        self.fold: Fold[Any] | None = None
        self.response_id: str | None = None
        self.response_model: str | None = None
        self.finish_reasons: list[str] = []
        self.input_tokens: int | None = None
        self.output_tokens: int | None = None
        self.error_type: str | None = None
        self.first_chunk = self.first_content = 0.0
        self._start(operation, service, asked, parent)

    def _start(self, operation: Operation, service: Service, asked: Asked, parent: Context | None) -> None:
        if asked.model:
            self.labels[semconv.REQUEST_MODEL] = asked.model
        attributes = {**self.labels, **service.attributes, **asked.attributes}
        self.name_prompt(attributes, asked)
        attributes.update(self.scope.attributes)
        subject = asked.model if asked.subject is None else asked.subject
        name = f"{operation.name} {subject}" if subject else operation.name
        self._started = _clock()
        self.span = telemetry.get_tracer().start_span(
            name, context=parent, kind=SpanKind.CLIENT, attributes=attributes)
        if self.scope.turn is not None and operation.answers:
            self.scope.turn.asked(self.cohort()[0])
        self.recording = self.span.is_recording()
        self.context = set_span_in_context(self.span)

    def name_prompt(self, attributes: dict[str, Any], asked: Asked) -> None:
        """The version is what the application or the request names, else the hash of the system instructions."""
        self.prompt, version = asked.prompt or (None, None)
        if asked.instructions:
            attributes[semconv.PROMPT_HASH] = digest = context.prompt_hash(asked.instructions)
            version = version or capped(digest)
        self.version = version
        if self.prompt:
            attributes[semconv.PROMPT_NAME] = self.prompt
        if version:
            attributes[semconv.PROMPT_VERSION] = version

    # --- the current span -------------------------------------------------------------------------------------------
    @guarded
    def enter(self) -> None:
        """Make the span current, for the duration of the request."""
        self._token = attach(self.context)
        self._outer = _running.get()
        _running.set(self)

    @guarded
    def leave(self) -> None:
        """Make the caller's span current again."""
        # A coroutine may be closed in another context than it ran in; there is nothing to give back there.
        if self._token is not None and get_current() is self.context:
            detach(self._token)
        self._token = None
        if _running.get() is self:
            _running.set(self._outer)
        self._outer = None

    # --- what the client does meanwhile -----------------------------------------------------------------------------
    def retried(self, seconds: float) -> None:
        """The client will try once more, ``seconds`` from now."""
        said = self.attributes
        said[semconv.RETRY_COUNT] = said.get(semconv.RETRY_COUNT, 0) + 1
        said[semconv.RETRY_DELAY] = said.get(semconv.RETRY_DELAY, 0.0) + seconds

    # --- handed out -------------------------------------------------------------------------------------------------
    def hand_out(self) -> None:
        """The application holds a stream or an unread response now; the end of the process ends the call too."""
        _unended.hand_out(self)

    def abandon(self) -> None:
        """End a call whose stream was garbage-collected, as soon as that is safe.

        A collection may start while this thread holds a lock of OpenTelemetry's or ours: then the call is ended at the
        next one, with the time of now.
        """
        if not self.ticket:
            return
        if _unended.inside_telemetry():
            _unended.later(self)
        else:
            self.stop(ABANDONED)

    # --- the end ----------------------------------------------------------------------------------------------------
    @guarded
    def stop(self, outcome: str, error: BaseException | None = None, at: int | None = None) -> None:
        """End a streamed call with ``outcome``, after what was seen of the stream has been read out."""
        try:
            if self.fold is not None and self.ticket:
                outcome = self.fold.settle(outcome)
        finally:
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
            self.ticket.pop()  # whoever gets it ends the call: threads, finalisers and exit may race
        except IndexError:
            return
        elapsed = _clock() - self._started
        _open.pop(id(self), None)
        self.fold = self.response = None  # they refer to us: without this, only the garbage collector could free them
        if error is not None:
            self.error_type = self.error_type or error_type(error)
        try:
            self._conclude()
        finally:
            if self.recording:
                self._close_span(error, at)
            _measured.record(self, elapsed)
            if self._answered():
                self._remember()

    def _conclude(self) -> None:
        """Put what follows from the request and the answer together."""
        asked, served, service = self.asked.model, self.response_model, self.service
        if served and asked and served != asked and not service.renames and differs(asked, served):
            self.attributes[semconv.MODEL_DIFFERS] = True
        if service.prices and self.input_tokens is not None:
            cost = _cost.of_call(
                service.prices, served or asked or "", self.input_tokens, self.output_tokens, self.attributes)
            if cost is not None:
                self.attributes[semconv.COST] = cost

    def _close_span(self, error: BaseException | None, at: int | None) -> None:
        late = self.attributes
        if self.response_id is not None:
            late[semconv.RESPONSE_ID] = self.response_id
        if self.response_model is not None:
            late[semconv.RESPONSE_MODEL] = self.response_model
        if self.finish_reasons:
            late[semconv.RESPONSE_FINISH_REASONS] = self.finish_reasons
        if self.input_tokens is not None:
            late[semconv.USAGE_INPUT_TOKENS] = self.input_tokens
        if self.output_tokens is not None:
            late[semconv.USAGE_OUTPUT_TOKENS] = self.output_tokens
        if self.first_chunk:
            late[semconv.RESPONSE_TIME_TO_FIRST_CHUNK] = self.until_first_chunk
        if self.first_content:
            late[semconv.STREAM_TIME_TO_FIRST_CONTENT] = self.until_first_content
        if self.error_type is not None:
            late[semconv.ERROR_TYPE] = self.error_type
            self.span.set_status(Status(StatusCode.ERROR, error_message(error, late)))
        try:
            self.span.set_attributes(late)
        finally:
            self.span.end(at)

    @property
    def until_first_chunk(self) -> float:
        """Seconds from the request to the first chunk."""
        return self.first_chunk - self._started

    @property
    def until_first_content(self) -> float:
        """Seconds from the request to the first content."""
        return self.first_content - self._started

    def _answered(self) -> bool:
        """Whether somebody may have seen an answer: a whole one, or the beginning of a broken one."""
        return self.answers and (self.error_type is None or bool(self.first_content))

    def cohort(self) -> context.Cohort:
        """The labels by which answers, and what people think of them, are counted; not to be changed."""
        return context.cohort(self.scope, self.asked.model, self.version, self.prompt)

    def _remember(self) -> None:
        scope, (labels, series) = self.scope, self.cohort()
        turn = scope.turn.id if scope.turn is not None else None
        context.answered(context.Answer(
            self.span.get_span_context(), self.response_id, scope.conversation_id, turn, labels, time.time(),
        ), series, scope)


def running() -> Call | None:
    """The call whose request runs in this context."""
    return _running.get()
