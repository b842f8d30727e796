"""The look-alike, taught to answer as compatible servers and broken networks do.

More models, on top of those of `tests.support.openai_server`. Each name selects one oddity, in a plain answer, in a
stream, or in both.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.support import openai_server
from tests.support.openai_bodies import CREATED

Json = dict[str, Any]
CUT, BAD_EVENT = "cut", "bad-event"
"""A plain answer that stops in the middle, and an event that is not JSON."""


def _chunk(delta: Json | None, finish: str | None = None, **more: Any) -> Json:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "chatcmpl-odd", "object": "chat.completion.chunk", "created": CREATED, "model": "odd-1",
            "choices": [choice], **more}


def _tool(index: int, **function: Any) -> Json:
    said: Json = {"index": index, "function": function}
    if "name" in function:
        said |= {"id": f"call_{index}", "type": "function"}
    return {"tool_calls": [said]}


_USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
NOTHING: Json = {"id": None, "object": None, "created": None, "model": None, "choices": None, "usage": None}
STREAMS: dict[str, list[Json]] = {
    "null-delta": [_chunk({"role": "assistant"}), _chunk(None), _chunk({"content": "hi"}), _chunk({}, "stop")],
    "null-list": [_chunk({"content": "hi"}), _chunk({}, choices=None), _chunk({"content": "ho"}), _chunk({}, "stop")],
    "all-null": [NOTHING, NOTHING],
    "azure": [
        _chunk({}, choices=[], prompt_filter_results=[{"prompt_index": 0, "content_filter_results": {}}]),
        _chunk({"role": "assistant", "content": ""}), _chunk({"content": "hi"}), _chunk({}, "stop"),
        _chunk({}, choices=[], usage=_USAGE)],
    "two-tools": [
        _chunk({"role": "assistant", "content": None, "tool_calls": None}),
        _chunk(_tool(0, name="weather", arguments=None)), _chunk(_tool(2, name="time", arguments="")),
        _chunk(_tool(0, arguments='{"city":')), _chunk(_tool(2, arguments='{"zone": "U')),
        _chunk(_tool(0, arguments=' "Paris"}')), _chunk(_tool(2, arguments='TC"}')), _chunk({}, "tool_calls")],
    BAD_EVENT: [_chunk({"content": "hi"}), _chunk({"content": "ho"})],
}
"""Model -> the chunks of its stream."""
BODIES: dict[str, Json] = {
    "all-null": NOTHING,
    "any": {"id": "any_1", "object": "any", "model": "any-1", "status": "completed", "data": [], "output": [],
            "choices": [], "results": [], "text": "any", "usage": _USAGE},
    "error-body": {"error": {"message": "no capacity", "type": "overloaded", "param": None, "code": "capacity"}},
}
"""Model -> its plain answer, with status 200."""


class OddServer(openai_server.OpenAIServer):
    """An `OpenAIServer` with more ways to be odd, and with the older ``/completions``."""

    def __init__(self) -> None:
        super().__init__()
        self._httpd.RequestHandlerClass = _OddHandler

    def restart_numbers(self) -> None:
        """Give the same ids as before to what is asked from now on."""
        self._answers = 0
        self._tries.clear()


class _OddHandler(openai_server._Handler):
    def _plain(self, model: str, body: Json, number: int) -> None:
        if model in BODIES:
            self._json(200, BODIES[model])
        elif model == CUT:
            self.send_response(200)
            self._common("application/json", {"content-length": "1000"})
            self.wfile.write(b'{"id": "chatcmpl-cut", "choices": [')
            self.close_connection = True
        elif self.path.endswith("/v1/completions"):
            choice = {"index": 0, "text": "done", "finish_reason": "stop", "logprobs": None}
            self._json(200, {"id": f"cmpl-{number:06d}", "object": "text_completion", "created": CREATED,
                             "model": model, "choices": [choice], "usage": _USAGE})
        else:
            super()._plain(model, body, number)

    def _stream(self, model: str, events: Iterable[Json], named: bool) -> None:
        super()._stream(model, STREAMS.get(model, events), named)

    def _event(self, event: Json, name: str | None) -> None:
        if event.get("model") == "odd-1" and event is STREAMS[BAD_EVENT][1]:
            self._chunk(b"data: {this is not json}\n\n")
        else:
            super()._event(event, name)
