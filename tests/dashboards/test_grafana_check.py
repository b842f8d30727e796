"""`make grafana-check`: says plainly when there is no Grafana, and gives one all it needs when there is.

The Grafana here is a recorder: it answers every request with a fixed status. What a real one makes of the dashboards is
not known from this.
"""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from tests.support.grafana import check
from tests.support.grafana.proxy import signing
from tests.support.held import hold

from backspan.dashboards.generate import DASHBOARDS

Request = tuple[str, str, str, Any]


@contextmanager
def recorder(refuses: str = "") -> Generator[tuple[str, list[Request]]]:
    """A server that knows nothing yet (GET: 404) and takes what is posted, but for paths with ``refuses``."""
    requests: list[Request] = []

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            said = json.loads(body) if body else None
            requests.append((self.command, self.path, self.headers["Authorization"], said))
            bad = refuses and refuses in self.path
            self.send_response(400 if bad else 404 if self.command == "GET" else 200)
            self.end_headers()
            self.wfile.write(b"{}")

        do_GET = do_POST = _answer

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", requests
    finally:
        server.shutdown()
        server.server_close()


def test_without_grafana_it_says_so_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main({}) == 2
    assert "There is no Grafana to check against" in capsys.readouterr().err


def test_a_grafana_that_does_not_answer_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    with hold() as port:
        assert check.main({"GRAFANA_URL": f"http://127.0.0.1:{port}"}) == 2
    assert "Nothing was checked" in capsys.readouterr().err


def test_everything_is_provisioned() -> None:
    with recorder() as (url, requests):
        grafana = check.found({"GRAFANA_URL": f"{url}/", "GRAFANA_TOKEN": "t"})
        assert grafana is not None
        check.provision(grafana, {"PROMETHEUS_URL": "http://here:9090"})
    posted = [(path, body) for method, path, _, body in requests if method == "POST"]
    boards = [body for path, body in posted if path == "/api/dashboards/db"]
    assert len(boards) == len(DASHBOARDS)
    assert all(body["folderUid"] == "backspan" and body["overwrite"] for body in boards)
    urls = {body["uid"]: body["url"] for path, body in posted if path == "/api/datasources"}
    assert urls["prometheus"] == "http://here:9090"
    assert {header for _, _, header, _ in requests} == {"Bearer t"}


def test_a_dashboard_that_is_refused_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with recorder("/api/dashboards/db") as (url, _):
        assert check.main({"GRAFANA_URL": url}) == 1
    assert "Grafana refused" in capsys.readouterr().err


def test_a_query_that_is_refused_is_named() -> None:
    with recorder("/api/ds/query") as (url, _):
        faults = check.refused(check.Grafana(url, "Bearer t"))
    assert any(fault.startswith("backspan / overview, Answers A: 400") for fault in faults)


def test_the_proxy_signs() -> None:
    with recorder() as (url, requests), signing(url, "Bearer s") as proxy:
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"{proxy}/d/x?kiosk", timeout=10)
    assert requests == [("GET", "/d/x?kiosk", "Bearer s", None)]
