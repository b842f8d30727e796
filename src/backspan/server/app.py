"""The ASGI application, of the embedded server and of the gateway alike."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from backspan.config import settings
from backspan.feedback.model import feedback_id
from backspan.rules.spec import Spec, load
from backspan.server import background, routes
from backspan.server.charts import ChartBook
from backspan.server.config import ServerConfig
from backspan.server.door import Door, fault, path_of
from backspan.server.feedback import FeedbackApi
from backspan.server.keys import Keyring
from backspan.server.limits import Limiter
from backspan.server.problems import Problem, busy
from backspan.server.quick import QuickRequest
from backspan.server.rejections import Rejections
from backspan.store import Busy, Policy, Store
from backspan.store.sealing import KeyFault
from backspan.store.suspicion import rules_of

if TYPE_CHECKING:
    from backspan.server.emitter import Emitter


def create_app(config: ServerConfig, spec: Spec | None = None) -> FastAPI:
    """Build the application; its store is open until the ASGI lifespan ends.

    ``spec`` saves reading ``config.spec`` again.

    Raises:
        backspan.store.StoreError: if the database cannot be used.
        backspan.rules.spec.SpecError: if the spec is wrong.
        OSError: if the spec cannot be read.
        backspan.server.limits.InvalidRates: if a limit, its storage or a proxy is wrong.
    """
    limiter, rejections = Limiter(dict(config.rates), config.rates_at), Rejections()
    book = None if config.gateway else ChartBook(spec or load(config.spec))
    store = Store(
        config.url, identify=feedback_id, count_answers=not config.gateway, keep=config.keep,
        policy=Policy(count_spans=not config.gateway, emit=config.emit_to is not None),
        watch=book, rules=rules_of(settings().guards) if config.gateway else None,
    )
    emitter = None if config.emit_to is None else _emitter(store, config.emit_to)

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncGenerator[None]:
        if emitter is not None:
            emitter.start()
        try:
            async with background.running(store, config):
                yield
        finally:
            if emitter is not None:
                emitter.close()
            store.close()

    config = replace(config, keys=Keyring(store, config.api_key), limiter=limiter)
    app = _App(title="backspan", version=version("backspan"), lifespan=life, docs_url=None, redoc_url=None,
               openapi_url="/openapi.json")
    app.state.store = store
    parts = routes.Parts(store, config, book, FeedbackApi(store, config), rejections)
    app.hot = parts.feedback.write
    app.door = Door(app.inside, config, limiter, rejections)
    routes.add(app, parts)
    _add_handlers(app, rejections)
    return app


class _App(FastAPI):
    """FastAPI with a short way for votes: its routing and middleware would cost as much as the vote itself."""

    hot: Callable[[Request], Awaitable[Response]]
    door: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI event."""
        if scope["type"] == "http":
            await self.door(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    async def inside(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request that the door let in."""
        if scope["method"] in ("POST", "PUT") and path_of(scope) == routes.FEEDBACK:
            try:
                response = await self.hot(QuickRequest(scope, receive, send))
            except KeyFault as error:
                raise _problem(error) from None
            await response(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def _emitter(store: Store, endpoint: str) -> Emitter:
    from backspan.server.emitter import Emitter  # brings an HTTP client, which not every server needs

    return Emitter(store, endpoint)


def _add_handlers(app: FastAPI, rejections: Rejections) -> None:
    async def respond(request: Request, error: Exception) -> Response:
        problem = _problem(error)
        rejections.count(path_of(request.scope), problem)
        return problem.response()

    for kind in (Problem, Busy, KeyFault, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, respond)


def _problem(error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, Busy):
        return busy()
    if isinstance(error, KeyFault):
        return Problem(503, f"the database {error}")
    if isinstance(error, HTTPException):
        return Problem(error.status_code, str(error.detail), headers=error.headers)
    if isinstance(error, RequestValidationError):  # without the input that FastAPI's own answer quotes
        first = error.errors()[0]
        field = str(first["loc"][-1])
        return Problem(422, f"{field}: {first['msg']}", field=field)
    return fault()
