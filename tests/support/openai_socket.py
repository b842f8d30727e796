"""An OpenAI look-alike on loopback that speaks WebSocket: the Realtime API and the Responses API.

    with SocketServer() as server:
        client = OpenAI(base_url=server.base_url, api_key="test")

The model's name selects odd behaviour, as with `openai_server`: `drop` loses the connection after the first word,
`quit` closes it properly there, `wait` says one word and waits for `response.cancel`, `failed`, `incomplete` and
`tool-call` end so, and `refuse` answers with an error event. Committing a sound makes a realtime session answer by
itself.
"""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from tests.support.openai_bodies import Json, response_events

SOUND = base64.b64encode(b"a sound that nobody may see").decode()
WORDS = ("you", " said", " it")


class SocketServer:
    """The look-alike, served from a thread between `__enter__` and `__exit__`."""

    def __init__(self) -> None:
        self.received: list[str] = []
        self._server = serve(self._talk, "127.0.0.1", 0)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def base_url(self) -> str:
        """What `OpenAI(base_url=…)` wants."""
        return f"http://127.0.0.1:{self._server.socket.getsockname()[1]}/v1"

    def __enter__(self) -> SocketServer:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._thread.join(5)

    def _talk(self, peer: ServerConnection) -> None:
        address = urlsplit(peer.request.path)  # pyright: ignore[reportOptionalMemberAccess]
        model = (parse_qs(address.query).get("model") or [""])[0]
        talk = _kind(address.path)(peer, model)
        try:
            for said in peer:
                self.received.append(str(said))
                talk.hear(json.loads(said))
        except ConnectionClosed:
            pass


def _kind(path: str) -> type[_Talk]:
    if path.endswith("/responses"):
        return _Responses
    if path.endswith("/translations"):
        return _Translation
    return _Live if "/live/" in path else _Realtime


class _Talk:
    def __init__(self, peer: ServerConnection, model: str) -> None:
        self.peer, self.model = peer, model
        self.number = 0

    def hear(self, event: Json) -> None:
        """Take a message."""
        raise NotImplementedError

    def say(self, kind: str, **fields: Any) -> None:
        self.peer.send(json.dumps({"type": kind, "event_id": "event_x", **fields}))

    def drop(self) -> None:
        """Lose the connection, as when a cable is pulled."""
        self.peer.socket.shutdown(socket.SHUT_RDWR)


class _Realtime(_Talk):
    def __init__(self, peer: ServerConnection, model: str) -> None:
        super().__init__(peer, model)
        self.session: Json = {"type": "realtime", "model": f"{model}-2026-01-01", "instructions": "Be kind.",
                              "output_modalities": ["text"], "client_secret": {"value": "a-secret-key"}}
        self.waiting: Json | None = None
        self.say("session.created", session=self.session)

    def hear(self, event: Json) -> None:
        kind = event["type"]
        if kind == "session.update":
            self.session.update(event["session"])
            self.say("session.updated", session=self.session)
        elif kind == "conversation.item.create":
            self.say("conversation.item.added", item={"id": "item_1", **event["item"]})
        elif kind == "input_audio_buffer.commit":
            self._answer(by_itself=True)
        elif kind == "response.create":
            self._asked(event)
        elif kind == "response.cancel" and self.waiting is not None:
            self._done(self.waiting, "cancelled", {"type": "cancelled", "reason": "client_cancelled"})

    def _asked(self, event: Json) -> None:
        if self.model == "refuse":
            error = {"type": "invalid_request_error", "code": "bad_wish", "message": "no",
                     "event_id": event.get("event_id")}
            self.say("error", error=error)
        else:
            self._answer()

    def _answer(self, by_itself: bool = False) -> None:
        self.number += 1
        made: Json = {"id": f"resp_{self.number}", "object": "realtime.response", "conversation_id": "conv_1",
                      "status": "in_progress", "output": []}
        self.say("response.created", response=made)
        if by_itself:
            self.say("conversation.item.input_audio_transcription.completed", item_id="item_2", content_index=0,
                     transcript="what I said aloud", usage={"type": "duration", "seconds": 1})
        for word in WORDS:
            self._word(made, word)
            if self.model in ("drop", "quit", "wait"):
                self.waiting = made
                self.drop() if self.model == "drop" else self.peer.close() if self.model == "quit" else None
                return
        self._finish(made)

    def _word(self, made: Json, word: str) -> None:
        place = {"response_id": made["id"], "item_id": "item_9", "output_index": 0, "content_index": 0}
        self.say("response.output_audio.delta", delta=SOUND, **place)
        self.say("response.output_audio_transcript.delta", delta=word, **place)

    def _finish(self, made: Json) -> None:
        details = {"failed": {"type": "failed", "error": {"type": "server_error", "code": "broke"}},
                   "incomplete": {"type": "incomplete", "reason": "max_output_tokens"}}.get(self.model)
        self._done(made, self.model if details else "completed", details)

    def _done(self, made: Json, status: str, details: Json | None) -> None:
        said = {"type": "message", "role": "assistant", "status": "completed", "content": [
            {"type": "output_audio", "transcript": "".join(WORDS)}]}
        called = {"type": "function_call", "name": "weather", "call_id": "call_1", "arguments": '{"city": "Paris"}'}
        usage = {"total_tokens": 30, "input_tokens": 20, "output_tokens": 10,
                 "input_token_details": {"text_tokens": 12, "audio_tokens": 8, "cached_tokens": 4},
                 "output_token_details": {"text_tokens": 3, "audio_tokens": 7}}
        self.say("response.done", response={
            **made, "status": status, "status_details": details, "usage": usage,
            "output": [called if self.model == "tool-call" else said]})


