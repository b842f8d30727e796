"""Connections: SQLite in a file (one gateway), or PostgreSQL (replicas).

Durability: a commit is on disk before it is reported, so neither ``kill -9`` nor a loss of power takes back what was
answered (as far as the disk itself keeps its word on fsync): SQLite with ``synchronous=FULL``, PostgreSQL with
``synchronous_commit`` at least ``on``.

One transaction writes at a time. SQLite has it so (``BEGIN IMMEDIATE``); on PostgreSQL every writing transaction takes
one advisory lock first. What a vote adds depends on what is stored: its state, its turn, which may come through another
replica in the same moment, the next number of the log. Finer locks would have to cover all of that, several for every
vote of a commit of hundreds, and would meet again in the rows of the counters, which all votes of a cohort share. The
lock is held for one short transaction and its commit; while it is waited for, votes gather for the next one. The
isolation of these transactions must stay READ COMMITTED: their statements have to see what the holder before committed.
"""

from __future__ import annotations

import sqlite3
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.event import listen
from sqlalchemy.exc import ArgumentError, DBAPIError

from backspan.store import pgsql, rekey
from backspan.store.migrate import StoreError, bring_up_to_date
from backspan.store.schema import dumps
from backspan.store.sealing import KeyFault

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

_POSTGRESQL = "postgresql+psycopg"


def connect(url: str) -> tuple[Engine, Engine]:
    """Open the database, make its tables if they are missing, and return an engine to write and one to read.

    ``url`` is an SQLAlchemy URL. A database of an older version is brought up to date in one transaction.

    Raises:
        StoreError: if the database cannot be used or comes from a newer version; in one line, without the password.
        ModuleNotFoundError: if the driver is missing.
    """
    try:
        writer = _engine(url, True, pool_size=1, max_overflow=0)
        try:
            _ready(writer)
        except BaseException:
            writer.dispose()
            raise
    except DBAPIError as error:
        raise StoreError(f"cannot use {shown(url)}: {_one_line(error.orig)}") from error
    except (StoreError, KeyFault) as error:
        raise StoreError(f"{shown(url)} {error}") from None
    return writer, _engine(url, False, pool_size=4, max_overflow=8)


def _ready(writer: Engine) -> None:
    with writer.begin() as conn:
        fault = pgsql.wrong(conn) if conn.dialect.name == "postgresql" else None
        if fault is not None:
            raise StoreError(fault)
        bring_up_to_date(conn)
        rekey.check(conn)


def reader(url: str) -> Engine:
    """An engine that only reads a database that others made: it makes no tables and changes none."""
    return _engine(url, False, pool_size=1, max_overflow=0)


def sqlite_url(path: Path) -> str:
    """URL of a database file; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{path}"


def postgres_url(text: str) -> str:
    """The SQLAlchemy URL of what libpq writes as ``postgresql://user@host:port/database?option=value``.

    Raises:
        StoreError: if it is none.
    """
    try:
        url = sa.make_url(text)
    except (ArgumentError, ValueError):
        url = None
    if url is None or url.drivername not in ("postgresql", "postgres", _POSTGRESQL) or not url.database:
        raise StoreError("the database must be given as postgresql://user@host:port/name (a password: see PGPASSWORD "
                         "and ~/.pgpass of PostgreSQL)")
    return url.set(drivername=_POSTGRESQL).render_as_string(hide_password=False)


def shown(url: str) -> str:
    """A URL as it may be printed: without its password, and as libpq and people write it."""
    return sa.make_url(url).render_as_string(hide_password=True).replace(_POSTGRESQL, "postgresql")


def _one_line(error: BaseException | None) -> str:
    return " ".join(str(error).split())


# --- engines --------------------------------------------------------------------------------------------------------
def _engine(url: str, writes: bool, **pool: Any) -> Engine:
    made = sa.make_url(url)
    if made.get_backend_name() == "postgresql":
        return _postgresql(made, writes, **pool)
    engine = sa.create_engine(made, json_serializer=dumps, **pool)
    # One statement for many rows: the driver gives up the interpreter lock at every row of an executemany, and
    # waits a switch interval to have it back while the server is busy.
    engine.dialect.use_insertmanyvalues_wo_returning = True
    listen(engine, "connect", _pragmas)
    listen(engine, "begin", partial(_begin, "BEGIN IMMEDIATE" if writes else "BEGIN"))
    return engine


def _begin(statement: str, conn: Connection) -> None:
    conn.exec_driver_sql(statement)


_PATIENCE_S, _PAUSE_S = 10.0, 0.01
"""Seconds that a connection waits for others, and from one attempt to the next where SQLite does not wait itself."""
_PRAGMAS = (f"busy_timeout={_PATIENCE_S * 1000:.0f}", "auto_vacuum=INCREMENTAL", "journal_mode=WAL", "synchronous=FULL",
            "temp_store=MEMORY", "cache_size=-16000",
            "secure_delete=ON",  # what is erased is overwritten: not every build of SQLite does so by itself
            # A commit that moves the log into the file takes tens of milliseconds: one in some ten thousand votes.
            "wal_autocheckpoint=32000")


def _pragmas(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy's "begin" event says BEGIN, so the driver must not
    for pragma in _PRAGMAS:
        _patiently(connection, f"PRAGMA {pragma}")


def _patiently(connection: Any, statement: str) -> None:
    """Execute, and wait for others too: of those who turn on a new file's log together, SQLite refuses some at once."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            connection.execute(statement)
            return
        except sqlite3.OperationalError as error:
            if str(error) != "database is locked" or time.monotonic() > deadline:
                raise
        time.sleep(_PAUSE_S)


def _postgresql(url: URL, writes: bool, **pool: Any) -> Engine:
    """A reader sees one state of the database in all statements of a transaction, as with SQLite."""
    given = {name: value for name, value in pgsql.CONNECT.items() if name not in url.query}
    engine = sa.create_engine(
        url, json_serializer=pgsql.dumps, pool_pre_ping=True, connect_args=given,
        isolation_level="READ COMMITTED" if writes else "REPEATABLE READ", **pool)
    listen(engine, "connect", pgsql.prepare_writer if writes else pgsql.prepare_reader)
    if writes:
        listen(engine, "begin", partial(_begin, pgsql.LOCK))
    return engine
