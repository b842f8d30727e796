"""Exporters for the providers we build ourselves: OTLP as ``OTEL_*`` says, silent but for one line of ours.

The SDK's exporters log a traceback or a warning for every failed batch. In an application that never asked for
logging those land on its stderr, so while one of *our* exporters works, its library's records are held back, the loss
is counted, and said once in a sentence.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from backspan._guard import say_once

_PROBE_SECONDS = 0.2
_working = threading.local()


class _HoldBack(logging.Filter):
    """Drops records logged by a thread that is inside one of our exporters."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(_working, "ours", False)


_hold_back = _HoldBack()


def _hold_back_library_logs() -> None:
    names = [n for n in logging.root.manager.loggerDict if n.startswith(("opentelemetry.", "urllib3", "grpc"))]
    for name in names:
        logging.getLogger(name).addFilter(_hold_back)


@contextmanager
def _ours() -> Generator[None]:
    _working.ours = True
    try:
        yield
    finally:
        _working.ours = False


class Delivery:
    """How one endpoint fares: counts of batches and items delivered and lost."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.delivered = 0
        self.lost = 0
        self.failing = False

    def nobody_listens(self) -> bool:
        """Tell whether the endpoint refuses a connection right now; False if that cannot be told."""
        url = urlsplit(self.endpoint if "//" in self.endpoint else f"//{self.endpoint}")
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            socket.create_connection((url.hostname or "localhost", port), _PROBE_SECONDS).close()
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
        return False

    def note(self, items: int, delivered: bool) -> None:
        """Count ``items`` as delivered or lost; the first loss of the process is said in one line."""
        self.failing = not delivered
        if delivered:
            self.delivered += items
            return
        self.lost += items
        say_once("export", f"cannot deliver telemetry to {self.endpoint}; the application is not affected "
                           "(`backspan up` listens there, `backspan doctor` looks)")


def _stop_retrying(exporter: Any) -> None:
    """Have an OTLP exporter try each batch once more and not wait in between. Its retries reach over the exit."""
    client = getattr(exporter, "_client", None)
    for owner, name in ((client, "_shutdown_event"), (exporter, "_shutdown_in_progress")):
        event = getattr(owner, name, None)
        if isinstance(event, threading.Event):
            event.set()


class _Quiet:
    """What the exporters of both signals share."""

    delivery: Delivery
    _inner: Any

    def prepare_exit(self) -> None:
        """With nothing listening, make the last attempts short ones."""
        if self.delivery.nobody_listens():
            _stop_retrying(self._inner)


class QuietSpanExporter(_Quiet, SpanExporter):
    """Delegates to an OTLP span exporter, with its log records held back and its losses counted."""

    def __init__(self, inner: SpanExporter, delivery: Delivery) -> None:
        self._inner: Any = inner
        self.delivery = delivery

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        with _ours():
            result: SpanExportResult = self._inner.export(spans)
        self.delivery.note(len(spans), result is SpanExportResult.SUCCESS)
        return result

    def shutdown(self) -> None:
        with _ours():
            self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return bool(self._inner.force_flush(timeout_millis))


class QuietMetricExporter(_Quiet, MetricExporter):
    """Delegates to an OTLP metric exporter. In a forked child it sends nothing: the child has providers of its own,
    and the parent's totals under a second instance id would be counted twice."""

    def __init__(self, inner: MetricExporter, delivery: Delivery) -> None:
        super().__init__(preferred_temporality=inner._preferred_temporality,  # pyright: ignore[reportPrivateUsage]
                         preferred_aggregation=inner._preferred_aggregation)  # pyright: ignore[reportPrivateUsage]
        self._inner: Any = inner
        self.delivery, self._pid = delivery, os.getpid()

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        if os.getpid() != self._pid:
            return MetricExportResult.SUCCESS
        with _ours():
            result: MetricExportResult = self._inner.export(metrics_data, timeout_millis=timeout_millis)
        self.delivery.note(0, result is MetricExportResult.SUCCESS)
        return result

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return bool(self._inner.force_flush(timeout_millis))

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        with _ours():
            self._inner.shutdown(timeout_millis)


def _protocol(signal: str) -> str:
    default = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "http/protobuf"
    protocol = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL") or default
    if protocol not in {"http/protobuf", "grpc"}:
        say_once(f"protocol:{protocol}", f"OTLP protocol {protocol!r} is not supported, using http/protobuf")
        return "http/protobuf"
    return protocol


def _endpoint(signal: str, grpc: bool) -> str:
    base = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or f"http://localhost:{4317 if grpc else 4318}"
    return os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT") or base


def _wanted(signal: str) -> bool:
    wanted = os.environ.get(f"OTEL_{signal}_EXPORTER", "otlp")
    return "otlp" in [word.strip() for word in wanted.split(",")]


def span_exporter() -> QuietSpanExporter | None:
    """The OTLP span exporter that ``OTEL_*`` asks for, or None with ``OTEL_TRACES_EXPORTER=none``."""
    if not _wanted("TRACES"):
        return None
    grpc = _protocol("TRACES") == "grpc"
    if grpc:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as Exporter
    else:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as Exporter
    exporter = QuietSpanExporter(Exporter(), Delivery(_endpoint("TRACES", grpc)))
    _hold_back_library_logs()
    return exporter


def metric_exporter() -> QuietMetricExporter | None:
    """The OTLP metric exporter that ``OTEL_*`` asks for, or None with ``OTEL_METRICS_EXPORTER=none``."""
    if not _wanted("METRICS"):
        return None
    grpc = _protocol("METRICS") == "grpc"
    if grpc:
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as Exporter
    else:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as Exporter
    exporter = QuietMetricExporter(Exporter(), Delivery(_endpoint("METRICS", grpc)))
    _hold_back_library_logs()
    return exporter
