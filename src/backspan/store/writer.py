"""One thread that writes. Work posted at the same time is committed together; nobody is answered before the commit."""

from __future__ import annotations

import logging
import queue
import threading
import time
from asyncio import AbstractEventLoop
from asyncio import Future as LoopFuture
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

T = TypeVar("T")
logger = logging.getLogger("backspan.store")

MOST_WAITING = 20_000
"""Jobs that may wait; past it `Writer.submit` refuses, and the HTTP client is told to come back."""
MOST_TOGETHER = 512
_TICK_SECONDS = 0.5
_LINGER_SECONDS, _LINGER_STEPS = 0.001, 10
"""A crowd is waited for in steps this long, this many at most."""
FAULTS = (
    SQLAlchemyError, ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError,
)
"""What reading and writing may raise. None of it may end a thread, or every later vote would wait for ever."""


class Busy(Exception):
    """Too much work is waiting."""


_NOT_NOW = ("database or disk is full", "disk I/O error", "database is locked")
"""What SQLite says of a file that it cannot write at the moment."""


class Unavailable(Busy):
    """The database does not answer, or cannot be written now. What was sent may have been stored."""


def unavailable(engine: Engine, error: BaseException) -> bool:
    """Tell whether a fault is the database's and not of what was asked, so that the same may go well later."""
    if engine.dialect.name == "postgresql":
        return isinstance(error, (OperationalError, InterfaceError))
    return isinstance(error, OperationalError) and str(error.orig) in _NOT_NOW


class Closed(Exception):
    """The store is closed."""


class Job(NamedTuple):
    """Work of one kind. Jobs next to each other with the same ``run`` are done by one call of it.

    ``run(conn, items)`` returns one result per item. ``done`` receives the result after the commit.
    """

    run: Callable[[Connection, Sequence[Any]], Sequence[Any]]
    item: Any
    done: Future[Any] | LoopFuture[Any]


class Writer:
    """Owns the write connection. ``tick(conn)`` runs about twice a second, in a transaction of its own."""

    def __init__(self, engine: Engine, tick: Callable[[Connection], None]) -> None:
        self._engine = engine
        self._tick = tick
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._closed = False
        self._due = 0.0
        self._crowded = False
        self._away = False
        self._thread = threading.Thread(target=self._loop, name="backspan-store", daemon=True)
        self._thread.start()

    def submit(self, run: Callable[[Connection, Sequence[Any]], Sequence[T]], item: Any) -> Future[T]:
        """Queue one item of work.

        Raises:
            Busy: when `MOST_WAITING` jobs wait already.
            Closed: after `close`.
        """
        done: Future[T] = Future()
        self._enqueue(Job(run, item, done))
        return done

    def submit_from(
        self, loop: AbstractEventLoop, run: Callable[[Connection, Sequence[Any]], Sequence[T]], item: Any
    ) -> LoopFuture[T]:
        """`submit` for a caller in an event loop, which is woken once per commit and not once per item."""
        done: LoopFuture[T] = loop.create_future()
        self._enqueue(Job(run, item, done))
        return done

    def _enqueue(self, job: Job) -> None:
        if self._closed:
            raise Closed("the store is closed")
        if self._queue.qsize() >= MOST_WAITING:
            raise Busy("too many writes are waiting")
        self._queue.put(job)

    def close(self) -> None:
        """Finish what is queued, then stop. Harmless when repeated."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            self._thread.join()

    def _loop(self) -> None:
        while True:
            jobs, last = self._gather()
            if jobs:
                self._commit(jobs)
            if time.monotonic() >= self._due:
                self._housekeep()
            if last:
                return

    def _gather(self) -> tuple[list[Job], bool]:
        """Wait for a job, then take all that is there. The flag says that the end was reached."""
        jobs: list[Job] = []
        try:
            job = self._queue.get(timeout=_TICK_SECONDS)
            if self._crowded:
                self._linger()
            while True:
                if job is None:
                    return jobs, True
                jobs.append(job)
                if len(jobs) >= MOST_TOGETHER:
                    return jobs, False
                job = self._queue.get_nowait()
        except queue.Empty:
            self._crowded = len(jobs) > 1
            return jobs, False

    def _linger(self) -> None:
        """Let more arrive, as long as more does: a commit costs the same for one vote and for a hundred."""
        waiting = 0
        for _ in range(_LINGER_STEPS):
            time.sleep(_LINGER_SECONDS)
            before, waiting = waiting, self._queue.qsize()
            if waiting - before < 2:
                return

    def _commit(self, jobs: list[Job]) -> None:
        try:
            results = self._attempt(jobs)
        except Unavailable as error:
            _deliver([(job.done, None, error) for job in jobs])
            return
        except FAULTS as error:
            if len(jobs) == 1:
                logger.error("a write failed: %s", type(error).__name__)
                _deliver([(jobs[0].done, None, error)])
                return
            for job in jobs:  # one of them is at fault: the others must not suffer for it
                self._commit([job])
            return
        _deliver([(job.done, result, None) for job, result in zip(jobs, results, strict=True)])

    def _attempt(self, jobs: list[Job], last: bool = False) -> list[Any]:
        """`_run`, once more on a new connection if the server was lost meanwhile; all that we store may be repeated."""
        try:
            results = self._run(jobs)
        except FAULTS as error:
            if not unavailable(self._engine, error):
                raise
            if not last and self._engine.dialect.name == "postgresql":
                return self._attempt(jobs, last=True)
            self._say(_said(error))
            raise Unavailable("the database does not answer") from error
        self._say(None)
        return results

    def _say(self, fault: str | None) -> None:
        if self._away != (fault is not None):
            self._away = fault is not None
            if fault is not None:
                logger.error("the database cannot be written (%s); tried again", fault)
            else:
                logger.error("the database can be written again")

    def _run(self, jobs: list[Job]) -> list[Any]:
        results: list[Any] = []
        with self._engine.begin() as conn:
            start = 0
            for stop in range(1, len(jobs) + 1):
                if stop == len(jobs) or jobs[stop].run != jobs[start].run:
                    results += jobs[start].run(conn, [job.item for job in jobs[start:stop]])
                    start = stop
        return results

    def _housekeep(self) -> None:
        self._due = time.monotonic() + _TICK_SECONDS
        try:
            with self._engine.begin() as conn:
                self._tick(conn)
            self._say(None)
        except FAULTS as error:
            if unavailable(self._engine, error):
                self._say(_said(error))
                return
            logger.error("housekeeping of the store failed, tried again later: %s", type(error).__name__)


def _said(error: BaseException) -> str:
    """A fault in a word, or in SQLite's few; what PostgreSQL says may quote what was sent."""
    said = str(getattr(error, "orig", ""))
    return said if said in _NOT_NOW else type(error).__name__


# --- results --------------------------------------------------------------------------------------------------------
Outcome = tuple["Future[Any] | LoopFuture[Any]", Any, "Exception | None"]


def _deliver(outcomes: Sequence[Outcome]) -> None:
    loops: dict[AbstractEventLoop, list[Outcome]] = {}
    for outcome in outcomes:
        if isinstance(outcome[0], LoopFuture):
            loops.setdefault(outcome[0].get_loop(), []).append(outcome)
        else:
            _settle([outcome])
    for loop, theirs in loops.items():
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_settle, theirs)


def _settle(outcomes: Sequence[Outcome]) -> None:
    for done, result, error in outcomes:
        if done.done():  # whoever waited has gone
            continue
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)
