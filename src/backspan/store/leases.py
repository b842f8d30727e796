"""Who does what only one process may do: a lease is held until a moment, and is anybody's after it.

A holder renews in good time; one that was killed loses the lease when it expires. All moments are Unix seconds of the
processes' own clocks: of machines that share a database the clocks must agree to much less than a lease's length. What
is done in the transaction that acquired a lease is done by its holder and nobody else.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from backspan.store.schema import insert, leases


def acquire(conn: Connection, name: str, holder: str, now: float, seconds: float) -> bool:
    """Take the lease ``name`` for ``seconds``, or renew it; False if somebody else holds it.

    ``holder`` is an id that no other process has.
    """
    statement: Any = insert(conn.dialect.name, leases).values(name=name, holder=holder, until=now + seconds)
    free = sa.or_(leases.c.holder == holder, leases.c.until <= now)
    taken = {"holder": statement.excluded.holder, "until": statement.excluded.until}
    made = statement.on_conflict_do_update(index_elements=["name"], set_=taken, where=free)
    done = conn.execute(made, execution_options={"preserve_rowcount": True})
    return done.rowcount == 1


def release(conn: Connection, name: str, holder: str) -> None:
    """Give the lease back before it expires. Harmless if somebody else holds it."""
    conn.execute(sa.delete(leases).where(leases.c.name == name, leases.c.holder == holder))


def holder_of(conn: Connection, name: str, now: float) -> str | None:
    """Who holds the lease at this moment; None if nobody does."""
    return conn.execute(sa.select(leases.c.holder).where(leases.c.name == name, leases.c.until > now)).scalar()


def new_holder() -> str:
    """An id that no other process has."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


class Duty:
    """What one of several replicas does, for as long as it goes on: asked for by `take`, and by `keep` in between.

    An SQLite file has one gateway, so there everybody has the duty.
    """

    LENGTH = 10.0
    """Seconds of a lease, and so the longest time that nobody does what a killed process did."""
    ASKED = 300.0
    """A duty that was not taken for so many seconds is given back: what is not scraped must not hide what is."""
    _EVERY = 3.0
    """A lease is renewed so many seconds after it was got."""

    def __init__(self, name: str, holder: str) -> None:
        self.name = name
        self.holder = holder
        self._held: float | None = None
        self._asked = 0.0

    def take(self, conn: Connection, now: float) -> bool:
        """Tell whether the duty is ours, for this transaction and `LENGTH` seconds."""
        if conn.dialect.name == "sqlite":
            return True
        self._asked = time.monotonic()
        return self._acquire(conn, now)

    def keep(self, conn: Connection, now: float) -> None:
        """Renew in good time what is ours; called again and again."""
        if self._held is None or time.monotonic() - self._held < self._EVERY:
            return
        if time.monotonic() - self._asked < self.ASKED:
            self._acquire(conn, now)
        else:
            self.give(conn)

    def fresh(self) -> bool:
        """Tell without asking the database whether the duty is ours for some seconds more."""
        return self._held is not None and time.monotonic() - self._held < self.LENGTH / 2

    def give(self, conn: Connection) -> None:
        """Give the duty back, if it is ours."""
        if self._held is not None:
            release(conn, self.name, self.holder)
            self._held = None

    def _acquire(self, conn: Connection, now: float) -> bool:
        got = acquire(conn, self.name, self.holder, now, self.LENGTH)
        self._held = time.monotonic() if got else None
        return got
