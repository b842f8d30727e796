"""Applications that count feedback: one that is scraped, one that pushes. Both are told what happens to them.

A test plays one script to several of them at once. What they were told to count stays known (`App.counted`), over all
their restarts: it is the truth that a chart's counting is held against.
"""

from __future__ import annotations

import json
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExportResult, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from tests.support.prometheus import Labels, labels_of

from backspan import semconv

EXPORT_MS = 500
THUMBS = {semconv.LABEL_NAME: semconv.USER_THUMBS, semconv.LABEL_OP: semconv.ADD}


def vote(polarity: str, version: str = "", **more: str) -> dict[str, str]:
    """Labels of a first thumb, as the metric has them, but for the service's."""
    return {**THUMBS, semconv.LABEL_POLARITY: polarity, "gen_ai_prompt_version": version, **more}


class App(ABC):
    """One process of a service, as far as its counter is concerned."""

    def __init__(self, instance: str, service: str) -> None:
        self.instance, self.service = instance, service
        self.counted: Counter[Labels] = Counter()

    def count(self, labels: Mapping[str, str], events: int = 1) -> None:
        """``events`` more; 0 only makes the series appear."""
        self.counted[labels_of(labels)] += events
        self._count(labels_of(labels), events)

    def recall(self, labels: Mapping[str, str], events: int) -> None:
        """``events`` of before anybody looked: the series appears with them, and nobody can count them."""
        self._count(labels_of(labels), events)

    def truth(self, **wanted: str) -> int:
        """Events of all series with the labels ``wanted``, over all restarts."""
        return sum(n for labels, n in self.counted.items() if wanted.items() <= dict(labels).items())

    @abstractmethod
    def _count(self, labels: Labels, events: int) -> None: ...

    @abstractmethod
    def end(self) -> None:
        """The process ends, and its counts with it."""

    @abstractmethod
    def begin(self) -> None:
        """It runs again, and has counted nothing."""

    @abstractmethod
    def mute(self, muted: bool) -> None:
        """It counts on, but nobody can read it."""

    @abstractmethod
    def hide(self, labels: Mapping[str, str]) -> None:
        """One series is left out, until `show`; where that cannot be, nothing happens."""

    @abstractmethod
    def show(self, labels: Mapping[str, str]) -> None: ...


class _Httpd(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a server that is killed in the middle of a scrape is part of the tests."""


class Exporter:
    """Serves the counts of its apps at ``/metrics/<instance>``, as text, from `__enter__` to `__exit__`."""

    def __init__(self) -> None:
        self.apps: dict[str, ScrapedApp] = {}
        self._server = _Httpd(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def app(self, instance: str, service: str) -> ScrapedApp:
        """A new app, running."""
        self.apps[instance] = ScrapedApp(instance, service)
        return self.apps[instance]

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def __enter__(self) -> Exporter:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        apps = self.apps

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                app = apps.get(self.path.rpartition("/")[2])
                text = app.text() if app else None
                self.send_response(503 if text is None else 200)
                body = (text or "").encode()
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: pytest shows what matters."""

        return Handler


class ScrapedApp(App):
    """An app that answers scrapes; while it is ended or muted, with 503."""

    def __init__(self, instance: str, service: str) -> None:
        super().__init__(instance, service)
        self._lock = threading.Lock()
        self._series: dict[Labels, int] = {}
        self._read: dict[Labels, int] = {}
        self.unseen = 0
        """Events between a last scrape and an end, which nobody can have seen."""
        self._hidden: set[Labels] = set()
        self._running, self._muted = True, False

    def text(self) -> str | None:
        """What a scrape reads; None for an error."""
        with self._lock:
            if self._muted or not self._running:
                return None
            self._read = dict(self._series)
            lines, service = [f"# TYPE {semconv.PROM_FEEDBACK} counter"], (semconv.PROM_SERVICE, self.service)
            for labels, value in self._series.items():
                if labels not in self._hidden:
                    pairs = ",".join(f"{key}={json.dumps(text)}" for key, text in (*labels, service))
                    lines.append(f"{semconv.PROM_FEEDBACK}{{{pairs}}} {value}")
        return "\n".join([*lines, ""])

    def _count(self, labels: Labels, events: int) -> None:
        with self._lock:
            self._series[labels] = self._series.get(labels, 0) + events

    def end(self) -> None:
        with self._lock:
            self.unseen += sum(self._series.values()) - sum(self._read.values())
            self._running, self._series, self._read = False, {}, {}

    def begin(self) -> None:
        with self._lock:
            self._running = True

    def mute(self, muted: bool) -> None:
        with self._lock:
            self._muted = muted

    def hide(self, labels: Mapping[str, str]) -> None:
        with self._lock:
            self._hidden.add(labels_of(labels))

    def show(self, labels: Mapping[str, str]) -> None:
        with self._lock:
            self._hidden.discard(labels_of(labels))


class PushingApp(App):
    """An app with OpenTelemetry's SDK, which pushes to ``url`` (of ``/v1/metrics``) twice a second.

    Its last words are lost when it ends: it is killed, not stopped.
    """

    def __init__(self, instance: str, service: str, url: str) -> None:
        super().__init__(instance, service)
        self._url, self._muted = url, False
        self.begin()

    def _count(self, labels: Labels, events: int) -> None:
        self._counter.add(events, dict(labels))

    def begin(self) -> None:
        resource = Resource({"service.name": self.service, "service.instance.id": self.instance})
        self._exporter = _Exporter(self._url)
        self._exporter.muted = self._muted
        reader = PeriodicExportingMetricReader(self._exporter, EXPORT_MS)
        self._provider = MeterProvider([reader], resource, shutdown_on_exit=False)
        self._counter = self._provider.get_meter("test").create_counter(semconv.FEEDBACK)

    def end(self) -> None:
        self._exporter.muted = True
        self._provider.shutdown()

    def mute(self, muted: bool) -> None:
        self._muted = self._exporter.muted = muted

    def hide(self, labels: Mapping[str, str]) -> None:
        """An SDK knows no such thing."""

    show = hide


class _Exporter(OTLPMetricExporter):
    """OpenTelemetry's own, which can be cut off."""

    def __init__(self, url: str) -> None:
        super().__init__(url, timeout=5)
        self.muted = False

    def export(self, metrics_data: Any, timeout_millis: float | None = 10_000, **kwargs: Any) -> Any:
        """Send, unless cut off: a push that does not arrive."""
        if self.muted:
            return MetricExportResult.SUCCESS
        return super().export(metrics_data, timeout_millis, **kwargs)
