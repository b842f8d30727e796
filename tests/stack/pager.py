"""A webhook that keeps what Alertmanager sends to it."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Pager:
    """Listens on loopback between `__enter__` and `__exit__`; ``pages`` are the firing alerts received."""

    def __init__(self) -> None:
        self.pages: list[dict[str, Any]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/page"

    def of(self, service: str) -> list[dict[str, Any]]:
        """Alerts about a service."""
        return [page for page in self.pages if page["labels"].get("service_name") == service]

    def about(self, alert: str) -> list[dict[str, Any]]:
        """Alerts of one name."""
        return [page for page in self.pages if page["labels"]["alertname"] == alert]

    def __enter__(self) -> Pager:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        pages = self.pages

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                pages.extend(alert for alert in sent["alerts"] if alert["status"] == "firing")
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: pytest shows what matters."""

        return Handler
