"""What the application's own provider loses of our spans: counted, said once, and done as without us."""

import logging
import os
import threading

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ConcurrentMultiSpanProcessor, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from backspan import semconv, telemetry
from backspan._export import theirs

HOUR = 3_600_000


class Exporter(SpanExporter):
    """Answers what it is told to, and waits at a gate first."""

    def __init__(self, answer=SpanExportResult.SUCCESS):
        self.answer, self.names = answer, []
        self.busy, self.gate = threading.Event(), threading.Event()
        self.gate.set()

    def export(self, spans):
        self.busy.set()
        assert self.gate.wait(30)
        if isinstance(self.answer, Exception):
            raise self.answer
        self.names += [span.name for span in spans]
        return self.answer


@pytest.fixture
def app(monkeypatch):
    """Call it with processors for a provider that the application has set."""
    made = []

    def provide(*processors, **given):
        provider = TracerProvider(shutdown_on_exit=False, **given)
        for processor in processors:
            provider.add_span_processor(processor)
        monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
        made.append(provider)
        return provider

    yield provide
    for provider in made:
        provider.shutdown()


def end(name="s", **given):
    telemetry.get_tracer().start_span(name, attributes=given).end()


def said(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "backspan"]


def full(processor):
    """Fill the queue of three while the exporter holds one batch."""
    exporter = processor.span_exporter
    exporter.gate.clear()
    end("held")
    flushing = threading.Thread(target=processor.force_flush)
    flushing.start()
    assert exporter.busy.wait(30)
    return flushing


def test_a_full_queue_is_counted_said_once_and_drops_the_oldest_as_ever(app, caplog):
    exporter = Exporter()
    processor = BatchSpanProcessor(exporter, max_queue_size=3, max_export_batch_size=3, schedule_delay_millis=HOUR)
    provider = app(processor)
    flushing = full(processor)
    for n in range(5):
        end(f"s{n}")
    assert theirs.dropped == {("span", "full"): 2}
    other = provider.get_tracer("the application's own")
    for n in range(3):
        other.start_span(f"a{n}").end()  # these push three of ours out ...
    assert theirs.dropped == {("span", "full"): 5}
    for n in range(3):
        other.start_span(f"b{n}").end()  # ... and these three of the application's, which are not ours to count
    assert theirs.dropped == {("span", "full"): 5}
    exporter.gate.set()
    flushing.join(30)
    processor.force_flush()
    assert exporter.names == ["held", "b0", "b1", "b2"]
    assert said(caplog) == [
        "backspan: the queue of the application's BatchSpanProcessor is full, and spans of backspan are dropped with "
        "others; they are counted in backspan.plugin.spans.dropped, and the application is not affected"]


@pytest.mark.parametrize("answer", [SpanExportResult.FAILURE, ConnectionError("gone")])
def test_a_batch_that_is_not_delivered_is_counted_by_span(app, caplog, answer):
    exporter = Exporter(answer)
    provider = app(BatchSpanProcessor(exporter, schedule_delay_millis=HOUR))
    for n in range(3):
        end(f"s{n}")
    end("evaluation x", **{semconv.FEEDBACK_ID: "f1"})
    provider.get_tracer("the application's own").start_span("other").end()
    provider.force_flush()
    assert theirs.dropped == {("span", "failed"): 3, ("feedback", "failed"): 1}
    exporter.answer = SpanExportResult.SUCCESS
    end("arrives")
    provider.force_flush()
    assert exporter.names[-1] == "arrives" and theirs.dropped.total() == 4
    assert [line for line in said(caplog) if "does not deliver" in line] == said(caplog) != []
    assert len(said(caplog)) == 1 and "Exporter" in said(caplog)[0]


def test_what_the_exporter_returns_and_raises_is_handed_on(app):
    exporter = Exporter(SpanExportResult.FAILURE)
    app(SimpleSpanProcessor(exporter))
    end()
    assert theirs.dropped == {("span", "failed"): 1}
    assert exporter.export([]) is SpanExportResult.FAILURE
    exporter.answer = error = ValueError()
    with pytest.raises(ValueError) as raised:
        exporter.export(spans=[])
    assert raised.value is error and theirs.dropped.total() == 1


def test_spans_that_end_after_the_shutdown_are_counted(app, caplog):
    for processor in (BatchSpanProcessor(Exporter()), SimpleSpanProcessor(Exporter())):
        app(processor)
        end("in time")
        processor.shutdown()
        end("late")
    assert theirs.dropped == {("span", "shutdown"): 2}
    assert len(said(caplog)) == 1


