"""The routes of the application, in groups: one more group is one more line in `GROUPS`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from backspan.server import asking, config_route, openapi, outcomes, promotions, signals, widget
from backspan.server.charts import ChartBook
from backspan.server.config import ServerConfig
from backspan.server.feedback import FeedbackApi
from backspan.server.metrics import MetricsApi
from backspan.server.otlp import SIGNALS, Receiver
from backspan.server.queries import router
from backspan.server.rejections import Rejections
from backspan.store import Store, leases, retention

FEEDBACK = "/v1/feedback"


@dataclass(frozen=True)
class Parts:
    """What the groups are built from. ``book`` is None where Prometheus evaluates the charts."""

    store: Store
    config: ServerConfig
    book: ChartBook | None
    feedback: FeedbackApi
    rejections: Rejections


Group = Callable[[FastAPI, Parts], None]
"""Adds routes to the application, and says what they are: ``app.add_route(...)`` with ``openapi.tell(app, {...})``, or
``app.include_router(...)``, which says it itself."""


def feedback(app: FastAPI, parts: Parts) -> None:
    """Votes. POST and PUT come here only when something mounts the routes without the application around them."""
    api = parts.feedback
    by_method = {"POST": api.write, "PUT": api.write, "DELETE": api.retract, "GET": api.show, "HEAD": api.show}

    async def vote(request: Request) -> Response:
        return await by_method[request.method](request)

    app.add_route(FEEDBACK, vote, methods=list(by_method))  # one route: a 405 names the methods of one
    app.add_route(FEEDBACK + "/{name}", api.retract, methods=["DELETE"])


def otlp(app: FastAPI, parts: Parts) -> None:
    """Receivers of OTLP/HTTP."""
    receiver = Receiver(parts.store, parts.config)
    for signal in SIGNALS:
        app.add_route(f"/v1/{signal.name}", receiver.handler(signal), methods=["POST"])


def operation(app: FastAPI, parts: Parts) -> None:
    """What Prometheus and whoever looks after the server read."""
    app.add_route("/metrics", MetricsApi(parts.store, parts.rejections).show, methods=["GET"])
    app.add_route("/healthz", _health(parts), methods=["GET"])
    app.add_route("/healthz/worker", _worker(parts.store), methods=["GET"])


def queries(app: FastAPI, parts: Parts) -> None:
    """``/api``: what is stored, as JSON."""
    app.include_router(router(parts.store, parts.config, parts.book))


GROUPS: tuple[Group, ...] = (
    feedback, config_route.add, asking.add, signals.add, outcomes.add, promotions.add, otlp, operation, queries,
    widget.add)
"""Every group of routes, in the order in which they are tried."""


def add(app: FastAPI, parts: Parts) -> None:
    """Add all routes, and their description."""
    openapi.describe(app)
    for group in GROUPS:
        group(app, parts)


def _health(parts: Parts) -> Callable[[Request], Response]:
    mode = "gateway" if parts.config.gateway else "up"

    def health(_request: Request) -> Response:
        with parts.store.reading() as conn:
            conn.exec_driver_sql("SELECT 1")
        return JSONResponse({"status": "ok", "mode": mode, "version": version("backspan")})

    return health


def _worker(store: Store) -> Callable[[Request], Response]:
    def worker(_request: Request) -> Response:
        with store.reading() as conn:
            at_work = leases.holder_of(conn, retention.LEASE, time.time()) is not None
        return JSONResponse({"status": "ok" if at_work else "no worker"}, 200 if at_work else 503)

    return worker
