"""An OpenAI look-alike on loopback: real HTTP, real server-sent events, no network.

    with OpenAIServer() as server:
        client = OpenAI(base_url=server.base_url, api_key="test")

It serves chat completions, responses and embeddings, plain and streamed, and keeps every request in `requests`. The
model's name selects odd behaviour:

| model | what happens |
| --- | --- |
| `error-<status>` | that status and an OpenAI error body, every time |
| `flaky-<status>-<n>` | that status for the first n requests, then an answer |
| `cut-after-<n>` | a stream whose connection drops after n events |
| `error-after-<n>` | a stream that carries an error event after n events |
| `slow-<ms>` | that pause before each event, or before a plain answer |
| `hang` | no answer until the client gives up or the server closes |
| `garbage` | status 200 with a body that is not JSON |
| `null-choices`, `no-usage` | a field is null, or missing |
| `tool-call`, `length`, `content-filter` | ends for another reason |
| `incomplete`, `failed` | a response that ends in that status |
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support import openai_bodies as bodies


@dataclass(frozen=True)
class Request:
    """One request as it came in: header names in lower case, in the order sent."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body) if self.body else {}

    def header(self, name: str) -> str | None:
        return dict(self.headers).get(name.lower())


class OpenAIServer:
    """The look-alike, served from a thread between `__enter__` and `__exit__`."""

    def __init__(self, port: int = 0) -> None:
        self.requests: list[Request] = []
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._answers = 0
        self._tries: dict[str, int] = {}
        self._httpd = _Httpd(("127.0.0.1", port), _Handler)
        self._httpd.owner = self
        self._thread = threading.Thread(target=self._httpd.serve_forever, args=(0.05,), daemon=True)

    @property
    def base_url(self) -> str:
        """What `OpenAI(base_url=…)` or `OPENAI_BASE_URL` wants."""
        return f"http://127.0.0.1:{self._httpd.server_address[1]}/v1"

    def __enter__(self) -> OpenAIServer:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.closing.set()
        self._httpd.shutdown()
        self._httpd.server_close()
        self._thread.join(5)

    def record(self, request: Request) -> int:
        """Keep the request; return the number of its answer, from 1."""
        with self._lock:
            self.requests.append(request)
            self._answers += 1
            return self._answers

    def tries(self, model: str) -> int:
        """Count one more request for ``model``; return how many there were before it."""
        with self._lock:
            self._tries[model] = self._tries.get(model, 0) + 1
            return self._tries[model] - 1


class _Httpd(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    owner: OpenAIServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up are what the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Httpd

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the tests' stderr clean."""

    def setup(self) -> None:
        super().setup()
        import socket

        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_GET(self) -> None:
        self._record(b"")
        self._json(200, {"object": "list", "data": [{"id": "gpt-test", "object": "model", "created": 0}]})

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        number = self._record(raw)
        body = json.loads(raw)
        model = str(body.get("model"))
        status = self._failure(model)
        if status:
            self._json(status, _error(status), {"retry-after-ms": "1"})
        elif model == "hang":
            self.server.owner.closing.wait(60)
            self.close_connection = True
        elif model == "garbage":
            self._send(200, b"<html>not json</html>", "application/json")
        elif body.get("stream"):
            self._stream(model, *_events(self.path, body, number))
        else:
            self._plain(model, body, number)

    def _record(self, raw: bytes) -> int:
        headers = tuple((name.lower(), value) for name, value in self.headers.items())
        return self.server.owner.record(Request(self.command, self.path, headers, raw))

    def _failure(self, model: str) -> int | None:
        if match := re.fullmatch(r"error-(\d{3})", model):
            return int(match[1])
        if match := re.fullmatch(r"flaky-(\d{3})-(\d+)", model):
            return int(match[1]) if self.server.owner.tries(model) < int(match[2]) else None
        return None

    def _plain(self, model: str, body: dict[str, Any], number: int) -> None:
        self.server.owner.closing.wait(_pause(model))
        resource = self.path.partition("?")[0].rstrip("/").rpartition("/v1/")[2]
        if resource.endswith("embeddings"):
            self._json(200, bodies.embeddings(body))
        elif resource.endswith("responses"):
            self._json(200, bodies.response(body, number))
        elif resource.endswith("chat/completions"):
            self._json(200, bodies.chat(body, number))
        else:
            self._json(404, _error(404))

    def _stream(self, model: str, events: Iterable[dict[str, Any]], named: bool) -> None:
        self.send_response(200)
        self._common("text/event-stream; charset=utf-8", {"transfer-encoding": "chunked"})
        cut, broken, pause = _number("cut-after", model), _number("error-after", model), _pause(model)
        for index, event in enumerate(events):
            if index == cut:
                self.close_connection = True
                return
            if index == broken:
                event = {"error": {"message": "it broke", "type": "server_error", "param": None, "code": None}}
                self._event(event, "error" if named else None)
                break
            self.server.owner.closing.wait(pause)
            self._event(event, event["type"] if named else None)
        if not named:
            self._chunk(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def _event(self, event: dict[str, Any], name: str | None) -> None:
        head = f"event: {name}\n" if name else ""
        self._chunk(f"{head}data: {json.dumps(event)}\n\n".encode())

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def _json(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(body).encode(), "application/json", headers)

    def _send(self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self._common(kind, {"content-length": str(len(body)), **(headers or {})})
        self.wfile.write(body)

    def _common(self, kind: str, headers: dict[str, str]) -> None:
        given = {"content-type": kind, "x-request-id": "req_1", "openai-processing-ms": "1", **headers}
        for name, value in given.items():
            self.send_header(name, value)
        self.end_headers()


def _number(prefix: str, model: str) -> int | None:
    match = re.fullmatch(rf"{prefix}-(\d+)", model)
    return int(match[1]) if match else None


def _pause(model: str) -> float:
    return (_number("slow", model) or 0) / 1000


def _events(path: str, body: dict[str, Any], number: int) -> tuple[Iterable[dict[str, Any]], bool]:
    if "/responses" in path:
        return bodies.response_events(body, number), True
    return bodies.chat_chunks(body, number), False


def _error(status: int) -> dict[str, Any]:
    kinds = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
    codes = {401: "invalid_api_key", 404: "not_found", 429: "rate_limit_exceeded"}
    kind = kinds.get(status, "server_error")
    return {"error": {"message": f"refused with {status}", "type": kind, "param": None, "code": codes.get(status)}}
