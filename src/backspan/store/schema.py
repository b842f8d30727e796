"""The tables of both databases, as this code knows them; `backspan.store.migrate` makes them so.

A change here needs a revision (``make revision``); a test compares both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Boolean, Column, Connection, Float, Index, Integer, MetaData, String, Table
from sqlalchemy.dialects import sqlite

from backspan.store.columns import SealedJSON, SealedText

metadata = MetaData()
JSON = sa.JSON(none_as_null=True)
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""An integer of 64 bits, which SQLite's are anyway. It numbers rows, or comes from outside."""


def _text(name: str, **more: Any) -> Column[str]:
    return Column(name, String, nullable=False, default="", server_default="", **more)


SAID = ("service", "environment", "conversation_id", "user_id", "segment", "variant", "model", "response_model",
         "provider", "prompt_name", "prompt_version", "index_name", "index_version", "response_id", "join_key",
        "consent")

calls = Table(
    "calls", metadata,
    Column("trace_id", String, primary_key=True), Column("span_id", String, primary_key=True),
    _text("parent_id"), _text("turn_id"), _text("operation"), *(_text(name) for name in SAID),
    Column("input_tokens", BIG), Column("output_tokens", BIG),
    Column("started", Float, nullable=False), Column("ended", Float, nullable=False),
    _text("outcome"), _text("finish"), _text("error"), Column("answered", Boolean, nullable=False),
    Column("query", SealedText("calls", "query")), Column("answer", SealedText("calls", "answer")),
    Column("messages", SealedJSON("calls", "messages")), Column("documents", SealedJSON("calls", "documents")),
    Column("received", Float, nullable=False),
    Index("calls_turn", "turn_id"), Index("calls_response", "response_id"), Index("calls_ended", "ended"),
)

turns = Table(
    "turns", metadata,
    Column("turn_id", String, primary_key=True), _text("trace_id"), _text("span_id"),
    *(_text(name) for name in SAID),
    Column("input_tokens", BIG), Column("output_tokens", BIG),
    Column("started", Float, nullable=False), Column("ended", Float, nullable=False), Column("duration", Float),
    _text("outcome"), _text("finish"), _text("error"),
    Column("query", SealedText("turns", "query")), Column("answer", SealedText("turns", "answer")),
    Column("documents", SealedJSON("turns", "documents")), Column("calls", Integer, nullable=False),
    Column("rooted", Boolean, nullable=False),
    Column("answered", Boolean, nullable=False),
    Column("counted", Boolean, nullable=False, default=False),
    Column("received", Float, nullable=False), Column("touched", Float, nullable=False),
    Index("turns_trace", "trace_id"), Index("turns_started", "started"), Index("turns_ended", "ended"),
    Index("turns_counted", "counted", "touched"),
    Index("turns_session", "conversation_id"), Index("turns_join_key", "join_key"),
)


def _judgement(table: str) -> list[Column[Any]]:
    texts = [Column(name, SealedText(table, name)) for name in ("comment", "correction")]
    return [_text("name"), Column("value", Float), Column("label", String), _text("polarity"),
            Column("reasons", JSON), *texts, _text("source"), Column("solicited", Boolean),
            Column("details", SealedJSON(table, "details")), Column("circumstances", JSON)]


votes = Table(
    "votes", metadata,
    Column("id", String, primary_key=True), Column("version", BIG, nullable=False), _text("op"), *_judgement("votes"),
    Column("rater", String), Column("trace_id", String), Column("span_id", String),
    Column("trace_flags", BIG, nullable=False, default=1), Column("response_id", String),
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
    Column("seq", BIG, primary_key=True, autoincrement=False), Column("id", String, nullable=False),
    Column("version", BIG, nullable=False), _text("op"), *_judgement("vote_log"), _text("digest"),
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
    Column("seq", BIG, primary_key=True, autoincrement=False), Column("emitted", Float),
    Index("outbox_emitted", "emitted"),
)

detectors = Table(
    "detectors", metadata,
    Column("chart", String, primary_key=True), Column("cohort", String, primary_key=True),
    Column("state", JSON, nullable=False), Column("ratings", Float, nullable=False),
    Column("bad", Float, nullable=False), Column("updated", Float, nullable=False),
)
"""Every cohort of every chart, and the parents from which cohorts inherit. ``state`` is the detectors' own."""

clocks = Table(
    "clocks", metadata,
    Column("chart", String, primary_key=True), Column("start", Float, nullable=False),
    Column("first", Float, nullable=False), Column("per_day", Float, nullable=False), Column("looked", Float),
)
"""The open window of each chart (its start), the start of its first one, the events per day that a promise in days
goes by, and when alerts that are looked at in every interval were last looked at."""

windows = Table(
    "windows", metadata,
    Column("chart", String, primary_key=True), Column("start", Float, primary_key=True),
    Column("cohort", String, primary_key=True), Column("n", Float, nullable=False),
    Column("bad", Float, nullable=False),
)
"""What each cohort counted in each closed window; windows without any events are left out."""

totals = Table(
    "totals", metadata,
    Column("chart", String, primary_key=True), Column("cohort", String, primary_key=True),
    Column("at", Float, primary_key=True), Column("n", Float, nullable=False), Column("bad", Float, nullable=False),
)
"""What a cohort had counted so far at the end of each interval in which it counted anything."""

baselines = Table(
    "baselines", metadata,
    Column("chart", String, primary_key=True), Column("cohort", String, primary_key=True),
    Column("p0", Float, nullable=False), Column("phi", Float, nullable=False), _text("phase"), _text("reason"),
    Column("excluded", JSON), Column("time", Float, nullable=False),
)
"""Baselines that a person set."""

drawn = Table(
    "drawn", metadata,
    Column("chart", String, primary_key=True), Column("cohort", String, primary_key=True),
    Column("number", BIG, primary_key=True), Column("n", Float, nullable=False),
    Column("bad", Float, nullable=False), Column("statistic", Float), Column("p0", Float), Column("phi", Float),
    _text("phase"), Column("started", Float, nullable=False), Column("ended", Float, nullable=False),
)
"""The points that are drawn, with the baseline that was in effect."""

alerts = Table(
    "alerts", metadata,
    Column("id", BIG, primary_key=True), Column("chart", String, nullable=False),
    Column("cohort", String, nullable=False), Column("fired", Float, nullable=False), Column("cleared", Float),
    Column("rating", BIG, nullable=False), Column("details", JSON, nullable=False),
    _text("name"), _text("rule"), Column("until", Float),
    Index("alerts_open", "chart", "cohort", "cleared"),
)
"""Alerts. ``name`` is "" for the alarm of a chart by its evidence. Any other is held: it ends at ``until`` unless its
condition is met again; None while it is met. ``rule`` tells alerts of one name and cohort apart."""

leases = Table(
    "leases", metadata,
    Column("name", String, primary_key=True), Column("holder", String, nullable=False),
    Column("until", Float, nullable=False),
)
"""Which process does what only one may do, until when (Unix seconds); see `backspan.store.leases`."""

meta = Table("meta", metadata, Column("key", String, primary_key=True), Column("value", JSON, nullable=False))


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
    """Canonical JSON: sorted keys, no blanks, UTF-8 as it is, and U+FFFD for NUL, which PostgreSQL has not."""
    return without_nul(_ENCODER.encode(value))


def without_nul(said: str) -> str:
    """JSON with U+FFFD for each NUL in its strings."""
    return _NUL.sub("\\1\ufffd", said) if r"\u0000" in said else said


_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)
