"""The worker: jobs in their intervals, each under a lease, so that of many workers on one database one does each.

A job is done in short transactions with pauses between them, because an SQLite file has one writer at a time and a
vote must not wait for housekeeping. A lease is kept while its job is idle too: that is how a server knows that it need
not do the job itself. A worker that is killed loses its leases when they expire; one that ends gives them back.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from backspan.store import leases, retention
from backspan.store.retention import Removed, Retention

LEASE_S = 60.0
"""How long a lease lasts without being renewed, in seconds."""
_RENEWED = 3
"""A lease is renewed this many times in its length."""
_SHARE = 4
"""A job writes for one part in this many of its time."""
_LEAST_PAUSE_S = 0.01


class Step(Protocol):
    """What one transaction of a job has done."""

    @property
    def more(self) -> bool:
        """There may be more to do at once."""
        ...


class Job(Protocol):
    """Work that is due again and again.

    Attributes:
        name: of the job and of its lease.
        every: seconds from one round to the next.
    """

    name: str
    every: float

    def begin(self, conn: Connection) -> None:
        """Called in the transaction in which the lease was won."""
        ...

    def step(self, conn: Connection, now: float) -> Step:
        """Do a bounded part in the given transaction, at Unix second ``now``."""
        ...


@dataclass
class Forget:
    """The job of retention: see `backspan.store.retention`. Rows of one table in one transaction: ``at_once``."""

    keep: Retention
    every: float = 60.0
    at_once: int = 250
    name: str = retention.LEASE

    def begin(self, conn: Connection) -> None:
        """Let servers know what to keep while we are away."""
        retention.tell(conn, self.keep)

    def step(self, conn: Connection, now: float) -> Removed:
        """Forget some."""
        return retention.apply(conn, self.keep, now, self.at_once)


@dataclass
class Report:
    """One round of one job.

    Attributes:
        job: its name.
        done: sums of the numbers that its steps told, by name; zeros left out.
        steps: how many transactions it took.
        holder: somebody else who holds the lease, so that nothing was done.
        error: class of the database's fault that ended the round; it is tried again.
    """

    job: str
    done: Counter[str] = field(default_factory=Counter[str])
    steps: int = 0
    holder: str | None = None
    error: str | None = None

    def add(self, step: Step) -> None:
        """Take in what one step did."""
        self.steps += 1
        told = {name: value for name, value in vars(step).items() if type(value) is int and value}
        self.done.update(told)


class Worker:
    """Does ``jobs`` on a database.

    Args:
        engine: one that writes, with short transactions; see `backspan.store.engines.connect`.
        jobs: what to do.
        holder: an id that no other worker has; None makes one.
        lease_s: length of a lease in seconds.
        clock: Unix seconds.
    """

    def __init__(
        self, engine: Engine, jobs: Sequence[Job], *, holder: str | None = None, lease_s: float = LEASE_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.holder = holder or leases.new_holder()
        self._engine = engine
        self._jobs = tuple(jobs)
        self._lease_s = lease_s
        self._clock = clock
        self._due = dict.fromkeys((job.name for job in jobs), 0.0)
        self._held: set[str] = set()
        self._stop = threading.Event()

    # --- for its owner ----------------------------------------------------------------------------------------------
    def run(self, tell: Callable[[Report], None]) -> None:
        """Work until `stop` is called, then give the leases back. ``tell`` hears of every round, also of idle ones."""
        try:
            while not self._stop.is_set():
                for report in self.pulse():
                    tell(report)
                self._stop.wait(self._rest())
        finally:
            self.release()

    def stop(self) -> None:
        """End `run` after the transaction at hand. May be called from a signal handler or another thread."""
        self._stop.set()

    def pulse(self) -> list[Report]:
        """Keep every lease, and do each job that is due until nothing is left to do."""
        return [self._round(job) for job in self._jobs]

    def release(self) -> None:
        """Give back the leases that are held; where the database does not let us, they expire."""
        try:
            with self._engine.begin() as conn:
                for name in sorted(self._held):
                    leases.release(conn, name, self.holder)
        except SQLAlchemyError:
            return
        self._held.clear()

    # --- one job ----------------------------------------------------------------------------------------------------
    def _rest(self) -> float:
        """Seconds until a lease must be renewed or a job that is ours is due."""
        due = [self._due[name] - self._clock() for name in self._held]
        return max(0.05, min([self._lease_s / _RENEWED, *due]))

    def _round(self, job: Job) -> Report:
        report = Report(job.name)
        try:
            while self._transact(job, report) and not self._stop.is_set():
                pass
        except SQLAlchemyError as error:
            self._held.discard(job.name)
            report.error = type(error).__name__
        return report

    def _transact(self, job: Job, report: Report) -> bool:
        """One transaction: the lease, and a step if the job is due. Tells whether another one should follow."""
        start = time.perf_counter()
        with self._engine.begin() as conn:
            now = self._clock()
            if not leases.acquire(conn, job.name, self.holder, now, self._lease_s):
                self._held.discard(job.name)
                report.holder = leases.holder_of(conn, job.name, now)
                return False
            if job.name not in self._held:
                job.begin(conn)
            step = job.step(conn, now) if self._due[job.name] <= now else None
        self._held.add(job.name)
        if step is None:
            return False
        report.add(step)
        if not step.more:
            self._due[job.name] = now + job.every
            return False
        self._stop.wait(max(_LEAST_PAUSE_S, (_SHARE - 1) * (time.perf_counter() - start)))
        return True
