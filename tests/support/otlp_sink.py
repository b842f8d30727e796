"""A small OTLP receiver on loopback (HTTP/protobuf, and gRPC) that keeps what it was sent in plain Python values.

    with OtlpSink() as sink:
        run(app, OTEL_EXPORTER_OTLP_ENDPOINT=sink.endpoint)
        (span,) = sink.wait_spans(1)

Waiting blocks on a condition, never polls. `sink.refuse(503)` makes it refuse until `sink.refuse(None)`.
"""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs_pb
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics_pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_pb

KINDS = {0: "UNSPECIFIED", 1: "INTERNAL", 2: "SERVER", 3: "CLIENT", 4: "PRODUCER", 5: "CONSUMER"}
STATUSES = {0: "UNSET", 1: "OK", 2: "ERROR"}


@dataclass(frozen=True)
class Span:
    """One span; ids in hex, times in nanoseconds, `events` as (name, attributes), `links` as (trace, span)."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, Any]
    resource: dict[str, Any]
    scope: str
    status: str
    events: tuple[tuple[str, dict[str, Any]], ...]
    links: tuple[tuple[str, str], ...]
    start: int
    end: int
    link_attributes: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Point:
    """One data point of a metric; `exemplars` as (trace, span, value). A histogram's value is its sum."""

    metric: str
    unit: str
    kind: str
    attributes: dict[str, Any]
    value: float
    count: int
    exemplars: tuple[tuple[str, str, float], ...]
    resource: dict[str, Any]


@dataclass(frozen=True)
class Log:
    """One log record; an event when `event` is set."""

    event: str
    body: Any
    attributes: dict[str, Any]
    trace_id: str
    span_id: str
    resource: dict[str, Any]


def _value(any_value: Any) -> Any:
    which = any_value.WhichOneof("value")
    if which == "array_value":
        return [_value(item) for item in any_value.array_value.values]
    if which == "kvlist_value":
        return attributes(any_value.kvlist_value.values)
    return getattr(any_value, which) if which else None


def attributes(pairs: Any) -> dict[str, Any]:
    """OTLP key-value pairs as a dict of plain values."""
    return {pair.key: _value(pair.value) for pair in pairs}


def _spans(request: trace_pb.ExportTraceServiceRequest) -> Iterator[Span]:
    for group in request.resource_spans:
        resource = attributes(group.resource.attributes)
        for scope in group.scope_spans:
            yield from (_span(span, scope.scope.name, resource) for span in scope.spans)


def _span(span: Any, scope: str, resource: dict[str, Any]) -> Span:
    return Span(
        name=span.name,
        kind=KINDS[span.kind],
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        attributes=attributes(span.attributes),
        resource=resource,
        scope=scope,
        status=STATUSES[span.status.code],
        events=tuple((event.name, attributes(event.attributes)) for event in span.events),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        link_attributes=tuple(attributes(link.attributes) for link in span.links),
    )


def _points(request: metrics_pb.ExportMetricsServiceRequest) -> Iterator[Point]:
    for group in request.resource_metrics:
        resource = attributes(group.resource.attributes)
        for scope in group.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data") or "none"
                for point in getattr(metric, kind).data_points:
                    yield _point(metric, kind, point, resource)


def _point(metric: Any, kind: str, point: Any, resource: dict[str, Any]) -> Point:
    histogram = kind in ("histogram", "exponential_histogram", "summary")
    value = point.sum if histogram else point.as_double or point.as_int
    return Point(
        metric=metric.name,
        unit=metric.unit,
        kind=kind,
        attributes=attributes(point.attributes),
        value=value,
        count=point.count if histogram else 1,
        exemplars=tuple((x.trace_id.hex(), x.span_id.hex(), x.as_double or x.as_int) for x in point.exemplars),
        resource=resource,
    )


def _logs(request: logs_pb.ExportLogsServiceRequest) -> Iterator[Log]:
    for group in request.resource_logs:
        resource = attributes(group.resource.attributes)
        for scope in group.scope_logs:
            for one in scope.log_records:
                said = attributes(one.attributes)
                yield Log(one.event_name, _value(one.body), said, one.trace_id.hex(), one.span_id.hex(), resource)


