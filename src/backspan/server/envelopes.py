"""Feedback spans as OTLP: the same messages as the SDK and its exporter make, in a fraction of their time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, SpanFlags, Status
from opentelemetry.util.types import AttributeValue

from backspan import semconv
from backspan.feedback import emit
from backspan.feedback.model import Feedback

SERVICE = "backspan-gateway"
"""``service.name`` of feedback about a service that is not known."""
_LOCAL = SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
_REMOTE = _LOCAL | SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
_FEW = frozenset({
    semconv.EVALUATION_NAME, semconv.EVALUATION_SCORE_VALUE, semconv.EVALUATION_SCORE_LABEL, semconv.FEEDBACK_VERSION,
    semconv.FEEDBACK_OP, semconv.FEEDBACK_POLARITY, semconv.FEEDBACK_SOURCE, semconv.FEEDBACK_REASONS,
    semconv.FEEDBACK_SOLICITED, semconv.FEEDBACK_RESOLVED, *semconv.DIMENSIONS,
})
"""Attributes with few values; those are made once."""


@dataclass(frozen=True)
class Letter:
    """One revision on its way: ``dims`` say whose it is, ``documents`` what the judged answer rests on."""

    feedback: Feedback
    dims: Mapping[str, str]
    documents: Sequence[str] = ()


def request(letters: Sequence[Letter]) -> bytes:
    """A serialized ``ExportTraceServiceRequest``; each span is under the service that it judges."""
    whole = ExportTraceServiceRequest()
    spans: dict[tuple[str, str], Any] = {}
    for letter in letters:
        place = letter.dims.get(semconv.SERVICE_NAME) or SERVICE, letter.dims.get(semconv.ENVIRONMENT) or ""
        if place not in spans:
            part = whole.resource_spans.add()
            said = {semconv.SERVICE_NAME: place[0], **({semconv.ENVIRONMENT: place[1]} if place[1] else {})}
            part.resource.attributes.extend(_pairs(said))
            scoped = part.scope_spans.add()
            scoped.scope.name = semconv.SCOPE
            spans[place] = scoped.spans
        spans[place].append(span_of(letter.feedback, letter.documents))
    return whole.SerializeToString()


def span_of(feedback: Feedback, documents: Sequence[str] = ()) -> Span:
    """The span that `backspan.feedback.emit.emit_span` sends."""
    trace_id, span_id = emit.deterministic_ids(feedback)
    moment = int(feedback.time * 1e9)
    rests_on = {semconv.RETRIEVAL_DOCUMENT_IDS: tuple(documents)} if documents else {}
    links = [
        Span.Link(trace_id=link.context.trace_id.to_bytes(16, "big"), span_id=link.context.span_id.to_bytes(8, "big"),
                  attributes=_pairs(link.attributes or {}), flags=_REMOTE)
        for link in emit.links(feedback)
    ]
    event = Span.Event(time_unix_nano=moment, name=semconv.EVALUATION_EVENT,
                       attributes=_pairs(emit.event_attributes(feedback)))
    return Span(
        trace_id=trace_id.to_bytes(16, "big"), span_id=span_id.to_bytes(8, "big"), flags=_LOCAL,
        name=semconv.EVALUATION_SPAN.format(name=feedback.name), kind=Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=moment, end_time_unix_nano=moment, status=Status(), events=[event], links=links,
        attributes=_pairs({**emit.span_attributes(feedback), **rests_on}),
    )


def _pairs(attributes: Mapping[str, AttributeValue]) -> list[KeyValue]:
    return [_known(key, cast("Any", value)) if key in _FEW else _pair(key, value) for key, value in attributes.items()]


def _pair(key: str, value: AttributeValue) -> KeyValue:
    return KeyValue(key=key, value=_value(value))


_known = lru_cache(maxsize=4096, typed=True)(_pair)


def _value(value: Any) -> AnyValue:
    if isinstance(value, str):
        return AnyValue(string_value=value)
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    return AnyValue(array_value=ArrayValue(values=[_value(one) for one in value]))
