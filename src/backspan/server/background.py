"""What the embedded server does now and then besides answering: the rules of implicit signals, and their estimates.

Beside a gateway ``backspan worker`` does it; both do it under the same leases, so that it is done once.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

from sqlalchemy.exc import SQLAlchemyError

from backspan.config import settings
from backspan.server.config import ServerConfig
from backspan.store import Busy, Closed, Store, leases, signals
from backspan.store.votes import Batch

logger = logging.getLogger("backspan.server")
_EVERY = 5.0
_AT_ONCE = 10
_PAUSE = 0.05
"""Seconds between two parts, so that no vote has to wait for all of them."""


class Job(Protocol):
    """Work in small parts, on a batch of the store."""

    @property
    def name(self) -> str: ...
    def apply(self, batch: Batch) -> Any: ...


@asynccontextmanager
async def running(store: Store, config: ServerConfig) -> AsyncGenerator[None]:
    """While the block is open, do what is due (`backspan up`), or tell workers what they must know (a gateway)."""
    emits = config.emit_to is not None
    await asyncio.wrap_future(store.write(lambda conn: signals.tell_emits(conn, emits)))
    if config.gateway:
        yield
        return
    task = asyncio.create_task(_go_on(store, _jobs()))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _jobs() -> Sequence[Job]:
    from backspan.loop.implicit import Implicit  # brings RapidFuzz, which only this needs
    from backspan.loop.satisfaction import Satisfaction

    return Implicit(at_once=_AT_ONCE), Satisfaction(settings().data_dir / "weights.json", at_once=_AT_ONCE)


async def _go_on(store: Store, jobs: Sequence[Job]) -> None:
    holder, told = f"up-{secrets.token_hex(4)}", set[str]()
    while True:
        await asyncio.sleep(_EVERY)
        for fault in [await _round(store, job, holder) for job in jobs]:
            if fault and fault not in told:
                told.add(fault)
                logger.error("signals could not be looked for, tried again later: %s", fault)


async def _round(store: Store, job: Job, holder: str) -> str | None:
    """All that is due of a job; the class of the fault that ended it, if one did."""
    try:
        while await asyncio.wrap_future(store.work(lambda batch: _part(batch, job, holder))):
            await asyncio.sleep(_PAUSE)
    except (Busy, Closed, SQLAlchemyError) as error:
        return type(error).__name__
    return None


def _part(batch: Batch, job: Job, holder: str) -> bool:
    """Do a part of a job, if it is ours to do; tells whether there is more."""
    if not leases.acquire(batch.conn, job.name, holder, batch.now, 12 * _EVERY):
        return False
    return bool(job.apply(batch).more)
