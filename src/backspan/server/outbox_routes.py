"""``/api/outbox``: how many feedback spans wait for the back end, and sending again what it has lost."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from math import isfinite
from typing import Any

from fastapi import APIRouter, Request
from sqlalchemy import Connection

from backspan.server import bodies
from backspan.server.config import ServerConfig
from backspan.server.problems import Problem, busy
from backspan.store import Busy, Store, outbox

Read = Callable[[Callable[[Connection], Any]], Any]
_MOST_BODY = 1000


def add(api: APIRouter, read: Read, store: Store, config: ServerConfig) -> None:
    """Add the routes."""

    @api.get("/outbox", summary="Feedback spans that the back end has not taken yet")
    def waiting() -> dict[str, Any]:
        return {"endpoint": config.emit_to, "waiting": read(outbox.backlog), "unsendable": read(outbox.unsendable)}

    @api.put("/outbox", summary="Send the feedback spans again that the back end took since a moment")
    async def again(request: Request) -> dict[str, Any]:
        since = _since(await bodies.read(request, _MOST_BODY))
        if config.emit_to is None:
            raise Problem(409, "this server sends feedback spans nowhere; start it with --forward")
        try:
            count = await _again(store, since)
        except Busy:
            raise busy() from None
        return {"endpoint": config.emit_to, "again": count, "since": since}


async def _again(store: Store, since: float) -> int:
    """In steps, so that votes are not kept waiting by a long history."""
    before, count = time.time(), 0
    while True:
        step = await asyncio.wrap_future(store.write(lambda conn: outbox.again(conn, since, before)))
        if not step:
            return count
        count += step
        store.fresh_outbox.set()


def _since(sent: bytes) -> float:
    try:
        said: Any = json.loads(sent)
        since = said["since"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise Problem(422, "since: wanted, in Unix seconds", field="since") from None
    if isinstance(since, bool) or not isinstance(since, (int, float)) or not isfinite(since) or since < 0:
        raise Problem(422, "since: must be Unix seconds", field="since")
    return float(since)
