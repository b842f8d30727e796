"""Our own exporter against the real Collector: prompts that no batch by count brings through, and a restart."""

from __future__ import annotations

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from tests.stack.collectors import running
from tests.support.held import hold

from backspan import semconv
from backspan._export import span_processor

pytestmark = pytest.mark.stack
SPANS = 200
DEFAULT = "receivers: {otlp: {protocols: {grpc: {max_recv_msg_size_mib: 4}, http: {max_request_body_size: 20971520}}}}"
"""What a Collector takes if nobody says otherwise; the shipped file says more."""
LONG = "x" * 60_000
GENAI = {semconv.OPERATION_NAME: "chat", semconv.REQUEST_MODEL: "gpt-test", semconv.INPUT_MESSAGES: LONG}


def make(processor: SpanProcessor, first: int = 0) -> None:
    """200 spans with prompts of 60 kB: 12 MB, three times what a gRPC message may be."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    for number in range(first, first + SPANS):
        provider.get_tracer("backspan").start_span(f"s{number}", attributes=GENAI).end()


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_long_prompts_arrive_whole(protocol, tmp_path, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    with running(tmp_path, DEFAULT) as collector:
        port = collector.ports["otlp_grpc" if protocol == "grpc" else "otlp_http"]
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
        processor = span_processor()
        assert processor is not None
        make(processor)
        assert processor.force_flush(60_000)
        processor.shutdown()
        spans = collector.tempo.wait_spans(SPANS, 60)
    assert {span.name for span in spans} == {f"s{number}" for number in range(SPANS)}
    assert {len(span.attributes[semconv.INPUT_MESSAGES]) for span in spans} == {len(LONG)}
    assert (processor.delivery.delivered, processor.delivery.lost) == (SPANS, 0)


def test_a_batch_by_count_does_not_arrive(tmp_path, monkeypatch):
    """The twin: the SDK's batch processor sends the same spans in one message of 12 MB, which is refused."""
    with running(tmp_path, DEFAULT) as collector:
        endpoint = f"http://127.0.0.1:{collector.ports['otlp_grpc']}"
        processor = BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=2), schedule_delay_millis=60_000)
        make(processor)
        processor.shutdown()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.ports['otlp_http']}")
        after = span_processor()
        assert after is not None
        make(after, SPANS)
        assert after.force_flush(60_000)
        after.shutdown()
        spans = collector.tempo.wait_spans(SPANS, 60)
    assert {span.name for span in spans} == {f"s{number}" for number in range(SPANS, 2 * SPANS)}


def test_a_collector_that_is_not_there_yet(tmp_path, monkeypatch):
    """Made before it runs, and delivered when it does."""
    with hold() as port:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
        processor = span_processor()
        assert processor is not None
        make(processor)
        assert not processor.force_flush(20_000)
        with running(tmp_path, COLLECTOR_OTLP_GRPC=f"127.0.0.1:{port}") as collector:
            collector.tempo.wait_spans(SPANS, 120)
    processor.shutdown()
    assert processor.delivery.lost == 0
