"""An OpenAI look-alike on loopback: real HTTP, real server-sent events, no network.

    with OpenAIServer() as server:
        client = OpenAI(base_url=server.base_url, api_key="test")

It serves every resource that runs a model, plain and streamed, and keeps every request in `requests`. A response that
was created in the background is queued, in progress when it is first fetched, and then complete. The model's name
selects odd behaviour:

| model | what happens |
| --- | --- |
| `error-<status>` | that status and an OpenAI error body, every time |
| `flaky-<status>-<n>` | that status for the first n requests, then an answer |
| `cut-after-<n>` | a stream whose connection drops after n events |
| `error-after-<n>` | a stream that carries an error event after n events |
| `slow-<ms>` | that pause before each event, or before a plain answer |
| `stall-after-<n>` | a stream that says nothing more after n events |
| `hang` | no answer until the client gives up or the server closes |
| `garbage` | status 200 with a body that is not JSON |
| `null-choices`, `no-usage` | a field is null, or missing |
| `tool-call`, `length`, `content-filter` | ends for another reason |
| `incomplete`, `failed` | a response that ends in that status |
"""

from __future__ import annotations

import json
import re
import select
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from tests.support import openai_bodies as bodies
from tests.support import openai_more_bodies as more


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
        self.begun: dict[str, tuple[dict[str, Any], int]] = {}
        """Responses by id: the request that asked for each, and its number."""
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
        known = re.search(r"/responses/([^/?]+)(?:\?(.*))?$", self.path)
        if known:
            self._fetched(known[1], parse_qs(known[2] or ""))
            return
        if re.search(r"/agents/sessions/[^/]+/events", self.path):
            self._stream("", more.agent_events({}, 7, turns=2), True)
            return
        if "/agents/sessions/" in self.path:
            self._json(200, more.agent_session({}, 7, "idle"))
            return
        self._json(200, {"object": "list", "data": [{"id": "gpt-test", "object": "model", "created": 0}]})

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        number = self._record(raw)
        body = more.fields(raw, self.headers.get("content-type") or "")
        model = str(body.get("model"))
        status = self._failure(model)
        if status:
            self._json(status, _error(status), {"retry-after-ms": "1"})
        elif model == "hang":
            self._wait(60)
            self.close_connection = True
        elif model == "garbage":
            self._send(200, b"<html>not json</html>", "application/json")
        elif body.get("stream") and not self.path.endswith("/speech"):
            self._stream(model, *_events(self.path, {**body, "_path": self.path}, number))
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
        self._wait(_pause(model))
        resource = self.path.partition("?")[0].rstrip("/").rpartition("/v1/")[2]
        if resource.endswith("embeddings"):
            self._json(200, bodies.embeddings(body))
        elif resource.endswith("responses"):
            self._json(200, self._response(body, number))
        elif resource.endswith("cancel") and "responses/" in resource:
            self._json(200, more.fetched({"model": "gpt-test", "input": "x", "background": True}, number, "cancelled"))
        elif resource.endswith("chat/completions"):
            self._json(200, bodies.chat(body, number))
        elif resource.endswith("completions"):
            self._json(200, more.completion(body, number))
        elif resource.endswith("speech"):
            self._send(200, more.SOUND, "audio/mpeg")
        elif body.get("response_format") in ("text", "srt", "vtt"):
            self._send(200, more.HEARD.encode(), "text/plain")
        else:
            self._other(resource, body, number)

    def _other(self, resource: str, body: dict[str, Any], number: int) -> None:
        answer = next((answer for ending, answer in more.PLAIN if resource.endswith(ending)), None)
        self._json(200, answer(body, number)) if answer else self._json(404, _error(404))

    def _response(self, body: dict[str, Any], number: int) -> dict[str, Any]:
        if not body.get("background"):
            return more.file_search(body, bodies.response(body, number))
        self.server.owner.begun[f"resp_{number:06d}"] = (body, number)
        return more.fetched(body, number, "queued")

    def _fetched(self, response_id: str, query: dict[str, list[str]]) -> None:
        if response_id not in self.server.owner.begun:
            self._json(404, _error(404))
            return
        body, number = self.server.owner.begun[response_id]
        if query.get("stream") == ["true"]:
            after = int((query.get("starting_after") or ["-1"])[0])
            self._stream("", more.fetched_events(body, number, after), True)
            return
        early = self.server.owner.tries(response_id) == 0
        done = {"incomplete": "incomplete", "failed": "failed"}.get(str(body.get("model")), "completed")
        self._json(200, more.fetched(body, number, "in_progress" if early else done))

    def _stream(self, model: str, events: Iterable[dict[str, Any]], named: bool) -> None:
        self.send_response(200)
        self._common("text/event-stream; charset=utf-8", {"transfer-encoding": "chunked"})
        cut, broken, pause = _number("cut-after", model), _number("error-after", model), _pause(model)
        stall = _number("stall-after", model)
        for index, event in enumerate(events):
            if index == cut:
                self.close_connection = True
                return
            if index == broken:
                event = {"error": {"message": "it broke", "type": "server_error", "param": None, "code": None}}
                self._event(event, "error" if named else None)
                break
            self._wait(60 if index == stall else pause)
            told = event["data"] if str(event.get("type")).startswith("thread.") else event
            self._event(told, event["type"] if named else None)
        if not named:
            self._chunk(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def _wait(self, seconds: float) -> None:
        """Pause, but no longer than the client is there (while it waits for an answer it sends nothing) and the server:
        a thread that outlives its test would be seen by others.
        """
        gone, end = select.poll(), time.monotonic() + seconds
        gone.register(self.connection, select.POLLIN)
        while (left := end - time.monotonic()) > 0 and not self.server.owner.closing.is_set():
            if gone.poll(min(left, 0.05) * 1000):
                return

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
        return _with_search(body, bodies.response_events(body, number)), True
    for ending, events in more.STREAMED:
        if path.partition("?")[0].endswith(ending):
            return events(body, number), True
    if path.endswith("completions") and not path.endswith("chat/completions"):
        return more.completion_chunks(body, number), False
    return bodies.chat_chunks(body, number), False


def _with_search(body: dict[str, Any], events: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    for event in events:
        yield {**event, "response": more.file_search(body, event["response"])} if "response" in event else event


def _error(status: int) -> dict[str, Any]:
    kinds = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
    codes = {401: "invalid_api_key", 404: "not_found", 429: "rate_limit_exceeded"}
    kind = kinds.get(status, "server_error")
    return {"error": {"message": f"refused with {status}", "type": kind, "param": None, "code": codes.get(status)}}
