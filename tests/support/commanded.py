"""An OTLP receiver that does what the test commands: refuses, is slow to answer, hangs up, or takes 4 MiB at most."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_pb

from tests.support.otlp_sink import OtlpSink

Judge = Callable[[trace_pb.ExportTraceServiceRequest, int], int]
"""Given a request and its size in bytes, the HTTP status for it."""


class Commanded(OtlpSink):
    """`judge` decides about each request for spans; `sizes` and `statuses` say what came, and how it was answered."""

    def __init__(self, judge: Judge | None = None) -> None:
        super().__init__()
        self.judge: Judge = judge or (lambda _request, _size: 200)
        self.sizes: list[int] = []
        self.statuses: list[int] = []
        self._answered = threading.Condition()

    def receive(self, path: str, data: bytes) -> int:
        if path != "/v1/traces":
            return super().receive(path, data)
        status = self.judge(trace_pb.ExportTraceServiceRequest.FromString(data), len(data))
        if status == 200:
            status = super().receive(path, data)
        with self._answered:
            self.sizes.append(len(data))
            self.statuses.append(status)
            self._answered.notify_all()
        return status

    def wait_answers(self, count: int, status: int, timeout: float = 60) -> None:
        """Block until ``count`` requests for spans were answered with ``status``."""
        with self._answered:
            if not self._answered.wait_for(lambda: self.statuses.count(status) >= count, timeout):
                raise TimeoutError(f"{self.statuses.count(status)} of {count} answers with {status}")

    def names(self) -> list[str]:
        """Names of the spans in the order in which they came."""
        return [span.name for span in self.spans]


def span_names(request: Any) -> list[str]:
    """Names of the spans of a request."""
    return [span.name for part in request.resource_spans for scope in part.scope_spans for span in scope.spans]