class _Responses(_Talk):
    def __init__(self, peer: ServerConnection, model: str) -> None:
        super().__init__(peer, model)
        self.waiting: list[Json] = []

    def hear(self, event: Json) -> None:
        if event["type"] != "response.create":
            return
        self.number += 1
        if event.get("model") == "refuse":
            self.peer.send(json.dumps({"type": "error", "status": 400, "error": {"code": "bad_wish", "message": "no"}}))
            return
        if event.get("model") == "together":
            self.waiting.append(event)
            if len(self.waiting) == 2:
                self._both(*self.waiting)
            return
        for index, told in enumerate(self._events(event)):
            self.peer.send(json.dumps(told))
            if event.get("model") == "drop" and index == 5:
                self.drop()
                return

    def _both(self, one: Json, other: Json) -> None:
        """Two responses at once, word by word, each on the lane that asked for it."""
        for pair in zip_longest(response_events(one, 1), response_events(other, 2)):
            for event, told in zip((one, other), pair, strict=True):
                if told is not None:
                    self.peer.send(json.dumps({**told, "stream_id": event["stream_id"]}))

    def _events(self, event: Json) -> Iterator[Json]:
        return response_events(event, self.number)


class _Continuous(_Talk):
    """Talks without a pause: every piece of sound is answered by a word, whoever has said what."""

    session: Json

    def hear(self, event: Json) -> None:
        kind = event["type"]
        if kind.startswith("session.input_audio"):
            self._answer()
        elif kind == "session.update":
            self.say("error", error={"type": "invalid_request_error", "code": "bad_wish", "message": "no"})
        elif kind == "session.close":
            self.closed(self.model if self.model in ("expired", "content", "connection_lost") else "close_requested")
            self.peer.close()

    def _answer(self) -> None:
        word = WORDS[self.number % len(WORDS)]
        self.number += 1
        times: Json = {"start_ms": 0, "end_ms": 1, "elapsed_ms": 1}
        self.say("session.input_transcript.delta", delta=word.upper(), **times)
        self.say("session.output_transcript.delta", delta=word, **times)
        self.say("session.output_audio.delta", delta=SOUND, audio=SOUND, **times)
        if self.model == "drop":
            self.drop()
        if self.model == "quit":
            self.peer.close()

    def closed(self, reason: str) -> None:
        self.say("session.closed")


class _Translation(_Continuous):
    def __init__(self, peer: ServerConnection, model: str) -> None:
        super().__init__(peer, model)
        self.session = {"id": "sess_1", "type": "translation", "model": f"{model}-2026-01-01", "expires_at": 1,
                        "audio": {"output": {"language": "en"}}}
        self.say("session.created", session=self.session)


class _Live(_Continuous):
    def hear(self, event: Json) -> None:
        if event["type"] == "session.start":
            self.model = event["session"].get("model", "")
            self.session = {"id": "live_1", "object": "live.session", "model": f"{self.model}-2026-01-01"}
            self.say("session.started", session=self.session)
        elif event["type"] == "response.create":
            for told in response_events({"model": "backend"}, 1):
                self.say("response.event", delegation_id="d_1", event=told)
        else:
            super().hear(event)

    def _answer(self) -> None:
        super()._answer()
        if self.model not in ("drop", "quit"):
            self.say("session.usage.updated", usage={"seconds": self.number * 0.5})

    def closed(self, reason: str) -> None:
        self.say("session.closed", reason=reason, session=self.session, usage={"seconds": self.number * 0.5})