class OtlpSink:
    """The receiver. `endpoint` is for OTLP/HTTP; `serve_grpc()` opens a second door and returns its endpoint."""

    def __init__(self, port: int = 0) -> None:
        self._changed = threading.Condition()
        self._spans: list[Span] = []
        self._points: list[Point] = []
        self._logs: list[Log] = []
        self._refusing: int | None = None
        self.requests: list[tuple[str, dict[str, str]]] = []
        self._httpd = _Httpd(("127.0.0.1", port), _Handler)
        self._httpd.sink = self
        self._thread = threading.Thread(target=self._httpd.serve_forever, args=(0.05,), daemon=True)
        self._grpc: Any = None

    @property
    def port(self) -> int:
        return self._httpd.server_address[1]

    @property
    def endpoint(self) -> str:
        """What `OTEL_EXPORTER_OTLP_ENDPOINT` wants for `http/protobuf`."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> OtlpSink:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._httpd.shutdown()
        self._httpd.server_close()
        self._thread.join(5)
        if self._grpc:
            self._grpc.stop(None).wait()

    @property
    def spans(self) -> list[Span]:
        """Every span received so far, in order of arrival. A copy."""
        with self._changed:
            return list(self._spans)

    @property
    def points(self) -> list[Point]:
        """Every metric data point received so far, repeated exports included. A copy."""
        with self._changed:
            return list(self._points)

    @property
    def logs(self) -> list[Log]:
        """Every log record received so far. A copy."""
        with self._changed:
            return list(self._logs)

    def wait_spans(self, count: int, timeout: float = 30.0, where: Callable[[Span], bool] | None = None) -> list[Span]:
        """Block until ``count`` spans (of those ``where`` accepts) arrived; return them.

        Raises:
            TimeoutError: after ``timeout`` seconds, saying which spans did arrive.
        """
        accept = where or (lambda _span: True)

        def found() -> list[Span]:
            return [span for span in self._spans if accept(span)]

        with self._changed:
            if not self._changed.wait_for(lambda: len(found()) >= count, timeout):
                names = [span.name for span in self._spans]
                raise TimeoutError(f"{len(found())} of {count} spans after {timeout} s; all that came: {names}")
            return found()

    def refuse(self, status: int | None) -> None:
        """Answer every export with ``status`` from now on; None accepts again."""
        self._refusing = status

    def receive(self, path: str, data: bytes) -> int:
        """Take one export request; return the HTTP status for it."""
        if self._refusing:
            return self._refusing
        readers: dict[str, tuple[Any, Any, list[Any]]] = {
            "/v1/traces": (trace_pb.ExportTraceServiceRequest, _spans, self._spans),
            "/v1/metrics": (metrics_pb.ExportMetricsServiceRequest, _points, self._points),
            "/v1/logs": (logs_pb.ExportLogsServiceRequest, _logs, self._logs),
        }
        if path not in readers:
            return 404
        message, read, kept = readers[path]
        with self._changed:
            kept.extend(read(message.FromString(data)))
            self._changed.notify_all()
        return 200

    def serve_grpc(self) -> str:
        """Open a gRPC door too; return what `OTEL_EXPORTER_OTLP_ENDPOINT` wants for `grpc`."""
        import grpc

        services = {"trace": "TraceService", "metrics": "MetricsService", "logs": "LogsService"}
        paths = {"trace": "/v1/traces", "metrics": "/v1/metrics", "logs": "/v1/logs"}
        self._grpc = grpc.server(ThreadPoolExecutor(2))
        for kind, service in services.items():
            handler = grpc.unary_unary_rpc_method_handler(self._export(paths[kind]))
            name = f"opentelemetry.proto.collector.{kind}.v1.{service}"
            self._grpc.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(name, {"Export": handler})])
        port = self._grpc.add_insecure_port("127.0.0.1:0")
        self._grpc.start()
        return f"http://127.0.0.1:{port}"

    def _export(self, path: str) -> Callable[[bytes, Any], bytes]:
        def export(data: bytes, _context: Any) -> bytes:
            self.requests.append((f"grpc:{path}", {}))
            self.receive(path, data)
            return b""

        return export


class _Httpd(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    sink: OtlpSink

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: an exporter that is killed in the middle of a request is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Httpd

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the tests' stderr clean."""

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("content-encoding") == "gzip":
            data = gzip.decompress(data)
        self.server.sink.requests.append((self.path, {key.lower(): value for key, value in self.headers.items()}))
        self.send_response(self.server.sink.receive(self.path, data))
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()
