"""The exporter for metrics of ours: the SDK's own, as totals since the start need no queue, but silent."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData

from backspan._export.delivery import Delivery, held_back

_PROBE_SECONDS = 0.2


def nobody_listens(endpoint: str) -> bool:
    """Tell whether the endpoint refuses a connection right now; False if that cannot be told."""
    url = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        socket.create_connection((url.hostname or "localhost", port), _PROBE_SECONDS).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def _stop_retrying(exporter: Any) -> None:
    """Have an OTLP exporter try each batch once more and not wait in between. Its retries reach over the exit."""
    client = getattr(exporter, "_client", None)
    for owner, name in ((client, "_shutdown_event"), (exporter, "_shutdown_in_progress")):
        event = getattr(owner, name, None)
        if isinstance(event, threading.Event):
            event.set()


class QuietMetricExporter(MetricExporter):
    """Delegates to an OTLP metric exporter. In a forked child it sends nothing: the child has providers of its own,
    and the parent's totals under a second instance id would be counted twice."""

    def __init__(self, inner: MetricExporter, delivery: Delivery) -> None:
        super().__init__(preferred_temporality=inner._preferred_temporality,  # pyright: ignore[reportPrivateUsage]
                         preferred_aggregation=inner._preferred_aggregation)  # pyright: ignore[reportPrivateUsage]
        self._inner: Any = inner
        self.delivery, self._pid, self._ending = delivery, os.getpid(), False

    def prepare_exit(self) -> None:
        """The next export is the last; with nothing listening, make it a short one."""
        self._ending = True
        if nobody_listens(self.delivery.endpoint):
            _stop_retrying(self._inner)

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        if os.getpid() != self._pid:
            return MetricExportResult.SUCCESS
        with held_back():
            result: MetricExportResult = self._inner.export(metrics_data, timeout_millis=timeout_millis)
        if result is MetricExportResult.SUCCESS:
            self.delivery.deliver(0)
        elif self._ending:
            self.delivery.fail()
        else:
            self.delivery.retry()  # totals since the start: the next export says what this one should have
        return result

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return bool(self._inner.force_flush(timeout_millis))

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        with held_back():
            self._inner.shutdown(timeout_millis)
