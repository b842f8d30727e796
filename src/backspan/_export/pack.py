"""Spans as the bytes that leave: packed one by one, with what the model read and wrote apart from the rest.

Two protobuf messages of one type, one after the other, read as their union. So a span is kept as the bytes of its facts
and, if it has any, the bytes of its content. Dropping content is forgetting the second, which costs nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanBytes
from opentelemetry.sdk.trace import ReadableSpan

from backspan import semconv
from backspan._guard import guard

_CONTENT = frozenset({
    semconv.INPUT_MESSAGES, semconv.OUTPUT_MESSAGES, semconv.SYSTEM_INSTRUCTIONS, semconv.TOOL_DEFINITIONS,
    semconv.RETRIEVAL_QUERY, semconv.RETRIEVAL_DOCUMENTS, "input.value", "output.value",
})
_CONTENT_PREFIXES = ("llm.input_messages.", "llm.output_messages.", "traceloop.entity.", "retrieval.documents.")
_MARK = SpanBytes(
    attributes=[KeyValue(key=semconv.CONTENT_DROPPED, value=AnyValue(bool_value=True))]
).SerializeToString()
_SPAN_COST = 3000
_ATTRIBUTE_COST = 100
"""Bytes of an ended span in Python without its values, and of each attribute: measured, rounded up."""
_PACKED_COST = 260
"""Bytes of a packed span beyond its content: the object, two headers of `bytes`, places in two deques."""
_KNOWN_GROUPS = 64


class Packed:
    """One span as bytes. ``flying`` while a request with it is under way."""

    __slots__ = ("content", "facts", "feedback", "flying", "group", "stripped")

    def __init__(self, facts: bytes, content: bytes, group: ResourceSpans, feedback: bool) -> None:
        self.facts, self.content, self.group, self.feedback = facts, content, group, feedback
        self.stripped = self.flying = False

    @property
    def cost(self) -> int:
        """Bytes of memory it takes."""
        return len(self.facts) + len(self.content) + _PACKED_COST

    @property
    def size(self) -> int:
        """Bytes it adds to a request."""
        return len(self.facts) + len(self.content) + 8

    def strip(self) -> int:
        """Forget its content; return the bytes that are free now."""
        freed, self.content, self.stripped = len(self.content), b"", True
        return freed


def _attributes(span: ReadableSpan) -> dict[str, Any]:
    """The attributes as a dict: the SDK's are a mapping written in Python, many times slower to look at."""
    given: Any = span.attributes
    return given.copy() if given else {}


def estimate(span: ReadableSpan) -> int:
    """Bytes of memory that an ended span takes, about; made for the application's thread, so one pass in C."""
    values = _attributes(span).values()
    return _SPAN_COST + _ATTRIBUTE_COST * len(values) + sum(map(sys.getsizeof, values))


def is_feedback(span: ReadableSpan) -> bool:
    """Tell whether a span carries a judgement, which goes last."""
    return semconv.FEEDBACK_ID in _attributes(span)


def _is_content(key: str) -> bool:
    return key in _CONTENT or key.startswith(_CONTENT_PREFIXES)


class Packer:
    """Packs spans; remembers resource and scope, so that spans of one scope share one header."""

    def __init__(self) -> None:
        self._groups: dict[bytes, ResourceSpans] = {}

    def pack(self, spans: Sequence[ReadableSpan]) -> tuple[list[Packed], int]:
        """Pack ended spans, in their order; also returns how many could not be encoded."""
        packed: list[Packed] = []
        for _, same in groupby(spans, key=lambda span: (id(span.resource), id(span.instrumentation_scope))):
            packed += self._pack_same(list(same))
        return packed, len(spans) - len(packed)

    def _pack_same(self, spans: list[ReadableSpan]) -> list[Packed]:
        with guard("export.encode"):
            return list(self._encode(spans))
        if len(spans) == 1:
            return []
        return [packed for span in spans for packed in self._pack_same([span])]

    def _encode(self, spans: list[ReadableSpan]) -> Iterable[Packed]:
        (resource,) = encode_spans(spans).resource_spans
        encoded = list(resource.scope_spans[0].spans)
        del resource.scope_spans[0].spans[:]
        group = self._group(resource)
        ours = group.scope_spans[0].scope.name == semconv.SCOPE
        for span, message in zip(spans, encoded, strict=True):
            keys = _attributes(span).keys()
            rich = not _CONTENT.isdisjoint(keys) or (not ours and any(map(_is_content, keys)))
            facts, content = _halves(message) if rich else (message.SerializeToString(), b"")
            yield Packed(facts, content, group, semconv.FEEDBACK_ID in keys)

    def _group(self, header: ResourceSpans) -> ResourceSpans:
        key = header.SerializeToString(deterministic=True)
        if len(self._groups) >= _KNOWN_GROUPS:
            self._groups.clear()
        return self._groups.setdefault(key, ResourceSpans.FromString(key))


def _halves(message: Any) -> tuple[bytes, bytes]:
    """The bytes of a span without its content, and of its content."""
    content = SpanBytes(attributes=[pair for pair in message.attributes if _is_content(pair.key)])
    facts = [pair for pair in message.attributes if not _is_content(pair.key)]
    bare = SpanBytes()
    bare.CopyFrom(message)
    del bare.attributes[:]
    bare.attributes.extend(facts)
    return bare.SerializeToString(), content.SerializeToString()


def request(batch: Iterable[Packed]) -> bytes:
    """A serialized ``ExportTraceServiceRequest`` with the spans of ``batch``."""
    whole = ExportTraceServiceRequest()
    parts: dict[int, Any] = {}
    for packed in batch:
        spans = parts.get(id(packed.group))
        if spans is None:
            part = whole.resource_spans.add()
            part.CopyFrom(packed.group)
            spans = parts[id(packed.group)] = part.scope_spans[0].spans
        span = spans.add()
        span.MergeFromString(packed.facts)
        if packed.content or packed.stripped:
            span.MergeFromString(packed.content or _MARK)
    return whole.SerializeToString()
