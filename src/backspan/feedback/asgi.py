"""The token on the answers of an ASGI application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from backspan._request import request, serving
from backspan.config import settings
from backspan.feedback.answering import Answering, OnAnswers, Ways, appended, joined

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class FeedbackMiddleware(OnAnswers[App]):
    """Put a feedback token on every answer that a model had a part in.

    The calls of one request are one turn, opened by the first of them, unless the application opens turns itself. The
    body stays as it is, but for the last event of ``sse``. Web sockets and the lifespan go through untouched, and while
    ``BACKSPAN`` is unset everything does. Put it around everything else, CORS and compression included.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        await serve(self.app, self._ways, scope, receive, send, chosen=True)


async def serve(
    app: App, ways: Ways, scope: Scope, receive: Receive, send: Send, *, chosen: bool = False
) -> None:
    """Serve one connection of ``app``; inside another request of ours it belongs to that one.

    ``chosen``: the application has named these ``ways`` itself, so they hold against what an outer one was told.
    """
    outer = serving()
    if scope["type"] != "http" or not settings().enabled:
        await app(scope, receive, send)
    elif outer is not None:
        if chosen:
            outer.ways = ways
        await app(scope, receive, send)
    else:
        await _watched(app, ways, scope, receive, send)


async def _watched(app: App, ways: Ways, scope: Scope, receive: Receive, send: Send) -> None:
    answering = Answering(ways, scope["method"], any(name == b"origin" for name, _ in scope["headers"]))
    here = request.set(answering.request)
    try:
        await app(scope, receive, _sending(answering, send))
    except BaseException as error:
        answering.end(error)
        raise
    finally:
        answering.end()
        request.reset(here)


def _sending(answering: Answering, send: Send) -> Send:
    async def sending(message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            message = _started(answering, message)
        elif kind == "http.response.body":
            message = _continued(answering, message)
        await send(message)

    return sending


def _started(answering: Answering, message: Message) -> Message:
    given = message.get("headers", ())
    if answering.bare and any(name == b"content-length" for name, _ in given):
        return message
    sent = [(bytes(name), bytes(value)) for name, value in given]
    known = joined((name.decode("latin-1"), value.decode("latin-1")) for name, value in sent)
    additions = answering.head(message["status"], known, "content-length" not in known)
    if not additions:
        return message
    new = appended(known, additions)
    kept = [(name, value) for name, value in sent if name.decode("latin-1").lower() not in new]
    added = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in new.items()]
    return {**message, "headers": [*kept, *added]}


def _continued(answering: Answering, message: Message) -> Message:
    """A part of the body; the turn ends before its last one leaves, so that a vote that follows at once finds it."""
    body, more = message.get("body", b""), message.get("more_body", False)
    if answering.event:
        answering.watch(body)
    if more:
        return message
    last = answering.last() if answering.event else b""
    answering.end()
    return {**message, "body": bytes(body) + last} if last else message
