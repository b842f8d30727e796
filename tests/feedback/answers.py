"""Applications for the middleware tests: each tells its model, and then the world, something."""

from __future__ import annotations

import time

from opentelemetry.trace import set_span_in_context

from backspan import context, telemetry
from backspan._turns import Answer

from .conftest import DIMS


def model(text: str = "an answer") -> str:
    """A call of a model, as the instrumentation of a library makes it."""
    scope, parent = context.calling()
    span = telemetry.get_tracer().start_span("chat", context=parent, attributes=dict(scope.attributes))
    if scope.turn is not None:
        scope.turn.asked(DIMS)
    span.end()
    at = set_span_in_context(span) and span.get_span_context()
    turn = scope.turn.id if scope.turn is not None else None
    given = Answer(at, "resp_1", scope.conversation_id, turn, DIMS, time.time())
    context.answered(given, frozenset(DIMS.items()), scope)
    return text


def start(status: int = 200, **headers: str):
    sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http.response.start", "status": status, "headers": sent}


def body(text: str = "", more: bool = False):
    return {"type": "http.response.body", "body": text.encode(), "more_body": more}


async def played(app, scope=None, received=()):
    """Every message that ``app`` sends, and what it raised."""
    sent, waiting = [], list(received)

    async def receive():
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    error = None
    try:
        await app({"type": "http", "method": "GET", "headers": [], **(scope or {})}, receive, send)
    except (KeyError, RuntimeError) as raised:
        error = raised
    return sent, error


def headers_of(sent):
    return {name.decode(): value.decode() for name, value in sent[0]["headers"]}
