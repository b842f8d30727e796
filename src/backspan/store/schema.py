"""Tables and connections. SQLite in WAL mode now; nothing here keeps PostgreSQL out.

Durability: one writer, ``synchronous=FULL``. A commit is on disk before it is reported, so neither ``kill -9`` nor
a loss of power takes back what was answered (as far as the disk itself keeps its word on fsync).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Boolean, Column, Connection, Engine, Float, Index, Integer, MetaData, String, Table, Text
from sqlalchemy.dialects import sqlite
from sqlalchemy.event import listen
from sqlalchemy.exc import DatabaseError

VERSION = 1
"""Version of the tables; a file of a newer version is refused."""

metadata = MetaData()
JSON = sa.JSON(none_as_null=True)


class StoreError(Exception):
    """The database cannot be opened or is of a newer version."""


def _text(name: str, **more: Any) -> Column[str]:
    return Column(name, String, nullable=False, default="", server_default="", **more)


SAID = ("service", "environment", "conversation_id", "user_id", "segment", "variant", "model", "response_model",
         "provider", "prompt_name", "prompt_version", "index_name", "index_version", "response_id")

calls = Table(
    "calls", metadata,
    Column("trace_id", String, primary_key=True), Column("span_id", String, primary_key=True),
    _text("parent_id"), _text("turn_id"), _text("operation"), *(_text(name) for name in SAID),
    Column("input_tokens", Integer), Column("output_tokens", Integer),
    Column("started", Float, nullable=False), Column("ended", Float, nullable=False),
    _text("outcome"), _text("error"), Column("answered", Boolean, nullable=False), Column("query", Text),
    Column("answer", Text), Column("messages", JSON), Column("documents", JSON),
    Column("received", Float, nullable=False),
    Index("calls_turn", "turn_id"), Index("calls_response", "response_id"), Index("calls_ended", "ended"),
)

turns = Table(
    "turns", metadata,
    Column("turn_id", String, primary_key=True), _text("trace_id"), _text("span_id"),
    *(_text(name) for name in SAID),
    Column("input_tokens", Integer), Column("output_tokens", Integer),
    Column("started", Float, nullable=False), Column("ended", Float, nullable=False), Column("duration", Float),
    _text("outcome"), _text("error"), Column("query", Text), Column("answer", Text), Column("documents", JSON),
    Column("calls", Integer, nullable=False), Column("rooted", Boolean, nullable=False),
    Column("answered", Boolean, nullable=False),
    Column("counted", Boolean, nullable=False, default=False),
    Column("received", Float, nullable=False), Column("touched", Float, nullable=False),
    Index("turns_trace", "trace_id"), Index("turns_started", "started"), Index("turns_ended", "ended"),
    Index("turns_counted", "counted", "touched"),
    Index("turns_session", "conversation_id"),
)

_JUDGED = ("name", "value", "label", "polarity", "reasons", "comment", "correction", "source")


def _judgement() -> list[Column[Any]]:
    return [_text("name"), Column("value", Float), Column("label", String), _text("polarity"),
            Column("reasons", JSON), Column("comment", Text), Column("correction", Text), _text("source")]


votes = Table(
    "votes", metadata,
    Column("id", String, primary_key=True), Column("version", Integer, nullable=False), _text("op"), *_judgement(),
    Column("rater", String), Column("trace_id", String), Column("span_id", String),
    Column("trace_flags", Integer, nullable=False, default=1), Column("response_id", String),
    Column("conversation_id", String), Column("turn_id", String), Column("at", Float), Column("dims", JSON),
    Column("said", JSON),
    Column("resolved", Boolean, nullable=False), Column("time", Float, nullable=False),
    Column("received", Float, nullable=False),
    Index("votes_trace", "trace_id"), Index("votes_response", "response_id"), Index("votes_turn", "turn_id"),
    Index("votes_conversation", "conversation_id"), Index("votes_time", "time"),
)
"""The vote as it stands: the newest revision of each key, and what is known of its target."""

vote_log = Table(
    "vote_log", metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False), Column("id", String, nullable=False),
    Column("version", Integer, nullable=False), _text("op"), *_judgement(), _text("digest"),
    Column("delay", Float), Column("time", Float, nullable=False), Column("received", Float, nullable=False),
    Column("counted", Boolean, nullable=False), _text("origin"),
    Index("vote_log_revision", "id", "version", unique=True), Index("vote_log_counted", "counted", "received"),
)
"""One row per revision, in commit order, never changed but for ``counted`` (has it reached the counters)."""

counters = Table(
    "counters", metadata,
    Column("metric", String, primary_key=True), Column("labels", String, primary_key=True),
    Column("value", Float, nullable=False), Column("exposed", Integer, nullable=False, default=0),
    Column("exemplar", JSON),
)
"""Exact counts. ``labels`` is canonical JSON; ``exposed`` is the number of scrapes that have shown the series."""

outbox = Table(
    "outbox", metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False), Column("emitted", Float),
    Index("outbox_emitted", "emitted"),
)

detectors = Table(
    "detectors", metadata,
    Column("chart", String, primary_key=True), Column("cohort", String, primary_key=True),
    Column("state", JSON, nullable=False), Column("ratings", Integer, nullable=False),
    Column("bad", Integer, nullable=False), Column("updated", Float, nullable=False),
)

points = Table(
    "points", metadata,
    Column("chart", String, primary_key=True), Column("cohort", String, primary_key=True),
    Column("number", Integer, primary_key=True), Column("n", Integer, nullable=False),
    Column("bad", Integer, nullable=False), Column("statistic", Float, nullable=False),
    Column("started", Float, nullable=False), Column("ended", Float, nullable=False),
)

alerts = Table(
    "alerts", metadata,
    Column("id", Integer, primary_key=True), Column("chart", String, nullable=False),
    Column("cohort", String, nullable=False), Column("fired", Float, nullable=False), Column("cleared", Float),
    Column("rating", Integer, nullable=False), Column("details", JSON, nullable=False),
    Index("alerts_open", "chart", "cohort", "cleared"),
)

meta = Table("meta", metadata, Column("key", String, primary_key=True), Column("value", JSON, nullable=False))


def connect(url: str) -> tuple[Engine, Engine]:
    """Open the database, make its tables if they are missing, and return an engine to write and one to read.

    ``url`` is an SQLAlchemy URL.

    Raises:
        StoreError: if the file cannot be opened or comes from a newer version.
    """
    try:
        writer = _engine(url, "BEGIN IMMEDIATE", pool_size=1, max_overflow=0)
        with writer.begin() as conn:
            metadata.create_all(conn)
            conn.execute(insert(conn.dialect.name, meta).values(key="schema", value=VERSION).on_conflict_do_nothing())
            found = conn.execute(sa.select(meta.c.value).where(meta.c.key == "schema")).scalar_one()
    except DatabaseError as error:
        raise StoreError(f"cannot use {url}: {error.orig}") from error
    if found > VERSION:
        raise StoreError(f"{url} is of version {found}, written by a newer backspan; this one knows {VERSION}")
    return writer, _engine(url, "BEGIN", pool_size=4, max_overflow=8)


def _engine(url: str, begin: str, **pool: Any) -> Engine:
    engine = sa.create_engine(url, json_serializer=dumps, **pool)
    if engine.dialect.name == "sqlite":
        # One statement for many rows: the driver gives up the interpreter lock at every row of an executemany, and
        # waits a switch interval to have it back while the server is busy.
        engine.dialect.use_insertmanyvalues_wo_returning = True
        listen(engine, "connect", _pragmas)
        listen(engine, "begin", partial(_begin, begin))
    return engine


def _begin(statement: str, conn: Connection) -> None:
    conn.exec_driver_sql(statement)


def _pragmas(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy's "begin" event says BEGIN, so the driver must not
    for pragma in ("busy_timeout=10000", "auto_vacuum=INCREMENTAL", "journal_mode=WAL", "synchronous=FULL",
                   "temp_store=MEMORY", "cache_size=-16000", "wal_autocheckpoint=4000"):
        connection.execute(f"PRAGMA {pragma}")


def sqlite_url(path: Path) -> str:
    """URL of a database file; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{path}"