def test_processors_added_later_are_watched_from_the_next_span_on(app):
    provider = app()
    end()
    provider.add_span_processor(SimpleSpanProcessor(Exporter(SpanExportResult.FAILURE)))
    end()
    assert theirs.dropped == {("span", "failed"): 1}
    provider.add_span_processor(SimpleSpanProcessor(Exporter(SpanExportResult.FAILURE)))
    end()
    assert theirs.dropped == {("span", "failed"): 3}  # once for each that lost it


def test_feedback_alone_has_processors_watched_too(app):
    app(SimpleSpanProcessor(Exporter(SpanExportResult.FAILURE)))
    telemetry.feedback_tracer().start_span("evaluation x", attributes={semconv.FEEDBACK_ID: "f1"}).end()
    assert theirs.dropped == {("feedback", "failed"): 1}


def test_processors_that_run_at_the_same_time(app):
    app(SimpleSpanProcessor(Exporter(SpanExportResult.FAILURE)), active_span_processor=ConcurrentMultiSpanProcessor())
    end()
    assert theirs.dropped == {("span", "failed"): 1}


def test_the_sdks_own_metrics_are_as_without_us(app, monkeypatch):
    monkeypatch.setenv("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "true")
    reader = InMemoryMetricReader()
    processor = BatchSpanProcessor(Exporter(), max_queue_size=3, max_export_batch_size=3, schedule_delay_millis=HOUR,
                                   meter_provider=MeterProvider([reader], shutdown_on_exit=False))
    app(processor)
    flushing = full(processor)
    for _ in range(4):
        end()
    processor.span_exporter.gate.set()
    flushing.join(30)
    data = reader.get_metrics_data()
    points = {m.name: m.data.data_points for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics}
    processed = {p.attributes.get("error.type"): p.value for p in points["otel.sdk.processor.span.processed"]}
    assert processed["queue_full"] == 1 == theirs.dropped[("span", "full")]


def test_the_metric_has_what_both_lost(app):
    reader = InMemoryMetricReader()
    telemetry._state.meter_provider = MeterProvider([reader], shutdown_on_exit=False)
    telemetry.instruments()
    app(SimpleSpanProcessor(Exporter(SpanExportResult.FAILURE)))
    end()
    data = reader.get_metrics_data()
    points = {m.name: m.data.data_points for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics}
    (point,) = points[semconv.PLUGIN_DROPPED]
    assert (point.value, dict(point.attributes)) == (1, {semconv.LOST_KIND: "span", semconv.LOST_REASON: "failed"})


class Mute(SpanProcessor):
    """A processor of the application's own making."""


def test_what_cannot_be_watched_is_left_alone(app, caplog):
    processors = Mute(), SimpleSpanProcessor(InMemorySpanExporter())
    app(*processors)
    end()
    assert vars(processors[0]) == {} and theirs.dropped == {}
    assert theirs.watch(trace.NoOpTracerProvider(), None) == theirs.NOTHING
    assert caplog.records == []


def test_losses_pass_unnoticed_where_nobody_watches(app, monkeypatch):
    monkeypatch.setattr(theirs, "_watch_drops", lambda *_: None)
    monkeypatch.setattr(theirs, "_watch_exporter", lambda *_: None)
    processor = BatchSpanProcessor(Exporter(SpanExportResult.FAILURE), schedule_delay_millis=HOUR)
    app(processor)
    end()
    processor.shutdown()
    end()
    assert theirs.dropped == {}


def test_our_own_provider_is_not_watched(spans):
    end()
    assert "export" not in vars(spans)


def test_a_fault_of_ours_loses_no_span(app, monkeypatch, caplog):
    monkeypatch.delenv("BACKSPAN_RAISE")
    exporter = Exporter(SpanExportResult.FAILURE)
    app(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(theirs, "_lose", None)
    end("s")
    assert exporter.names == ["s"]
    assert any("theirs._failed failed with TypeError" in line for line in said(caplog))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_counts_for_itself(app):
    exporter = Exporter(SpanExportResult.FAILURE)
    app(SimpleSpanProcessor(exporter))
    end()
    child = os.fork()
    if child == 0:
        before = theirs.dropped.total()
        end()
        os._exit(0 if (before, theirs.dropped.total()) == (0, 1) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert theirs.dropped.total() == 1


def test_the_log_is_the_applications_as_without_us(app, caplog):
    """The SDK's own record of an exporter that raises is still there, once a batch."""
    app(SimpleSpanProcessor(Exporter(ValueError("no"))))
    end()
    theirs_said = [r for r in caplog.records if r.name.startswith("opentelemetry") and r.levelno == logging.ERROR]
    assert [r.getMessage() for r in theirs_said] == ["Exception while exporting Span."]
