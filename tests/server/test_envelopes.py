"""Feedback spans are written without the SDK; they must be what the SDK writes."""

import random

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

from backspan import semconv
from backspan._ids import GivenIds
from backspan.context import Target
from backspan.feedback.emit import emit_span
from backspan.feedback.model import parse, revise
from backspan.server.envelopes import SERVICE, Letter, request

from .conftest import DIMS, SPAN, TRACE

SAID = [
    ({"thumbs": False, "reasons": ["inaccurate"], "comment": "no", "solicited": True}, {"thumbs": True}),
    ({"thumbs": True}, {"name": "user_thumbs", "retract": True}),
    ({"stars": 4}, {"stars": 1}),
    ({"correction": "It is 14 days."}, {"correction": "It is 15 days."}),
    ({"name": "review_ok", "value": True}, {"name": "review_ok", "label": "fail"}),
    ({"name": "implicit_copy", "value": 0.25}, {"name": "implicit_copy", "value": 0.5}),
]
"""What is said first, and then."""
TARGETS = [
    Target(TRACE, SPAN, 1, "resp-1", "talk", f"{TRACE}-{SPAN}", DIMS, 1_795_000_000.0),
    Target(TRACE, SPAN, 0), Target(response_id="resp-2"), Target(conversation_id="talk"),
]
PLACES = [DIMS, {}, {semconv.SERVICE_NAME: "other"}]


def _feedback():
    for first, then in SAID:
        for target in TARGETS:
            last, _ = revise(None, parse(first)[0], target, "somebody", 1_795_000_100.25)
            yield last
            yield revise(last, parse(then)[0], target, "somebody", 1_795_000_200.5)[0]


def _by_the_sdk(letters):
    """The same request by the SDK's tracer and its exporter's encoder."""
    kept = InMemorySpanExporter()
    for letter in letters:
        place = {semconv.SERVICE_NAME: letter.dims.get(semconv.SERVICE_NAME) or SERVICE}
        if letter.dims.get(semconv.ENVIRONMENT):
            place[semconv.ENVIRONMENT] = letter.dims[semconv.ENVIRONMENT]
        provider = TracerProvider(resource=Resource(place), id_generator=GivenIds(RandomIdGenerator()),
                                  shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(kept))
        emit_span(letter.feedback, provider.get_tracer(semconv.SCOPE), letter.documents)
    return encode_spans(kept.get_finished_spans())


def _flat(message):
    """(resource, scope, span) of each span, ordered by its ids."""
    found = [(str(part.resource), str(scoped.scope), scoped.schema_url, part.schema_url, span)
             for part in message.resource_spans for scoped in part.scope_spans for span in scoped.spans]
    return sorted(found, key=lambda row: (row[0], row[-1].trace_id))


@pytest.fixture
def letters():
    chance = random.Random(5)
    return [Letter(one, chance.choice(PLACES), chance.choice([(), ("doc-1", "doc-2")])) for one in _feedback()]


def test_they_are_the_spans_that_the_sdk_writes(letters):
    ours = _flat(ExportTraceServiceRequest.FromString(request(letters)))
    theirs = _flat(_by_the_sdk(letters))
    assert len(ours) == len(letters) > 40
    for one, other in zip(ours, theirs, strict=True):
        assert one == other


def test_the_test_above_would_notice_another_value(letters):
    """Its twin: one attribute of one span differs."""
    message = ExportTraceServiceRequest.FromString(request(letters))
    message.resource_spans[0].scope_spans[0].spans[0].attributes[0].value.string_value = "user_other"
    assert _flat(message) != _flat(_by_the_sdk(letters))


def test_services_are_told_apart(letters):
    message = ExportTraceServiceRequest.FromString(request(letters))
    named = [part.resource.attributes[0].value.string_value for part in message.resource_spans]
    assert sorted(named) == ["backspan-gateway", "chat", "other"]