def insert(dialect: str, table: Table) -> Any:
    """An INSERT that knows ``on_conflict_*`` in the dialect of that name."""
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql  # 0.1 s of imports that SQLite does not need

        return postgresql.insert(table)
    return sqlite.insert(table)


def upsert(conn: Connection, table: Table, rows: Sequence[Mapping[str, Any]], keep: Sequence[str] = ()) -> None:
    """Insert ``rows`` or overwrite those with the same primary key, but for the columns ``keep``."""
    if rows:
        conn.execute(_upsert(conn.dialect.name, table, tuple(rows[0]), tuple(keep)), list(rows))


@lru_cache(maxsize=64)
def _upsert(dialect: str, table: Table, names: tuple[str, ...], keep: tuple[str, ...]) -> Any:
    """Made once: building a statement costs more than running it."""
    statement, keys = insert(dialect, table), [column.name for column in table.primary_key]
    changed = {name: statement.excluded[name] for name in names if name not in keys and name not in keep}
    return statement.on_conflict_do_update(index_elements=keys, set_=changed)


def chunks(values: Sequence[Any], size: int = 500) -> Iterator[Sequence[Any]]:
    """Slices small enough for the bound parameters of one statement."""
    for start in range(0, len(values), size):
        yield values[start:start + size]


def dumps(value: Any) -> str:
    """Canonical JSON: sorted keys, no blanks, UTF-8 as it is."""
    return _ENCODER.encode(value)


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)
