"""An OpenAI look-alike on loopback that says what the test wrote down: one `Said` per request, in their order.

    with Scripted(Said({"error": {"code": "busy"}}, 429), Said(body)) as server:
        client = OpenAI(base_url=server.base_url, api_key="test")
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Said:
    """An answer: a JSON body, or the events of a stream (a list). ``cut``: the connection ends before its end."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False


class Scripted:
    """The server, between `__enter__` and `__exit__`; `bodies` are the requests it got, parsed."""

    def __init__(self, *script: Said) -> None:
        self.script = list(script)
        self.bodies: list[dict[str, Any]] = []
        self._httpd = _Httpd(("127.0.0.1", 0), _Handler)
        self._httpd.owner = self
        self._thread = threading.Thread(target=self._httpd.serve_forever, args=(0.02,), daemon=True)

    @property
    def base_url(self) -> str:
        """What `OpenAI(base_url=…)` wants."""
        return f"http://127.0.0.1:{self._httpd.server_address[1]}/v1"

    def __enter__(self) -> Scripted:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._httpd.shutdown()
        self._httpd.server_close()
        self._thread.join(5)


class _Httpd(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    owner: Scripted

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients hang up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Httpd

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the tests' stderr clean."""

    def do_POST(self) -> None:
        owner = self.server.owner
        owner.bodies.append(json.loads(self.rfile.read(int(self.headers.get("content-length") or 0))))
        said = owner.script.pop(0)
        if isinstance(said.body, list):
            self._stream(said)
        else:
            raw = said.body if isinstance(said.body, bytes) else json.dumps(said.body).encode()
            self._head(said, "application/json", {"content-length": str(len(raw))})
            self.wfile.write(raw)

    def _stream(self, said: Said) -> None:
        self._head(said, "text/event-stream; charset=utf-8", {"transfer-encoding": "chunked"})
        for event in said.body:
            name = f"event: {event['type']}\n" if "type" in event else ""
            self._chunk(f"{name}data: {json.dumps(event)}\n\n".encode())
        if said.cut:
            self.close_connection = True
            return
        if not any("type" in event for event in said.body):
            self._chunk(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def _head(self, said: Said, kind: str, more: dict[str, str]) -> None:
        self.send_response(said.status)
        for name, value in {"content-type": kind, **more, **said.headers}.items():
            self.send_header(name, value)
        self.end_headers()


# --- bodies ---------------------------------------------------------------------------------------------------------
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18,
         "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
         "completion_tokens_details": {"reasoning_tokens": 3}}
RESPONSES_USAGE = {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18,
                   "input_tokens_details": {"cached_tokens": 4}, "output_tokens_details": {"reasoning_tokens": 3}}


def tool_call(arguments: str, id: str = "call_1") -> dict[str, Any]:
    """One tool call of a chat message."""
    return {"id": id, "type": "function", "function": {"name": "weather", "arguments": arguments}}


def chat(finish: str = "stop", model: str = "gpt-x-2026-01-01", logprobs: Any = None, **message: Any) -> dict[str, Any]:
    """A chat completion with this message."""
    told = {"role": "assistant", "content": None, "refusal": None, **message}
    choice = {"index": 0, "message": told, "finish_reason": finish, "logprobs": logprobs}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice],
            "usage": USAGE}


def chunks(*deltas: dict[str, Any], finish: str | None = "stop", usage: bool = True, logprobs: Any = None,
           model: str = "gpt-x-2026-01-01") -> list[dict[str, Any]]:
    """The chunks of a chat completion, one per delta, then the finish and the usage."""
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}
    said = [{**base, "choices": [{"index": 0, "delta": delta, "finish_reason": None, "logprobs": logprobs}]}
            for delta in ({"role": "assistant", "content": ""}, *deltas)]
    if finish:
        said.append({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    if usage:
        said.append({**base, "choices": [], "usage": USAGE})
    return said


def message(*content: dict[str, Any]) -> dict[str, Any]:
    """An item of a response: a message with these parts."""
    return {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": list(content)}


def text(said: str, logprobs: Any = ()) -> dict[str, Any]:
    """A part of a message: text."""
    return {"type": "output_text", "text": said, "annotations": [], "logprobs": list(logprobs)}


def call_item(arguments: str) -> dict[str, Any]:
    """An item of a response: a tool call."""
    return {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "weather", "arguments": arguments,
            "status": "completed"}


def response(*output: dict[str, Any], status: str = "completed", model: str = "gpt-x-2026-01-01",
             **more: Any) -> dict[str, Any]:
    """A response of the Responses API with these items."""
    return {"id": "resp_1", "object": "response", "created_at": 1, "status": status, "error": None, "model": model,
            "incomplete_details": None, "instructions": None, "metadata": {}, "output": list(output),
            "parallel_tool_calls": True, "temperature": 1.0, "top_p": 1.0, "tool_choice": "auto", "tools": [],
            "usage": RESPONSES_USAGE, **more}


def events(done: dict[str, Any]) -> list[dict[str, Any]]:
    """The events of a streamed response that ends as ``done``: its beginning, its texts word by word, and its end."""
    begun = {**done, "status": "in_progress", "output": [], "usage": None}
    said: list[dict[str, Any]] = [{"type": "response.created", "response": begun}]
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    for item in done["output"]:
        for part in item.get("content", ()):
            words = str(part.get("text", "")).split(" ")
            said += [{"type": "response.output_text.delta", **place, "delta": f"{word} ", "logprobs": []}
                     for word in words]
    said.append({"type": f"response.{done['status']}", "response": done})
    return [{**event, "sequence_number": index} for index, event in enumerate(said)]
