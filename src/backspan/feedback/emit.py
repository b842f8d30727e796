"""One revision of a feedback as telemetry: a linked span with its event, a log event, and metric points.

The span is the root of a trace of its own and links to what was judged. As a child it would be lost whenever the judged
trace was sampled out, and would stretch that trace by hours when it comes late. Its time is the time of the judgement.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    TraceFlags,
    Tracer,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from backspan import semconv, telemetry
from backspan._guard import guard
from backspan._ids import given_ids
from backspan.config import settings
from backspan.context import Target
from backspan.feedback.model import Feedback, metric_dims
from backspan.redact import redact

_NO_PARENT = set_span_in_context(INVALID_SPAN, Context())


def emit(feedback: Feedback) -> None:
    """Send ``feedback`` as span, metrics and, when the application has a logger provider, log event. Never raises."""
    with guard("feedback.emit.span"):
        _span(feedback, telemetry.feedback_tracer())
    with guard("feedback.emit.metrics"):
        emit_metrics(feedback)
    with guard("feedback.emit.log"):
        emit_log(feedback)


def emit_span(feedback: Feedback, tracer: Tracer) -> None:
    """Send the span alone, with ids derived from (id, version): repeating it gives the identical span.

    ``tracer`` is one of `telemetry.feedback_tracer`; another one draws its own ids. In an application's process `emit`
    lets the application's id generator draw, because some back ends want ids of a certain form.
    """
    with given_ids(*deterministic_ids(feedback)):
        _span(feedback, tracer)


def deterministic_ids(feedback: Feedback) -> tuple[int, int]:
    """Trace id (128 bit) and span id (64 bit) from SHA-256 of id and version; never zero."""
    digest = hashlib.sha256(f"{feedback.id}:{feedback.version}".encode()).digest()
    return int.from_bytes(digest[:16], "big") or 1, int.from_bytes(digest[16:24], "big") or 1


def judged_span(target: Target) -> SpanContext | None:
    """The context of the judged span, with its own flags; None if only a response or conversation is known."""
    if target.trace_id is None or target.span_id is None:
        return None
    flags = TraceFlags(target.trace_flags)
    return SpanContext(int(target.trace_id, 16), int(target.span_id, 16), is_remote=True, trace_flags=flags)


def _judged_context(target: Target) -> Context:
    """The judged span as the current one; without one, no span. (The SDK takes an empty context for the active one.)"""
    judged = judged_span(target)
    return _NO_PARENT if judged is None else set_span_in_context(NonRecordingSpan(judged), Context())


# --- span -----------------------------------------------------------------------------------------------------------
def _span(feedback: Feedback, tracer: Tracer) -> None:
    judged = judged_span(feedback.target)
    moment = int(feedback.time * 1e9)
    span = tracer.start_span(
        semconv.EVALUATION_SPAN.format(name=feedback.name), _NO_PARENT, SpanKind.INTERNAL,
        attributes=span_attributes(feedback), links=() if judged is None else (Link(judged),), start_time=moment,
    )
    span.add_event(semconv.EVALUATION_EVENT, event_attributes(feedback), timestamp=moment)
    span.end(moment)


def _said(attributes: Mapping[str, AttributeValue | None]) -> dict[str, AttributeValue]:
    return {key: value for key, value in attributes.items() if value is not None and value != () and value != ""}


def _verdict(feedback: Feedback) -> dict[str, AttributeValue | None]:
    return {
        semconv.EVALUATION_NAME: feedback.name,
        semconv.EVALUATION_SCORE_VALUE: feedback.value,
        semconv.EVALUATION_SCORE_LABEL: feedback.label,
        semconv.RESPONSE_ID: feedback.target.response_id,
        semconv.FEEDBACK_ID: feedback.id,
        semconv.FEEDBACK_VERSION: feedback.version,
        semconv.FEEDBACK_OP: feedback.op,
        semconv.FEEDBACK_POLARITY: feedback.polarity,
        semconv.FEEDBACK_SOURCE: feedback.source,
        semconv.FEEDBACK_REASONS: feedback.reasons,
    }


def span_attributes(feedback: Feedback) -> dict[str, AttributeValue]:
    """Attributes of the span: verdict, target, dimensions; comment and correction only while content is captured."""
    target = feedback.target
    return _said({
        **_verdict(feedback),
        semconv.FEEDBACK_RESOLVED: feedback.resolved,
        semconv.FEEDBACK_DELAY: feedback.delay,
        semconv.FEEDBACK_TRACE_ID: target.trace_id,
        semconv.FEEDBACK_SPAN_ID: target.span_id,
        semconv.TURN_ID: target.turn_id,
        semconv.CONVERSATION_ID: target.conversation_id,
        semconv.ENDUSER_PSEUDO_ID: feedback.rater,
        semconv.FEEDBACK_COMMENT: _content(feedback.comment),
        semconv.FEEDBACK_CORRECTION: _content(feedback.correction),
        **{key: target.dims.get(key) for key in semconv.DIMENSIONS},
    })


def event_attributes(feedback: Feedback) -> dict[str, AttributeValue]:
    """Attributes of the event `gen_ai.evaluation.result`, on the span and as a log record."""
    return _said({**_verdict(feedback), semconv.EVALUATION_EXPLANATION: _content(feedback.comment)})


def _content(text: str | None) -> str | None:
    return redact(text) if text is not None and settings().content else None


# --- log event ------------------------------------------------------------------------------------------------------
def emit_log(feedback: Feedback) -> None:
    """Send the event as a log record in the judged span's context, if the application has set a logger provider."""
    logger = telemetry.get_event_logger()
    if logger is None:
        return
    logger.emit(LogRecord(
        timestamp=int(feedback.time * 1e9), context=_judged_context(feedback.target),
        severity_number=SeverityNumber.INFO, severity_text="INFO", attributes=event_attributes(feedback),
        event_name=semconv.EVALUATION_EVENT,
    ))


