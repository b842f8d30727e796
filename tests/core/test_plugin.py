"""What backspan says about itself in its metrics."""

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from backspan import _guard, config, semconv, telemetry
from tests.support.commanded import Commanded, span_names


@pytest.fixture
def metrics():
    """Call it for the values of one instrument, by label values."""
    reader = InMemoryMetricReader()
    telemetry._state.meter_provider = MeterProvider([reader], shutdown_on_exit=False)
    telemetry.instruments()

    def read(name):
        data = reader.get_metrics_data()
        found = [m for r in (data.resource_metrics if data else []) for s in r.scope_metrics for m in s.metrics]
        return {tuple(p.attributes.values()): p.value for m in found if m.name == name for p in m.data.data_points}

    return read


@pytest.fixture
def sink(monkeypatch):
    with Commanded() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
        yield receiver
        telemetry.shutdown(5)


def end(name, **given):
    telemetry.get_tracer().start_span(name, attributes=given).end()


def test_what_left_and_what_waits(sink, metrics, monkeypatch):
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
    assert metrics(semconv.PLUGIN_QUEUE_SPANS) == {}  # nothing of ours is there yet
    for n in range(3):
        end(f"s{n}")
    assert metrics(semconv.PLUGIN_QUEUE_SPANS) == {(): 3}
    assert metrics(semconv.PLUGIN_QUEUE_BYTES)[()] > 1000
    assert telemetry._state.processor.force_flush(30_000)
    assert metrics(semconv.PLUGIN_QUEUE_SPANS) == metrics(semconv.PLUGIN_QUEUE_BYTES) == {(): 0}
    assert metrics(semconv.PLUGIN_DELIVERED) == {(): 3} and metrics(semconv.PLUGIN_DROPPED) == {}
    assert metrics(semconv.PLUGIN_RETRIES) == {(): 0}
    assert metrics(semconv.PLUGIN_EXPORT_TIME)[()] >= 0


def test_what_was_lost_and_why(sink, metrics, monkeypatch):
    monkeypatch.setenv("BACKSPAN_QUEUE_BYTES", "30000")
    config.reload()
    sink.judge = lambda request, _size: 400 if "bad" in span_names(request) else 200
    end("bad")
    telemetry._state.processor.force_flush(30_000)
    sink.refuse(503)
    for n in range(50):
        end(f"s{n}", **{semconv.INPUT_MESSAGES: "x" * 1000})
    sink.wait_answers(2, 503)  # so the first answer has been heard
    dropped = metrics(semconv.PLUGIN_DROPPED)
    assert dropped[("span", "refused")] == 1 and dropped[("span", "full")] > 0
    assert metrics(semconv.PLUGIN_RETRIES)[()] >= 1
    sink.refuse(None)


def test_faults_by_place(metrics, monkeypatch):
    monkeypatch.delenv("BACKSPAN_RAISE")
    with _guard.guard("extractor"):
        raise ValueError
    assert metrics(semconv.PLUGIN_FAULTS) == {("extractor",): 1}


def test_open_streams(metrics, monkeypatch):
    from backspan.instrument import _call

    assert metrics(semconv.PLUGIN_STREAMS) == {}
    monkeypatch.setitem(_call._open, 1, object())
    assert metrics(semconv.PLUGIN_STREAMS) == {(): 1}
    monkeypatch.delitem(_call._open, 1)
    assert metrics(semconv.PLUGIN_STREAMS) == {(): 0}
