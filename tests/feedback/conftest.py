"""Real SDK providers that keep what they are given, reached the way an application's providers are."""

import base64

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from backspan import _guard, _turns, config, context, semconv, telemetry
from backspan.context import Target
from backspan.feedback import record
from backspan.feedback.memory import MemorySink

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SPAN_ID = "b7ad6b7169203331"
DIMS = {
    semconv.REQUEST_MODEL: "gpt-5-mini", semconv.PROMPT_NAME: "support", semconv.PROMPT_VERSION: "7",
    semconv.VARIANT: "canary", semconv.SEGMENT: "pro", semconv.INDEX_VERSION: "2026-11",
}
NOW = 1_795_000_000.0


def target(**fields) -> Target:
    """A sampled, fully known answer, a minute old at `NOW`."""
    known = {"trace_id": TRACE_ID, "span_id": SPAN_ID, "trace_flags": 3, "response_id": "chatcmpl-1",
             "conversation_id": "c-1", "turn_id": f"{TRACE_ID}-{SPAN_ID}", "dims": DIMS, "at": NOW - 60}
    return Target(**{**known, **fields})


def key(byte: bytes = b"k") -> str:
    """A Fernet key."""
    return base64.urlsafe_b64encode(byte * 32).decode()


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    """No setting of the outside, nothing left from the test before."""
    for row in config.SETTINGS:
        monkeypatch.delenv(row.variable, raising=False)
    monkeypatch.setenv("BACKSPAN_RAISE", "1")
    monkeypatch.setenv("BACKSPAN_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(record, "_sink", MemorySink())
    config.reload()
    _guard.forget()
    context._cohorts.clear()
    _turns._remembered.clear()
    context._hmac.cache_clear()
    telemetry.reset_for_tests()
    yield
    telemetry.reset_for_tests()
    monkeypatch.undo()
    config.reload()


@pytest.fixture
def setenv(monkeypatch):
    """Set variables and have them read."""

    def change(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        config.reload()
        context._hmac.cache_clear()

    return change


class Out:
    """What was sent."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        self.log_exporter = InMemoryLogRecordExporter()

    @property
    def spans(self):
        return self.exporter.get_finished_spans()

    @property
    def logs(self):
        return [data.log_record for data in self.log_exporter.get_finished_logs()]

    def collect(self):
        """Data points by instrument. Exemplars are in the first collection after they were made, only."""
        data = self.reader.get_metrics_data()
        found = [m for r in (data.resource_metrics if data else []) for s in r.scope_metrics for m in s.metrics]
        return {metric.name: list(metric.data.data_points) for metric in found}

    def points(self, name: str):
        return self.collect().get(name, [])

    def counts(self, *labels: str) -> dict[tuple[str, ...], int]:
        """Sum of `backspan.feedback` by the given labels, zeros left out."""
        found: dict[tuple[str, ...], int] = {}
        for point in self.points(semconv.FEEDBACK):
            at = tuple(point.attributes[label] for label in labels)
            found[at] = found.get(at, 0) + point.value
        return {at: value for at, value in found.items() if value}


@pytest.fixture
def out(monkeypatch):
    """Everything that goes out, with a tracer provider, a meter provider and a logger provider in force."""
    seen = Out()
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(seen.exporter))
    loggers = LoggerProvider(shutdown_on_exit=False)
    loggers.add_log_record_processor(SimpleLogRecordProcessor(seen.log_exporter))
    monkeypatch.setattr("opentelemetry._logs._internal._LOGGER_PROVIDER", loggers)
    telemetry._state.tracer_provider = tracers
    telemetry._state.meter_provider = MeterProvider([seen.reader], shutdown_on_exit=False)
    return seen
