"""``POST /v1/feedback/ask``: whether this answer asks its reader. And what comes of asking, as estimates and gauges."""

from __future__ import annotations

import asyncio
import json
import time
from asyncio import Task
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from fastapi import FastAPI
from prometheus_client import Metric
from prometheus_client.metrics_core import GaugeMetricFamily
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from backspan import semconv
from backspan.config import token_keys
from backspan.context import Target
from backspan.feedback import asking, fields
from backspan.feedback.model import InvalidFeedback
from backspan.feedback.taxonomy_file import current
from backspan.server import bodies, keys, openapi, trust
from backspan.server.door import admit
from backspan.server.problems import Problem, busy
from backspan.store import Busy, Store
from backspan.store import asking as kept
from backspan.store.retention import DAY

if TYPE_CHECKING:
    from backspan.server.routes import Parts

PATH = "/v1/feedback/ask"
WINDOW = 7 * DAY
"""Seconds that the gauges look back, and the API unless it is told otherwise."""
NAMES = (semconv.USER_THUMBS, semconv.USER_STARS)
"""Judgements with an estimate at ``/metrics``."""
ESTIMATORS = ("raw", "hajek", "horvitz_thompson")
PAUSE, _PATIENCE = 60.0, 0.5
"""Least seconds from one reading of the gauges to the next, and seconds that a scrape waits for one."""


def add(app: FastAPI, parts: Parts) -> None:
    """Add the routes."""
    app.add_route(PATH, _Asker(parts).ask, methods=["POST"])
    app.add_route("/api/feedback/estimates", _estimates(parts), methods=["GET"])
    body = {"type": "object", "properties": {"token": {"type": "string"}, "surface": {"type": "string"}},
            "additionalProperties": False}
    decision = {"type": "object", "properties": {"ask": {"type": "boolean"}, "probability": {"type": "number"},
                                                 "stratum": {"type": "string"}}}
    wrong: dict[str, Any] = {"4XX": {"description": "What is wrong", "content": {"application/problem+json": {}}}}
    openapi.tell(app, {
        PATH: {"post": {
            "summary": "Whether to ask the reader of this answer; the first decision stands",
            "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
            "responses": {**wrong, "200": {
                "description": "OK", "content": {"application/json": {"schema": decision}}}}}},
        "/api/feedback/estimates": {"get": {
            "summary": "Shares of negative judgements, raw and weighted, with coverage and representativeness",
            "parameters": [{"name": key, "in": "query", "schema": {"type": kind}}
                           for key, kind in (("name", "string"), ("since", "number"))],
            "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": {"type": "object"}}}},
                          **wrong}}},
    })


class _Asker:
    """Handler for `PATH`."""

    def __init__(self, parts: Parts) -> None:
        self._store, self._config = parts.store, parts.config

    async def ask(self, request: Request) -> Response:
        """Decide, or say what was decided."""
        said = await _body(request)
        token = said.get("token") or request.headers.get("backspan-token") or trust.bearer(request)
        if not isinstance(token, str) or not token:
            raise Problem(401, "needs a feedback token", field="token", headers={"WWW-Authenticate": "Bearer"})
        claims = trust.opened(request, self._config, token)
        try:
            where = fields.label(said, "surface")
        except InvalidFeedback as error:
            raise Problem(422, str(error), field=error.field) from None
        await admit(request.scope, self._config, claims.rater)
        try:
            ask, probability, stratum = await asyncio.wrap_future(self._store.write(
                lambda conn: _decide(conn, self._store, claims.target, claims.rater, where, time.time())))
        except Busy:
            raise busy() from None
        return JSONResponse({"ask": ask, "probability": probability, "stratum": stratum},
                            headers={"Cache-Control": "no-store"})


async def _body(request: Request) -> dict[str, Any]:
    sent = await bodies.read(request, bodies.MOST_FEEDBACK)
    try:
        said: Any = json.loads(sent) if sent else {}
    except (ValueError, RecursionError):
        raise Problem(400, "the body is not JSON") from None
    if not isinstance(said, dict) or not cast("dict[str, Any]", said).keys() <= {"token", "surface"}:
        raise Problem(422, "the body must be an object with token and surface")
    return cast("dict[str, Any]", said)


