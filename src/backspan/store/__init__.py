"""The store: turns, votes, their exact counts, and what the detectors know. The only place with SQL.

`Store` is the door; everything else here serves it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection

from backspan import semconv
from backspan.context import Target
from backspan.store import counters, outbox, retention, turns, votes
from backspan.store.model import Call, Event, Judged, Receipt, Vote, vote_of
from backspan.store.retention import Retention
from backspan.store.schema import StoreError, connect, sqlite_url
from backspan.store.votes import Policy
from backspan.store.writer import Busy, Closed, Writer

__all__ = ["Busy", "Call", "Closed", "Event", "Policy", "Receipt", "Retention", "Store", "StoreError", "Vote",
           "sqlite_url", "vote_of"]

Watch = Callable[[Connection, Sequence[Event]], None]
Identify = Callable[[Target, str, "str | None"], str]
_RETENTION_EVERY = 60.0


class Store:
    """A database with one writing thread. Futures resolve after the commit, which is durable (see `schema`).

    Args:
        url: SQLAlchemy URL.
        identify: gives a vote its key from (target, name, rater).
        policy: what is counted and emitted here.
        count_answers: count turns as ``backspan_answers_total``.
        keep: the rolling window.
        watch: called with the counted judgements inside their transaction, in commit order.
        clock: Unix seconds.

    Raises:
        StoreError: if the database cannot be used.
    """

    def __init__(
        self, url: str, *, identify: Identify, policy: Policy, count_answers: bool = True,
        keep: Retention | None = None, watch: Watch | None = None, clock: Callable[[], float] = time.time,
    ) -> None:
        self._writing, self._reading = connect(url)
        self._identify = identify
        self._policy = policy
        self._count_answers = count_answers
        self._keep = keep or Retention()
        self._watch = watch
        self._clock = clock
        self._retained = 0.0
        self.url = url
        self.fresh_outbox = threading.Event()
        """Set when something new waits in the outbox."""
        self._writer = Writer(self._writing, self._tick)

    # --- write ---
    def put(self, judgement: Judged, target: Target, rater: str | None, now: float) -> Receipt:
        """Accept one judgement and wait for its commit; see `backspan.feedback.model.Sink`.

        Raises:
            Busy: when too much waits; nothing was stored.
        """
        id = self._identify(target, judgement.name, rater)
        return self.put_votes([vote_of(id, judgement, target, rater, now)]).result()[0]

    def put_votes(self, group: Sequence[Vote]) -> Future[list[Receipt]]:
        """Accept votes, all or none; the receipts are in their order."""
        return self._writer.submit(self._store_votes, group)

    async def accept(self, group: Sequence[Vote]) -> list[Receipt]:
        """`put_votes` for a caller in an event loop."""
        return await self._writer.submit_from(asyncio.get_running_loop(), self._store_votes, group)

    def put_spans(self, calls: Sequence[Call], judged: Sequence[Vote] = ()) -> Future[None]:
        """Accept the calls and the votes that came as spans."""
        return self._writer.submit(self._store_spans, (calls, judged))

    def scrape(self) -> Future[list[counters.Series]]:
        """All series as one scrape shows them; the scrape is counted for new ones."""
        return self._writer.submit(lambda conn, items: [counters.scrape(conn) for _ in items], None)

    def emitted(self, seqs: Sequence[int]) -> Future[None]:
        """Note which revisions the back end has taken."""
        return self._writer.submit(self._mark_emitted, seqs)

    def identify(self, target: Target, name: str, rater: str | None) -> str:
        """Key of a vote."""
        return self._identify(target, name, rater)

    def close(self) -> None:
        """Commit what is queued and close the database."""
        self._writer.close()
        self._reading.dispose()
        self._writing.dispose()

    # --- read ---
    @contextmanager
    def reading(self) -> Generator[Connection]:
        """A connection for the functions of `reads`, `charts` and `outbox`."""
        with self._reading.begin() as conn:
            yield conn

    # --- inside the writer's transactions ---
    def _store_votes(self, conn: Connection, groups: Sequence[Any]) -> Sequence[list[Receipt]]:
        batch = votes.Batch(conn, self._clock(), self._policy)
        receipts = votes.put(batch, groups)
        self._finish(batch)
        return receipts

    def _store_spans(self, conn: Connection, items: Sequence[Any]) -> Sequence[None]:
        batch = votes.Batch(conn, self._clock(), self._policy)
        received = [call for calls, _ in items for call in calls]
        changed = turns.put_calls(conn, received, batch.now) if received else []
        self._answer(batch, [turn for turn in changed if not turn["counted"] and turns.complete(turn)])
        votes.settle(batch, (call.trace_id for call in received), (call.response_id for call in received))
        votes.put(batch, [judged for _, judged in items])
        self._finish(batch)
        return [None] * len(items)

    def _answer(self, batch: votes.Batch, answered: Sequence[Mapping[str, Any]]) -> None:
        for turn in answered:
            dims = turns.dims_of(turn)
            if self._count_answers:
                exemplar = {"trace_id": turn["trace_id"], "span_id": turn["span_id"], "time": turn["ended"]}
                batch.increments.add(semconv.PROM_ANSWERS, dims, exemplar=exemplar)
            counters.open_cohort(batch.increments, dims)
        turns.mark_counted(batch.conn, [turn["turn_id"] for turn in answered])

    def _finish(self, batch: votes.Batch) -> None:
        batch.write()
        if batch.events and self._watch is not None:
            self._watch(batch.conn, batch.events)
        if batch.emitting:
            self.fresh_outbox.set()

    def _mark_emitted(self, conn: Connection, items: Sequence[Any]) -> Sequence[None]:
        outbox.mark(conn, [seq for seqs in items for seq in seqs], self._clock())
        return [None] * len(items)

    def _tick(self, conn: Connection) -> None:
        batch = votes.Batch(conn, self._clock(), self._policy)
        self._answer(batch, turns.uncounted(conn, batch.now))
        votes.expire(batch)
        self._finish(batch)
        if batch.now - self._retained >= _RETENTION_EVERY:
            self._retained = batch.now
            retention.apply(conn, self._keep, batch.now)
