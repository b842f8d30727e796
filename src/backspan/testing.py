"""Helpers for tests of applications that backspan instruments.

    from backspan.testing import capture

    def test_answer():
        with capture() as seen:
            ask("Where is my parcel?")
        assert [span.name for span in seen.spans] == ["chat gpt-5"]
        assert seen.value("backspan.answers") == 1

Nothing leaves the process, ids count from 1 and the clock ticks, so that two runs of a test see the same values.
"""

from __future__ import annotations

import os
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from opentelemetry.sdk import trace as sdk_trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler

from backspan import _boot, config, telemetry
from backspan.feedback.memory import MemorySink


class Clock:
    """A clock that moves only when it is read, by ``tick`` seconds, or by `advance`."""

    def __init__(self, start: float = 1_700_000_000.0, tick: float = 0.001) -> None:
        self._now, self._tick = round(start * 1e9), round(tick * 1e9)

    def time_ns(self) -> int:
        """Nanoseconds since 1970."""
        self._now += self._tick
        return self._now

    def time(self) -> float:
        """Seconds since 1970."""
        return self.time_ns() / 1e9

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass."""
        self._now += round(seconds * 1e9)


class CountingIds(IdGenerator):
    """Trace and span ids that count from 1, each on its own."""

    def __init__(self) -> None:
        self._traces = self._spans = 0

    def generate_trace_id(self) -> int:
        self._traces += 1
        return self._traces

    def generate_span_id(self) -> int:
        self._spans += 1
        return self._spans

    def is_trace_id_random(self) -> bool:
        """No: they count."""
        return False


@dataclass(frozen=True)
class Point:
    """One data point: the metric's name, the attributes, and the value (sum and count for a histogram)."""

    metric: str
    attributes: Mapping[str, Any]
    value: float
    count: int = 1


@dataclass
class Captured:
    """What was recorded in the block of `capture`; it can be read inside and after it."""

    clock: Clock
    _span_exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    _log_exporter: InMemoryLogRecordExporter = field(default_factory=InMemoryLogRecordExporter)
    _reader: InMemoryMetricReader = field(default_factory=InMemoryMetricReader)

    @property
    def spans(self) -> list[ReadableSpan]:
        """The spans that have ended, in the order in which they ended."""
        return list(self._span_exporter.get_finished_spans())

    @property
    def logs(self) -> list[Any]:
        """The log records, events included, as the SDK's `LogRecord`."""
        return [one.log_record for one in self._log_exporter.get_finished_logs()]

    @property
    def points(self) -> list[Point]:
        """Every data point as it stands now, in cumulative temporality."""
        self._reader.collect()  # a new series of ours is 0 the first time
        data = self._reader.get_metrics_data()
        resources = data.resource_metrics if data else ()
        metrics = [metric for one in resources for scope in one.scope_metrics for metric in scope.metrics]
        return [_point(metric.name, point) for metric in metrics for point in metric.data.data_points]

    def value(self, metric: str, **attributes: Any) -> float:
        """Sum over the points of ``metric`` whose attributes have these values; write a dot in a key as ``__``."""
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}
        found = [point for point in self.points if point.metric == metric]
        return sum(point.value for point in found if wanted.items() <= point.attributes.items())


def _point(name: str, point: Any) -> Point:
    attributes = dict(point.attributes or {})
    if hasattr(point, "count"):
        return Point(name, attributes, point.sum, point.count)
    return Point(name, attributes, point.value)


@contextmanager
def capture(*, content: bool = False, sampler: Sampler = ALWAYS_ON) -> Generator[Captured]:
    """Switch instrumentation on for the block and keep in memory what it records.

    Args:
        content: record redacted prompts, documents and answers too, as ``BACKSPAN=content`` does.
        sampler: for the spans of calls; feedback is never sampled.

    Our providers stand in for the application's, whichever it has set. ``time.time`` and ``time.time_ns`` show the
    captured clock; durations (``time.perf_counter``) stay real. Blocks do not nest and are not for several threads.
    """
    seen, was_running = Captured(Clock()), _boot.is_running()
    tracers, meters, loggers = _providers(seen, sampler)
    with ExitStack() as stack:
        for replace in _replacements(seen.clock, tracers, meters, loggers):
            stack.enter_context(replace())
        stack.enter_context(mock.patch.dict(os.environ, {"BACKSPAN": "content" if content else "1"}))
        config.reload()
        _boot.start()
        try:
            yield seen
        finally:
            if not was_running:
                _switch_off()
    config.reload()


def _providers(seen: Captured, sampler: Sampler) -> tuple[TracerProvider, MeterProvider, LoggerProvider]:
    resource = Resource({"service.name": "test"})
    tracers = TracerProvider(sampler, resource, shutdown_on_exit=False, id_generator=CountingIds())
    tracers.add_span_processor(SimpleSpanProcessor(seen._span_exporter))  # pyright: ignore[reportPrivateUsage]
    meters = MeterProvider([seen._reader], resource, shutdown_on_exit=False)  # pyright: ignore[reportPrivateUsage]
    loggers = LoggerProvider(resource, shutdown_on_exit=False)
    exporter = seen._log_exporter  # pyright: ignore[reportPrivateUsage]
    loggers.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    return tracers, meters, loggers


def _replacements(
    clock: Clock, tracers: TracerProvider, meters: MeterProvider, loggers: LoggerProvider
) -> list[Callable[[], Any]]:
    return [
        lambda: mock.patch.object(telemetry, "tracer_provider", lambda: tracers),
        lambda: mock.patch.object(telemetry, "meter_provider", lambda: meters),
        lambda: mock.patch.object(telemetry, "get_logger_provider", lambda: loggers),
        lambda: mock.patch("backspan.feedback.record._sink", MemorySink()),
        lambda: mock.patch("backspan.context._cohorts", set[Any]()),
        lambda: mock.patch("backspan._turns._remembered", OrderedDict[str, Any]()),
        lambda: mock.patch.object(time, "time", clock.time),
        lambda: mock.patch.object(time, "time_ns", clock.time_ns),
        lambda: mock.patch.object(sdk_trace, "time_ns", clock.time_ns),
    ]


def _switch_off() -> None:
    _boot.stop()
    instrument = sys.modules.get("backspan.instrument")
    if instrument is not None:
        instrument.uninstrument()
