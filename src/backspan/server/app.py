"""The ASGI application, of the embedded server and of the gateway alike."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from backspan.feedback.model import feedback_id
from backspan.rules.spec import Spec, load
from backspan.server import openapi
from backspan.server.config import ServerConfig
from backspan.server.feedback import FeedbackApi
from backspan.server.metrics import MetricsApi
from backspan.server.otlp import SIGNALS, Receiver
from backspan.server.problems import Problem, respond
from backspan.server.queries import router
from backspan.server.spc import ChartBook
from backspan.store import Policy, Store

if TYPE_CHECKING:
    from backspan.server.emitter import Emitter

FEEDBACK = "/v1/feedback"


def create_app(config: ServerConfig, spec: Spec | None = None) -> FastAPI:
    """Build the application; its store is open until the ASGI lifespan ends.

    ``spec`` saves reading ``config.spec`` again.

    Raises:
        backspan.store.StoreError: if the database cannot be used.
        backspan.rules.spec.SpecError: if the spec is wrong.
        OSError: if the spec cannot be read.
    """
    book = None if config.gateway else ChartBook(spec or load(config.spec))
    store = Store(
        config.url, identify=feedback_id, count_answers=not config.gateway, keep=config.keep,
        policy=Policy(count_spans=not config.gateway, emit=config.emit_to is not None),
        watch=None if book is None else book.observe,
    )
    emitter = None if config.emit_to is None else _emitter(store, config.emit_to)

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncGenerator[None]:
        if emitter is not None:
            emitter.start()
        try:
            yield
        finally:
            if emitter is not None:
                emitter.close()
            store.close()

    app = _App(title="backspan", version=version("backspan"), lifespan=life, docs_url=None, redoc_url=None,
                  openapi_url="/openapi.json")
    app.state.store = store
    app.hot = FeedbackApi(store, config).write
    _add_routes(app, store, config, book)
    return app


class _App(FastAPI):
    """FastAPI with a short way for votes: its routing and middleware would cost as much as the vote itself."""

    hot: Callable[[Request], Awaitable[Response]]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI event."""
        votes = scope["type"] == "http" and scope["path"] == FEEDBACK and scope["method"] in ("POST", "PUT")
        if not votes:
            await super().__call__(scope, receive, send)
            return
        request = Request(scope, receive, send)
        try:
            response = await self.hot(request)
        except Problem as problem:
            response = problem.response()
        await response(scope, receive, send)


def _emitter(store: Store, endpoint: str) -> Emitter:
    from backspan.server.emitter import Emitter  # brings the OTLP exporter, which not every server needs

    return Emitter(store, endpoint)


def _add_routes(app: FastAPI, store: Store, config: ServerConfig, book: ChartBook | None) -> None:
    receiver, feedback, metrics = Receiver(store, config), FeedbackApi(store, config), MetricsApi(store)
    app.add_route(FEEDBACK, feedback.write, methods=["POST", "PUT"])
    app.add_route(FEEDBACK, feedback.retract, methods=["DELETE"])
    app.add_route(FEEDBACK, feedback.show, methods=["GET"])
    app.add_route(FEEDBACK + "/{name}", feedback.retract, methods=["DELETE"])
    for signal in SIGNALS:
        app.add_route(f"/v1/{signal.name}", receiver.handler(signal), methods=["POST"])
    app.add_route("/metrics", metrics.show, methods=["GET"])
    app.add_route("/healthz", _health(store, config), methods=["GET"])
    app.include_router(router(store, config, book))
    for error, handler in ((Problem, respond), (HTTPException, _http_error), (RequestValidationError, _invalid)):
        app.add_exception_handler(error, handler)
    openapi.describe(app)


def _health(store: Store, config: ServerConfig) -> Any:
    mode = "gateway" if config.gateway else "up"

    def health(_request: Request) -> Response:
        with store.reading() as conn:
            conn.exec_driver_sql("SELECT 1")
        return JSONResponse({"status": "ok", "mode": mode, "version": version("backspan")})

    return health


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return Problem(error.status_code, str(error.detail), headers=error.headers).response()


async def _invalid(_request: Request, error: Exception) -> Response:
    """FastAPI's own validation errors, without the input they quote."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = str(first["loc"][-1])
    return Problem(422, f"{field}: {first['msg']}", field=field).response()
