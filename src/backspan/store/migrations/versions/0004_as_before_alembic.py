"""The tables as the last release before Alembic had them, and what it did with files of the releases before it.

A file of version 1 to 4 gets what it lacks; an empty database gets everything.
"""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Boolean, Column, Connection, Float, Index, Integer, MetaData, String, Table, Text

revision = "0004"
down_revision = None
branch_labels = None
depends_on = None

metadata = MetaData()
JSON = sa.JSON(none_as_null=True)
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make what is missing, and move what has a new home."""
    conn = op.get_bind()
    for table in metadata.sorted_tables:
        if sa.inspect(conn).has_table(table.name):
            _complete(conn, table)
        else:
            table.create(conn)
    if sa.inspect(conn).has_table("points"):  # version 1
        kept = "chart, cohort, number, n, bad, statistic, started, ended"
        op.execute(f"INSERT INTO drawn ({kept}) SELECT {kept} FROM points")
        op.drop_table("points")


def _complete(conn: Connection, table: Table) -> None:
    there = sa.inspect(conn)
    columns = {column["name"] for column in there.get_columns(table.name)}
    for column in table.columns:
        if column.name not in columns:
            # as it is written in SQL: a Column belongs to one table
            made = sa.schema.CreateColumn(column).compile(dialect=conn.dialect)
            op.execute(f"ALTER TABLE {table.name} ADD COLUMN {made}")
    for index in _missing(table, {index["name"] for index in there.get_indexes(table.name)}):
        index.create(conn)


def _missing(table: Table, known: set[str | None]) -> Iterator[Index]:
    return (index for index in table.indexes if index.name not in known)


# --- the tables -----------------------------------------------------------------------------------------------------
def _text(name: str) -> Column[str]:
    return Column(name, String, nullable=False, default="", server_default="")


SAID = ("service", "environment", "conversation_id", "user_id", "segment", "variant", "model", "response_model",
         "provider", "prompt_name", "prompt_version", "index_name", "index_version", "response_id")

Table(
    "calls", metadata,
    Column("trace_id", String, primary_key=True), Column("span_id", String, primary_key=True),
    _text("parent_id"), _text("turn_id"), _text("operation"), *(_text(name) for name in SAID),
    Column("input_tokens", BIG), Column("output_tokens", BIG),
    Column("started", Float, nullable=False), Column("ended", Float, nullable=False),
    _text("outcome"), _text("finish"), _text("error"), Column("answered", Boolean, nullable=False),
    Column("query", Text), Column("answer", Text), Column("messages", JSON), Column("documents", JSON),
    Column("received", Float, nullable=False),
    Index("calls_turn", "turn_id"), Index("calls_response", "response_id"), Index("calls_ended", "ended"),
)

Table(
    "turns", metadata,
    Column("turn_id", String, primary_key=True), _text("trace_id"), _text("span_id"),
    *(_text(name) for name in SAID),
    Column("input_tokens", BIG), Column("output_tokens", BIG),
    Column("started", Float, nullable=False), Column("ended", Float, nullable=False), Column("duration", Float),
    _text("outcome"), _text("finish"), _text("error"), Column("query", Text), Column("answer", Text),
    Column("documents", JSON), Column("calls", Integer, nullable=False), Column("rooted", Boolean, nullable=False),
    Column("answered", Boolean, nullable=False),
    Column("counted", Boolean, nullable=False, default=False),
    Column("received", Float, nullable=False), Column("touched", Float, nullable=False),
    Index("turns_trace", "trace_id"), Index("turns_started", "started"), Index("turns_ended", "ended"),
    Index("turns_counted", "counted", "touched"),
    Index("turns_session", "conversation_id"),
)


def _judgement() -> list[Column[Any]]:
    return [_text("name"), Column("value", Float), Column("label", String), _text("polarity"),
            Column("reasons", JSON), Column("comment", Text), Column("correction", Text), _text("source"),
            Column("solicited", Boolean)]


Table(
    "votes", metadata,
    Column("id", String, primary_key=True), Column("version", BIG, nullable=False), _text("op"), *_judgement(),
    Column("rater", String), Column("trace_id", String), Column("span_id", String),
    Column("trace_flags", BIG, nullable=False, default=1), Column("response_id", String),
    Column("conversation_id", String), Column("turn_id", String), Column("at", Float), Column("dims", JSON),
    Column("said", JSON),
    Column("resolved", Boolean, nullable=False), Column("time", Float, nullable=False),
    Column("received", Float, nullable=False),
    Index("votes_trace", "trace_id"), Index("votes_response", "response_id"), Index("votes_turn", "turn_id"),
    Index("votes_conversation", "conversation_id"), Index("votes_time", "time"),
)

Table(
    "vote_log", metadata,
    Column("seq", BIG, primary_key=True, autoincrement=False), Column("id", String, nullable=False),
    Column("version", BIG, nullable=False), _text("op"), *_judgement(), _text("digest"),
    Column("delay", Float), Column("time", Float, nullable=False), Column("received", Float, nullable=False),
    Column("counted", Boolean, nullable=False), _text("origin"),
    Index("vote_log_revision", "id", "version", unique=True), Index("vote_log_counted", "counted", "received"),
)

Table(
    "counters", metadata,
    Column("metric", String, primary_key=True), Column("labels", String, primary_key=True),
    Column("value", Float, nullable=False), Column("exposed", Integer, nullable=False, default=0),
    Column("exemplar", JSON),
)

Table(
    "outbox", metadata,
    Column("seq", BIG, primary_key=True, autoincrement=False), Column("emitted", Float),
    Index("outbox_emitted", "emitted"),
)

Table(
    "detectors", metadata,
    Column("chart", String, primary_key=True), Column("cohort", String, primary_key=True),
    Column("state", JSON, nullable=False), Column("ratings", Float, nullable=False),
    Column("bad", Float, nullable=False), Column("updated", Float, nullable=False),
)

Table(
    "clocks", metadata,
    Column("chart", String, primary_key=True), Column("start", Float, nullable=False),
    Column("first", Float, nullable=False), Column("per_day", Float, nullable=False), Column("looked", Float),
)

Table(
    "windows", metadata,
    Column("chart", String, primary_key=True), Column("start", Float, primary_key=True),
    Column("cohort", String, primary_key=True), Column("n", Float, nullable=False),
    Column("bad", Float, nullable=False),
)

Table(
    "totals", metadata,
    Column("chart", String, primary_key=True), Column("cohort", String, primary_key=True),
    Column("at", Float, primary_key=True), Column("n", Float, nullable=False), Column("bad", Float, nullable=False),
)

Table(
    "baselines", metadata,
    Column("chart", String, primary_key=True), Column("cohort", String, primary_key=True),
    Column("p0", Float, nullable=False), Column("phi", Float, nullable=False), _text("phase"), _text("reason"),
    Column("excluded", JSON), Column("time", Float, nullable=False),
)

Table(
    "drawn", metadata,
    Column("chart", String, primary_key=True), Column("cohort", String, primary_key=True),
    Column("number", BIG, primary_key=True), Column("n", Float, nullable=False),
    Column("bad", Float, nullable=False), Column("statistic", Float), Column("p0", Float), Column("phi", Float),
    _text("phase"), Column("started", Float, nullable=False), Column("ended", Float, nullable=False),
)

Table(
    "alerts", metadata,
    Column("id", BIG, primary_key=True), Column("chart", String, nullable=False),
    Column("cohort", String, nullable=False), Column("fired", Float, nullable=False), Column("cleared", Float),
    Column("rating", BIG, nullable=False), Column("details", JSON, nullable=False),
    _text("name"), _text("rule"), Column("until", Float),
    Index("alerts_open", "chart", "cohort", "cleared"),
)

Table(
    "leases", metadata,
    Column("name", String, primary_key=True), Column("holder", String, nullable=False),
    Column("until", Float, nullable=False),
)

Table("meta", metadata, Column("key", String, primary_key=True), Column("value", JSON, nullable=False))
