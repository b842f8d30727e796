"""``/api/erasures``: erase what one person said; and the audit log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from backspan.server.problems import busy
from backspan.store import Busy, Store, audit, erasure, withdrawal

Read = Callable[[Callable[[Connection], Any]], Any]


class Erasure(BaseModel):
    """Whose words to erase: her pseudonym; and who asks, for the audit log."""

    rater: Annotated[str, Field(min_length=1, max_length=256)]
    who: Annotated[str, Field(min_length=1, max_length=64)] = "api"


def add(api: APIRouter, read: Read, store: Store) -> None:
    """Add the routes."""

    @api.put("/erasures", summary="Erase the votes, revisions and turns of one person")
    async def erase(asked: Erasure) -> dict[str, Any]:
        ids = await asyncio.to_thread(read, lambda conn: erasure.votes_of(conn, asked.rater))
        now = time.time()
        try:
            gone = await asyncio.wrap_future(
                store.write(lambda conn: erasure.erase(conn, asked.rater, ids, asked.who, now)))
        except Busy:
            raise busy() from None
        return {"rater": asked.rater, "erased": gone, "tempo": erasure.tempo_command(asked.rater)}

    @api.put("/withdrawals", summary="Take the content out of the turns of one person, who agrees to it no longer")
    async def withdraw(asked: Erasure) -> dict[str, Any]:
        try:
            done = await asyncio.wrap_future(
                store.work(lambda batch: withdrawal.carry_out(batch, asked.rater, asked.who)))
        except Busy:
            raise busy() from None
        return {"rater": asked.rater, "withdrawn": done}

    @api.get("/audit", summary="Who erased or held what, newest first")
    def log(limit: Annotated[int, Query(ge=1, le=500)] = 100) -> dict[str, Any]:
        return {"entries": read(lambda conn: audit.entries(conn, limit))}
