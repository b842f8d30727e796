"""A private provider that keeps its spans and metrics in memory, as the application's process would have it."""

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from backspan import _guard, _turns, config, context, telemetry


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    for name in ("BACKSPAN_INSTRUMENT", "BACKSPAN_TOKEN_KEYS", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BACKSPAN", "1")
    monkeypatch.setenv("BACKSPAN_RAISE", "1")
    monkeypatch.setenv("BACKSPAN_DATA_DIR", str(tmp_path / "data"))
    config.reload()
    _guard.forget()
    _turns._remembered.clear()
    context._cohorts.clear()
    context._hmac.cache_clear()
    telemetry.reset_for_tests()
    yield
    telemetry.reset_for_tests()
    config.reload()


@pytest.fixture
def spans(monkeypatch):
    """The exporter behind our own provider."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    telemetry._state.tracer_provider = provider
    telemetry._state.meter_provider = MeterProvider(shutdown_on_exit=False)
    return exporter


@pytest.fixture
def points(spans):
    """Call it for the data points of one instrument: a list of (attributes, value)."""
    reader = InMemoryMetricReader()
    telemetry._state.meter_provider = MeterProvider([reader], shutdown_on_exit=False)

    def read(name: str) -> list[tuple[dict, float]]:
        reader.collect()  # a new series of ours is 0 the first time
        data = reader.get_metrics_data()
        found = [m for r in (data.resource_metrics if data else []) for s in r.scope_metrics for m in s.metrics]
        return [(dict(p.attributes), p.value) for m in found if m.name == name for p in m.data.data_points]

    return read
