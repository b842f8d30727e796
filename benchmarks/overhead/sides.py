"""Who is measured: no instrumentation, the floor, us, and the others, each installed as its own documentation says.

A side is installed into a process of its own. `Side.install` gets the exporter that spans go to (None: dropped) and
returns what flushes them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

Flush = Callable[[], object]


@dataclass(frozen=True)
class Side:
    """One way of instrumenting.

    Attributes:
        package: what is installed for it, empty for none.
        install: called with the span exporter.
        on: environment that records content; ``off``: that does not, or None if there is no such switch.
    """

    package: str
    install: Callable[[Any], Flush]
    on: Mapping[str, str] = field(default_factory=dict[str, str])
    off: Mapping[str, str] | None = field(default_factory=dict[str, str])

    @property
    def version(self) -> str | None:
        """Of the package; None if it is not installed."""
        try:
            return version(self.package) if self.package else ""
        except PackageNotFoundError:
            return None


def nowhere() -> Any:
    """An exporter that drops everything."""
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Nowhere(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            return SpanExportResult.SUCCESS

        def shutdown(self) -> None:
            pass

    return Nowhere()


def provided(exporter: Any) -> Flush:
    """The application's own providers: the SDK's batch queue, and a metric reader nobody reads."""
    from opentelemetry import metrics, trace
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter or nowhere(), max_queue_size=20_000))
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(MeterProvider([InMemoryMetricReader()]))
    return provider.force_flush


def _none(exporter: Any) -> Flush:
    return lambda: None


def _floor(exporter: Any) -> Flush:
    flush = provided(exporter)
    from floor import Floor

    Floor(os.environ["FLOOR"] == "content").install()
    return flush


def _ours(exporter: Any) -> Flush:
    flush = provided(exporter)
    _own(exporter)
    return flush


def _own(exporter: Any) -> Flush:
    """With providers of ours, which send by OTLP as ``OTEL_*`` says."""
    import openai

    import backspan
    import backspan.instrument

    backspan.instrument.imported(openai)
    return backspan.flush


def _official(exporter: Any) -> Flush:
    flush = provided(exporter)
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument()
    return flush


def _openllmetry(exporter: Any) -> Flush:
    flush = provided(exporter)
    from opentelemetry.instrumentation.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument()
    return flush


def _openinference(exporter: Any) -> Flush:
    flush = provided(exporter)
    from openinference.instrumentation.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument()
    return flush


def _logfire(exporter: Any) -> Flush:
    import logfire
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    queue = BatchSpanProcessor(exporter or nowhere(), max_queue_size=20_000)
    logfire.configure(send_to_logfire=False, console=False, inspect_arguments=False, additional_span_processors=[queue])
    logfire.instrument_openai()
    return logfire.force_flush


def _langfuse(exporter: Any) -> Flush:
    from langfuse import Langfuse

    one = Langfuse(public_key="pk-lf-bench", secret_key="sk-lf-bench", base_url="http://127.0.0.1:9",
                   span_exporter=exporter or nowhere())
    import langfuse.openai  # noqa: F401 -- patches openai

    return one.flush


_CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_LATEST = {"OTEL_SEMCONV_STABILITY_OPT_IN": "gen_ai_latest_experimental"}
SIDES: Mapping[str, Side] = {
    "none": Side("", _none),
    "floor": Side("", _floor, {"FLOOR": "content"}, {"FLOOR": ""}),
    "backspan": Side("backspan", _ours, {"BACKSPAN": "content"}, {"BACKSPAN": "1"}),
    "backspan, own queue": Side("backspan", _own, {"BACKSPAN": "content"}, {"BACKSPAN": "1"}),
    "OpenTelemetry": Side("opentelemetry-instrumentation-genai-openai", _official,
                          {_CAPTURE: "SPAN_ONLY", **_LATEST}, {_CAPTURE: "NO_CONTENT", **_LATEST}),
    "OpenLLMetry": Side("opentelemetry-instrumentation-openai", _openllmetry,
                        {"TRACELOOP_TRACE_CONTENT": "true"}, {"TRACELOOP_TRACE_CONTENT": "false"}),
    "OpenInference": Side("openinference-instrumentation-openai", _openinference, {},
                          {"OPENINFERENCE_HIDE_INPUTS": "true", "OPENINFERENCE_HIDE_OUTPUTS": "true"}),
    "Logfire": Side("logfire", _logfire, {}, None),
    "Langfuse": Side("langfuse", _langfuse, {}, None),
}
