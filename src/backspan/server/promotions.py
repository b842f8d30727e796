"""``GET /v1/promotions``: which unsampled traces were judged bad, for applications with ``BACKSPAN_KEEP``."""

from __future__ import annotations

import asyncio
from math import isfinite
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from backspan.server import keys, openapi, trust
from backspan.server.problems import Problem
from backspan.store import promotions

if TYPE_CHECKING:
    from backspan.server.routes import Parts

PATH = "/v1/promotions"
_BIGGEST = 2**62


def add(app: FastAPI, parts: Parts) -> None:
    """Add the route."""

    async def show(request: Request) -> Response:
        trust.require_sender(request, parts.config, keys.FEEDBACK)
        after, since = _number(request, "after"), _number(request, "since")

        def look() -> promotions.Promotions:
            with parts.store.reading() as conn:
                return promotions.judged_bad(conn, after=None if after is None else int(after), since=since or 0.0)

        found = await asyncio.to_thread(look)
        return JSONResponse({"trace_ids": found.trace_ids, "after": found.after}, headers={"Cache-Control": "no-store"})

    app.add_route(PATH, show, methods=["GET"])
    openapi.tell(app, {PATH: {"get": {
        "summary": "Unsampled traces that were judged bad", "security": [{"key": []}, {}],
        "parameters": [_parameter("after", "integer", "Where the last answer ended"),
                       _parameter("since", "number", "Unix seconds, for a first question")],
        "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": _ANSWER}}}}}}})


_ANSWER: dict[str, Any] = {
    "type": "object", "required": ["trace_ids", "after"],
    "properties": {"trace_ids": {"type": "array", "items": {"type": "string"}}, "after": {"type": "integer"}},
}


def _parameter(name: str, kind: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": {"type": kind, "minimum": 0}, "description": description}


def _number(request: Request, name: str) -> float | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not (isfinite(number) and 0 <= number <= _BIGGEST):
        raise Problem(422, f"{name}: must be a number of at least 0", field=name)
    return number