# --- metrics --------------------------------------------------------------------------------------------------------
def emit_metrics(feedback: Feedback) -> None:
    """Count one revision; net of every series = add + change - retract.

    A value taken away (`Feedback.previous`) is counted as ``retract`` under the labels it was counted under before, its
    age included. Scores and delays are recorded with every value given.
    """
    context = _judged_context(feedback.target)
    if feedback.previous is not None:
        _count(feedback.previous, semconv.RETRACT, context)
    if feedback.live:
        _count(feedback, feedback.op, context)
        _measure(feedback, context)


def _count(feedback: Feedback, op: str, context: Context) -> None:
    made, dims = telemetry.instruments(), metric_dims(feedback.target)
    made.feedback.add(1, {**feedback_labels(feedback, op), **dims}, context)
    for reason in feedback.reasons:
        said = {semconv.LABEL_NAME: feedback.name, semconv.LABEL_REASON: reason, semconv.LABEL_OP: op,
                semconv.LABEL_SOURCE: feedback.source}
        made.feedback_reasons.add(1, {**said, **dims}, context)


def _measure(feedback: Feedback, context: Context) -> None:
    made = telemetry.instruments()
    labels = {semconv.LABEL_NAME: feedback.name, semconv.LABEL_SOURCE: feedback.source, **metric_dims(feedback.target)}
    if feedback.value is not None:
        made.feedback_score.record(feedback.value, labels, context)
    if feedback.delay is not None:
        made.feedback_delay.record(feedback.delay, labels, context)


def feedback_labels(feedback: Feedback, op: str) -> dict[str, str]:
    """The labels of `backspan.feedback` beside the dimensions."""
    return {
        semconv.LABEL_NAME: feedback.name, semconv.LABEL_POLARITY: feedback.polarity, semconv.LABEL_OP: op,
        semconv.LABEL_SOURCE: feedback.source, semconv.LABEL_AGE: feedback.age,
    }
