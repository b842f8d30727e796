"""What every request passes on its way in: origins, limits, and the last word on what goes wrong.

It is plain ASGI around the application, so that the short way for votes has it too, and costs little.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backspan._guard import guard
from backspan.feedback.token import ORIGIN
from backspan.server import trust
from backspan.server.config import ServerConfig
from backspan.server.limits import Limiter, neighbourhood, networks, sender
from backspan.server.problems import Problem
from backspan.server.quick import TOLD
from backspan.server.rejections import JUDGED, Rejections

METHODS = "GET, POST, PUT, DELETE"
HEADERS = "authorization, backspan-token, content-type, idempotency-key"
EXPOSED = "Retry-After, Idempotent-Replayed, ETag"
_PREFLIGHT_SECONDS = 600
_UNLIMITED = "backspan.unlimited"


class Door:
    """The way in."""

    def __init__(self, inside: ASGIApp, config: ServerConfig, limiter: Limiter, rejections: Rejections) -> None:
        self._inside = inside
        self._config = config
        self._limiter = limiter
        self._rejections = rejections
        self._origins = frozenset(origin.encode("latin-1", "replace") for origin in config.origins)
        self._proxies = networks(config.proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request in, or answer it here."""
        told = scope[TOLD] = dict[bytes, bytes](reversed(scope["headers"]))
        origin = told.get(b"origin")
        sender = _Sender(send, origin if origin in self._origins else None, bool(self._origins))
        with guard("server"):
            try:
                if self._preflight(scope, told):
                    await self._answer_preflight(origin)(scope, receive, sender.send)
                    return
                await self._admit(scope, told)
                await self._inside(scope, receive, sender.send)
            except Problem as problem:
                self._rejections.count(path_of(scope), problem)
                await problem.response()(scope, receive, sender.send)
            return
        if not sender.begun:
            await fault().response()(scope, receive, sender.send)

    # --- origins ---
    def _preflight(self, scope: Scope, told: dict[bytes, bytes]) -> bool:
        return scope["method"] == "OPTIONS" and b"access-control-request-method" in told and b"origin" in told

    def _answer_preflight(self, origin: bytes | None) -> Response:
        if origin not in self._origins:
            raise Problem(403, "this origin is not among those that may call (BACKSPAN_ORIGINS)", reason="origin")
        return Response(status_code=204, headers={
            "Access-Control-Allow-Methods": METHODS, "Access-Control-Allow-Headers": HEADERS,
            "Access-Control-Max-Age": str(_PREFLIGHT_SECONDS)})

    # --- limits ---
    async def _admit(self, scope: Scope, told: dict[bytes, bytes]) -> None:
        if not path_of(scope).startswith(JUDGED):
            return
        await self._limiter.hit("all", "")
        peer = scope["client"][0] if scope.get("client") else ""
        if _PROXIED.isdisjoint(told) and self._config.trust_loopback and trust.loopback(peer):
            scope[_UNLIMITED] = True
        elif b"authorization" in told and trust.scopes_of(Request(scope), self._config):
            scope[_UNLIMITED] = True
        else:
            forwarded = ""
            if _FORWARDED in told:
                lines = [value for name, value in scope["headers"] if name == _FORWARDED]
                forwarded = b",".join(lines).decode("latin-1")
            await self._limiter.hit("address", neighbourhood(sender(peer, forwarded, self._proxies)))


_PROXIED = frozenset(name.encode() for name in trust.PROXIED)
_FORWARDED = b"x-forwarded-for"


class _Sender:
    """Adds to an answer what a page of an allowed ``origin`` needs to read it."""

    def __init__(self, send: Send, origin: bytes | None, varies: bool) -> None:
        self._send = send
        self._origin = origin
        self.begun = False
        self.send: Send = self._watch
        self._added: list[tuple[bytes, bytes]] = [(b"vary", b"Origin")] if varies else []
        if origin is not None:
            self._added += [(b"access-control-allow-origin", origin),
                            (b"access-control-expose-headers", EXPOSED.encode())]

    async def _watch(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            there: list[Any] = list(message["headers"])
            if self._added and not any(name.lower() == b"access-control-allow-origin" for name, _ in there):
                message = {**message, "headers": there + self._added}
        await self._send(message)


def valid_origin(text: str) -> bool:
    """Tell whether ``text`` is an origin as browsers send it."""
    return ORIGIN.fullmatch(text) is not None


def path_of(scope: Scope) -> str:
    """The path as the routes know it, without what the application is mounted under."""
    path, root = scope["path"], scope.get("root_path", "")
    return path[len(root):] if root and path.startswith(root) else path


async def admit(scope: Scope, config: ServerConfig, subject: str | None, token: str | None = None) -> None:
    """Count an act by its person and by its token: ``token``, else the one that `trust.opened` opened last.

    Raises:
        Problem: 429.
    """
    if config.limiter is None or scope.get(_UNLIMITED):
        return
    token = token or scope.get(trust.OPENED)
    if token is not None:
        await config.limiter.hit("token", token[-32:])  # the end of its seal: no two tokens have the same
    if subject is not None:
        await config.limiter.hit("subject", subject)


def fault() -> Problem:
    """Something is wrong with the server; its log says what, nobody else is told."""
    return Problem(500, "a fault of the server; it was logged")
