"""``/api/quarantine``: votes that are held, and holding and letting go by hand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from backspan.server.problems import busy
from backspan.store import Busy, Store, audit, guards
from backspan.store.suspicion import BY_HAND

Read = Callable[[Callable[[Connection], Any]], Any]


class Decision(BaseModel):
    """What to do with which votes."""

    action: Literal["hold", "release"]
    ids: Annotated[list[str], Field(min_length=1, max_length=500)]


def add(api: APIRouter, read: Read, store: Store) -> None:
    """Add the routes."""

    @api.get("/quarantine", summary="Votes that are held, newest first, or those that were let go")
    def listed(
        state: Literal["held", "released"] = "held", limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> dict[str, Any]:
        return {"votes": read(lambda conn: guards.quarantine(conn, state, limit))}

    @api.put("/quarantine", summary="Hold votes, or let them go")
    async def decide(decision: Decision) -> dict[str, Any]:
        try:
            done = await asyncio.wrap_future(store.write(lambda conn: act(conn, decision.action, decision.ids)))
        except Busy:
            raise busy() from None
        return {"action": decision.action, "done": done}


def act(conn: Connection, action: str, ids: list[str], who: str = "api") -> int:
    """Hold votes or let them go, and note who did; returns how many that changed."""
    now = time.time()
    if action == "hold":
        done = guards.hold(conn, dict.fromkeys(ids, BY_HAND), now)
    else:
        done = guards.release(conn, ids, now)
    audit.note(conn, who, f"quarantine {action}", {"ids": ids[:20], "votes": len(ids), "done": done}, now)
    return done
