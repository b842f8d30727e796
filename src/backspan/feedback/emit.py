"""One revision of a feedback as telemetry: a linked span with its event, a log event, and metric points.

The span is the root of a trace of its own and links to what was judged. As a child it would be lost whenever the judged
trace was sampled out, and would stretch that trace by hours when it comes late. Its time is the time of the judgement.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

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
from backspan.feedback import compare
from backspan.feedback.model import Feedback, metric_dims
from backspan.redact import redact
from backspan.redact.parts import masked

_NO_PARENT = set_span_in_context(INVALID_SPAN, Context())


def emit(feedback: Feedback) -> None:
    """Send ``feedback`` as span, metrics and, when the application has a logger provider, log event. Never raises.

    Of a comparison all parts are counted, and the leading one alone is sent.
    """
    with guard("feedback.emit.metrics"):
        emit_metrics(feedback)
    if not compare.leads(feedback.details):
        return
    with guard("feedback.emit.span"):
        _span(feedback, telemetry.feedback_tracer())
    with guard("feedback.emit.log"):
        emit_log(feedback)


def emit_span(feedback: Feedback, tracer: Tracer, documents: Sequence[str] = ()) -> None:
    """Send the span alone, with ids derived from (id, version): repeating it gives the identical span.

    ``documents`` are ids of what the judged answer rests on, so that judgements are found by document. ``tracer`` is
    one of `telemetry.feedback_tracer`; another one draws its own ids. In an application's process `emit` lets the
    application's id generator draw, because some back ends want ids of a certain form.
    """
    with given_ids(*deterministic_ids(feedback)):
        _span(feedback, tracer, documents)


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
def _span(feedback: Feedback, tracer: Tracer, documents: Sequence[str] = ()) -> None:
    moment = int(feedback.time * 1e9)
    rests_on = {semconv.RETRIEVAL_DOCUMENT_IDS: tuple(documents)} if documents else {}
    span = tracer.start_span(
        semconv.EVALUATION_SPAN.format(name=feedback.name), _NO_PARENT, SpanKind.INTERNAL,
        attributes={**span_attributes(feedback), **rests_on}, links=links(feedback),
        start_time=moment,
    )
    span.add_event(semconv.EVALUATION_EVENT, event_attributes(feedback), timestamp=moment)
    span.end(moment)


def links(feedback: Feedback) -> list[Link]:
    """One link to what was judged; of a comparison, one to each answer, with its role, rank and position."""
    comparison = compare.of(feedback.details)
    if comparison is None:
        judged = judged_span(feedback.target)
        return [] if judged is None else [Link(judged)]
    names = {"role": semconv.FEEDBACK_ROLE, "rank": semconv.FEEDBACK_RANK, "position": semconv.FEEDBACK_POSITION}
    found: list[Link] = []
    for one in comparison["candidates"]:
        judged = judged_span(Target(one.get("trace_id"), one.get("span_id"), one.get("trace_flags", 1)))
        if judged is not None:
            found.append(Link(judged, {name: one[key] for key, name in names.items() if key in one}))
    return found


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
        semconv.FEEDBACK_SOLICITED: feedback.solicited,
    }


def span_attributes(feedback: Feedback) -> dict[str, AttributeValue]:
    """Attributes of the span: verdict, target, dimensions; comment and correction only while content is captured.

    What is masked in those two is counted as in the content of a call.
    """
    target = feedback.target
    counts: dict[str, AttributeValue | None] = {}
    return _said({
        **_verdict(feedback),
        semconv.FEEDBACK_RESOLVED: feedback.resolved,
        semconv.FEEDBACK_DELAY: feedback.delay,
        semconv.FEEDBACK_TRACE_ID: target.trace_id,
        semconv.FEEDBACK_SPAN_ID: target.span_id,
        semconv.TURN_ID: target.turn_id,
        semconv.CONVERSATION_ID: target.conversation_id,
        semconv.ENDUSER_PSEUDO_ID: feedback.rater,
        semconv.FEEDBACK_COMMENT: _content(feedback.comment, counts),
        semconv.FEEDBACK_CORRECTION: _content(feedback.correction, counts),
        **counts,
        **{key: target.dims.get(key) for key in semconv.DIMENSIONS},
        **extra_attributes(feedback),
    })


def extra_attributes(feedback: Feedback) -> dict[str, AttributeValue | None]:
    """What `Feedback.details` and `Feedback.circumstances` say, as attributes; a quotation as its hash and place."""
    details, how = feedback.details or {}, feedback.circumstances or {}
    quote: Mapping[str, Any] = details.get("quote") or {}
    return {
        semconv.FEEDBACK_SCALE: details.get("scale"),
        semconv.FEEDBACK_QUOTE_HASH: quote_hash(quote["text"]) if quote else None,
        semconv.FEEDBACK_QUOTE_START: quote.get("start"),
        semconv.FEEDBACK_QUOTE_END: quote.get("end"),
        semconv.FEEDBACK_EDIT_RATIO: how.get("edit_ratio"),
        semconv.FEEDBACK_PROBABILITY: how.get("probability"),
    }


def quote_hash(text: str) -> str:
    """SHA-256 of a quotation, cut to 32 hex digits. It is redacted first, so that no personal word can be guessed."""
    return hashlib.sha256(redact(text).encode()).hexdigest()[:32]


def event_attributes(feedback: Feedback) -> dict[str, AttributeValue]:
    """Attributes of the event `gen_ai.evaluation.result`, on the span and as a log record."""
    return _said({**_verdict(feedback), semconv.EVALUATION_EXPLANATION: _content(feedback.comment, {})})


def _content(text: str | None, counts: dict[str, AttributeValue | None]) -> str | None:
    return masked(text, counts) if text is not None and settings().content else None


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
    made = telemetry.instruments()
    labels = made.bounds.of({**feedback_labels(feedback, op), **metric_dims(feedback.target)})
    made.feedback.add(1, labels, context)
    for reason in feedback.reasons:
        made.feedback_reasons.add(1, made.bounds.of({**labels, semconv.LABEL_REASON: reason}), context)
    if feedback.source == semconv.IMPLICIT and op == semconv.ADD:
        said = {semconv.LABEL_NAME: feedback.name, semconv.LABEL_POLARITY: feedback.polarity}
        made.signals.add(1, made.bounds.of({**said, **metric_dims(feedback.target)}), context)
    if feedback.details:
        _count_pairs(feedback, op, context)
    asked = solicited_labels(feedback, op)
    if asked is not None:
        made.feedback_solicited.add(1, made.bounds.of({**asked, **metric_dims(feedback.target)}), context)


def _count_pairs(feedback: Feedback, op: str, context: Context) -> None:
    comparison = compare.of(feedback.details)
    if comparison is None or not comparison["lead"]:
        return
    for pair in comparison["pairs"]:
        labels: dict[str, str] = dict(zip(semconv.COMPARISON_LABELS, (feedback.name, *pair, op), strict=True))
        telemetry.instruments().comparisons.add(1, labels, context)


def emit_skip(name: str, target: Target) -> None:
    """Count a question that was passed over."""
    made = telemetry.instruments()
    labels = made.bounds.of({semconv.LABEL_NAME: name, **metric_dims(target)})
    made.feedback_skips.add(1, labels, _judged_context(target))


def _measure(feedback: Feedback, context: Context) -> None:
    made = telemetry.instruments()
    said = {semconv.LABEL_NAME: feedback.name, semconv.LABEL_SOURCE: feedback.source}
    labels = made.bounds.of({**said, **metric_dims(feedback.target)})
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


def solicited_labels(feedback: Feedback, op: str) -> dict[str, str] | None:
    """The labels of `backspan.feedback.solicited` beside the dimensions; None for what it does not count.

    It counts first judgements of end users, and only where somebody said whether they were asked for.
    """
    if feedback.solicited is None or op != semconv.ADD or feedback.source != semconv.END_USER:
        return None
    said = (feedback.name, feedback.polarity, semconv.ASKED if feedback.solicited else semconv.VOLUNTEERED)
    return dict(zip(semconv.SOLICITED_LABELS, said, strict=True))