def _decide(
    conn: Connection, store: Store, target: Target, rater: str | None, surface: str | None, now: float
) -> tuple[bool, float, str]:
    id = store.identify(target, "ask", rater)
    known = kept.decided(conn, id)
    if known is not None:
        return known
    policy = current().asking
    stratum = asking.stratum(policy, target.dims, surface)
    seen = asking.Seen(*kept.seen(conn, stratum, rater, now - policy.window, now - policy.cap_window))
    decision = asking.decide(policy, seen, id, (token_keys() or ("",))[0].encode())
    kept.note(conn, {"id": id, "stratum": stratum, "rater": rater, "trace_id": target.trace_id,
                     "span_id": target.span_id, "response_id": target.response_id, "asked": decision.ask,
                     "probability": decision.probability, "time": now})
    return decision.ask, decision.probability, stratum


def _estimates(parts: Parts) -> Any:
    def show(request: Request) -> Response:
        trust.require(request, parts.config, keys.READ)
        name, since = request.query_params.get("name", semconv.USER_THUMBS), request.query_params.get("since")
        try:
            start = time.time() - WINDOW if since is None else float(since)
        except ValueError:
            raise Problem(422, "since: must be Unix seconds", field="since") from None
        with parts.store.reading() as conn:
            return JSONResponse({"since": start, **kept.estimates(conn, name, start), **kept.coverage(conn, start)})

    return show


class Gauges:
    """What ``read`` makes of the store, at most once in `PAUSE` seconds; a scrape never waits long for it.

    Without ``read``: estimates and coverage.
    """

    def __init__(self, store: Store, read: Callable[[Connection], list[Metric]] | None = None) -> None:
        self._store = store
        self._made = read or _measured
        self._found: list[Metric] = []
        self._due = 0.0
        self._task: Task[list[Metric]] | None = None

    async def families(self) -> list[Metric]:
        """What was read last."""
        if self._task is None and time.monotonic() >= self._due:
            self._task = asyncio.create_task(asyncio.to_thread(self._read))
        task = self._task
        if task is not None:
            done, _ = await asyncio.wait({task}, timeout=_PATIENCE)
            if done and self._task is task:  # of several scrapes that waited for it one takes it over
                self._task, self._due = None, time.monotonic() + PAUSE
                self._found = task.result()
        return self._found

    def _read(self) -> list[Metric]:
        with self._store.reading() as conn:
            return self._made(conn)


def _measured(conn: Connection) -> list[Metric]:
    since = time.time() - WINDOW
    return _families([kept.estimates(conn, name, since) for name in NAMES], kept.coverage(conn, since))


def _families(estimates: list[dict[str, Any]], covered: Mapping[str, float]) -> list[Metric]:
    shares = GaugeMetricFamily(
        semconv.PROM_FEEDBACK_ESTIMATE, "Share of negative judgements, of those asked and weighted to all",
        labels=[semconv.LABEL_NAME, semconv.LABEL_ESTIMATOR, semconv.LABEL_STAT, "instance"])
    for one in estimates:
        for estimator in ESTIMATORS:
            for stat in semconv.STATS if one[estimator] is not None else ():
                shares.add_metric([one["name"], estimator, stat, "gateway"], one[estimator][stat])
    plain = [(semconv.PROM_FEEDBACK_COVERAGE, "Share of the answers that users judged", covered["coverage"]),
             (semconv.PROM_FEEDBACK_STABILITY, "Population stability index of the judged answers' segments",
              covered["stability"])]
    found: list[Metric] = [shares]
    for name, doc, value in plain if covered["answers"] else ():
        family = GaugeMetricFamily(name, doc, labels=["instance"])
        family.add_metric(["gateway"], value)
        found.append(family)
    return found
