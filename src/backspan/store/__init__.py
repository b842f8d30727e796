"""The store: turns, votes, their exact counts, and what the detectors know. The only place with SQL.

`Store` is the door; everything else here serves it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Sequence, Set
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from backspan.context import Target
from backspan.store import asking, audit, counters, erasure, estimates, keys, outbox, signals, skips, votes
from backspan.store._work import Identify, Work
from backspan.store.engines import connect, postgres_url, sqlite_url
from backspan.store.idempotency import Claim, Done, Once
from backspan.store.migrate import StoreError
from backspan.store.model import Call, Event, Judged, Receipt, Vote, Watch, vote_of
from backspan.store.retention import Retention
from backspan.store.suspicion import Rules
from backspan.store.votes import Policy
from backspan.store.writer import Busy, Closed, Unavailable, Writer, unavailable

__all__ = ["Busy", "Call", "Closed", "Event", "Policy", "Receipt", "Retention", "Rules", "Store", "StoreError",
           "Unavailable", "Vote", "Watch", "asking", "audit", "erasure", "estimates", "keys", "postgres_url",
           "signals", "sqlite_url", "vote_of"]

T = TypeVar("T")


class Store:
    """A database with one writing thread. Futures resolve after the commit, which is durable (see `schema`).

    Args:
        url: SQLAlchemy URL.
        identify: gives a vote its key from (target, name, rater).
        policy: what is counted and emitted here.
        count_answers: count turns as ``backspan_answers_total``.
        keep: the rolling window, unless a worker was told another (`backspan.store.retention`).
        watch: told of every answer, call and judgement that is counted.
        clock: Unix seconds.
        rules: hold votes that look like spam (`backspan.store.guards`); None: hold none.

    Raises:
        StoreError: if the database cannot be used.
    """

    def __init__(
        self, url: str, *, identify: Identify, policy: Policy, count_answers: bool = True,
        keep: Retention | None = None, watch: Watch | None = None, clock: Callable[[], float] = time.time,
        rules: Rules | None = None,
    ) -> None:
        self._writing, self._reading = connect(url)
        self._inside = Work(identify=identify, policy=policy, count_answers=count_answers, keep=keep or Retention(),
                            watch=watch, clock=clock, rules=rules)
        self.url = url
        self.fresh_outbox = self._inside.fresh_outbox
        """Set when something new waits in the outbox."""
        self._writer = Writer(self._writing, self._inside.tick)
        self._votes_once = Once(self._inside.store_votes, votes.pack, votes.unpack, clock)
        self._work_once = Once(self._inside.work, _same, _same, clock)

    # --- write ---
    def put(self, judgement: Judged, target: Target, rater: str | None, now: float) -> Receipt:
        """Accept one judgement and wait for its commit; see `backspan.feedback.model.Sink`.

        Raises:
            Busy: when too much waits; nothing was stored.
        """
        id = self._inside.identify(target, judgement.name, rater)
        return self.put_votes([vote_of(id, judgement, target, rater, now)]).result()[0]

    def put_votes(self, group: Sequence[Vote]) -> Future[list[Receipt]]:
        """Accept votes, all or none; the receipts are in their order."""
        return self._writer.submit(self._inside.store_votes, group)

    async def accept(self, group: Sequence[Vote]) -> list[Receipt]:
        """`put_votes` for a caller in an event loop."""
        return await self._writer.submit_from(asyncio.get_running_loop(), self._inside.store_votes, group)

    async def accept_once(self, group: Sequence[Vote], claim: Claim) -> Done[list[Receipt]]:
        """`accept`, unless ``claim`` was done before: then what it got."""
        return await self.once(self._votes_once, claim, group)

    async def once(self, run: Once[T], claim: Claim, item: Any) -> Done[T]:
        """Do one item of work once (`backspan.store.idempotency`), for a caller in an event loop."""
        return await self._writer.submit_from(asyncio.get_running_loop(), run, (claim, item))

    def put_spans(
        self, calls: Sequence[Call], judged: Sequence[Vote] = (), foreign: Set[str] = frozenset(),
        promoted: Set[str] = frozenset(),
    ) -> Future[None]:
        """Accept the calls and the votes that came as spans.

        ``foreign`` holds the `Call.turn_key` of calls whose sender does not count its answers itself: they are counted
        here in any case. ``promoted`` holds those of calls that were sent because they were bad: they are kept and can
        be judged, and are not counted, no more than those with which they had been left out.
        """
        return self._writer.submit(self._inside.store_spans, (calls, judged, foreign, promoted))

    def scrape(self) -> Future[list[counters.Series] | None]:
        """All series as one scrape shows them; the scrape is counted for new ones.

        None if another replica shows them: a series that two showed would be counted twice.
        """
        return self._writer.submit(self._inside.scrape, None)

    def emits(self) -> bool:
        """Tell whether this replica sends what waits in the outbox.

        Raises:
            Busy, Closed: as all writing.
        """
        if self._inside.emitting.fresh():
            return True
        return self.write(lambda conn: self._inside.emitting.take(conn, self._inside.clock())).result()

    def emitted(self, seqs: Sequence[int]) -> Future[None]:
        """Note which revisions the back end has taken."""
        return self._writer.submit(self._inside.mark_emitted, seqs)

    def unsendable(self, seqs: Sequence[int]) -> Future[None]:
        """Note which revisions can never be told to the back end."""
        return self.write(lambda conn: outbox.mark(conn, seqs, outbox.UNSENDABLE))

    def write(self, job: Callable[[Connection], T]) -> Future[T]:
        """Run ``job`` in a transaction of the writing thread."""
        return self._writer.submit(_run, job)

    def work(self, job: Callable[[votes.Batch], T]) -> Future[T]:
        """Run ``job`` in a transaction of the writing thread; what it puts into the batch is stored and counted."""
        return self._writer.submit(self._inside.work, job)

    async def work_once(self, job: Callable[[votes.Batch], T], claim: Claim) -> Done[T]:
        """`work` with a result that is JSON, unless ``claim`` was done before: then what came of it."""
        return await self.once(self._work_once, claim, job)

    def skip(self, target: Target, name: str, rater: str | None) -> Future[tuple[str, bool]]:
        """Count a question that was passed over; its id, and whether it was not counted before."""
        return self.write(lambda conn: self.note_skip(conn, target, name, rater))

    def note_skip(self, conn: Connection, target: Target, name: str, rater: str | None) -> tuple[str, bool]:
        """`skip`, inside a transaction of the writing thread."""
        id = self._inside.identify(target, f"skip/{name}", rater)
        span, work = (target.trace_id, target.span_id), self._inside
        return id, skips.note(conn, id, name, rater, span, target.dims, work.clock(), work.policy.labels)

    def identify(self, target: Target, name: str, rater: str | None) -> str:
        """Key of a vote."""
        return self._inside.identify(target, name, rater)

    def close(self) -> None:
        """Commit what is queued, give back what only one replica does, and close the database."""
        with suppress(Busy, Closed):
            self._writer.submit(self._inside.give_back, None)
        self._writer.close()
        self._reading.dispose()
        self._writing.dispose()

    # --- read ---
    @contextmanager
    def reading(self) -> Generator[Connection]:
        """A connection for the functions of `reads`, `charts` and `outbox`.

        Raises:
            Unavailable: if the database server does not answer.
        """
        try:
            with self._reading.begin() as conn:
                yield conn
        except DBAPIError as error:
            if unavailable(self._reading, error):
                raise Unavailable("the database does not answer") from error
            raise


def _run(conn: Connection, jobs: Sequence[Any]) -> Sequence[Any]:
    return [job(conn) for job in jobs]


def _same(result: Any) -> Any:
    return result
