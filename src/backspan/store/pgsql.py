"""What PostgreSQL wants otherwise than SQLite: settings of a session, text without NUL, JSON without NaN.

psycopg is imported when a connection is made, so that nobody else needs it.
"""

from __future__ import annotations

import json
from functools import lru_cache
from math import isfinite
from typing import Any, cast

from backspan.store.schema import dumps as plain
from backspan.store.schema import without_nul

LOCK = f"SELECT pg_advisory_xact_lock({int.from_bytes(b'backspan', 'big')})"
"""Waits until no other transaction writes; the end of the transaction gives the lock back."""
CONNECT = {"connect_timeout": 10, "application_name": "backspan", "client_encoding": "utf8"}
"""Parameters of a connection, unless the URL has them."""
_NO_CHARACTER = "\ufffd"
_WRITER = (
    "SET lock_timeout = '10s'",  # as SQLite's busy_timeout
    # A replica that is frozen or cut off must not keep all others from writing.
    "SET idle_in_transaction_session_timeout = '10s'",
    # `local` and `off` report a commit before it is on disk; what waits for standbys stays.
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN "
    "('off', 'local')",
)
_BOTH = (
    "SET jit = off",  # it would compile for three seconds what runs in a third of one
    "SET timezone = 'UTC'",
)


def wrong(conn: Any) -> str | None:
    """Why a database cannot be used, or None."""
    encoding = conn.exec_driver_sql("SHOW server_encoding").scalar()
    return None if encoding == "UTF8" else f"has the encoding {encoding}: make it with --encoding=UTF8"


def prepare_writer(connection: Any, _record: Any) -> None:
    """Make a new connection one that writes."""
    _prepare(connection, _BOTH + _WRITER)


def prepare_reader(connection: Any, _record: Any) -> None:
    """Make a new connection one that cannot write."""
    _prepare(connection, _BOTH)
    connection.read_only = True


def _prepare(connection: Any, statements: tuple[str, ...]) -> None:
    connection.adapters.register_dumper(str, _text())
    for statement in statements:
        connection.execute(statement)
    connection.commit()


@lru_cache
def _text() -> type:
    """How a string is sent. PostgreSQL's text has no NUL: it is replaced, as UTF-8 decoders do with what is none."""
    from psycopg.types.string import StrDumperUnknown

    class Text(StrDumperUnknown):
        def dump(self, obj: str) -> Any:
            return super().dump(obj.replace("\0", _NO_CHARACTER) if "\0" in obj else obj)

    return Text


# --- JSON -----------------------------------------------------------------------------------------------------------
_STRICT = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def dumps(value: Any) -> str:
    """Canonical JSON as `backspan.store.schema.dumps`, with null for a number that JSON has not."""
    try:
        return without_nul(_STRICT.encode(value))
    except ValueError:
        return plain(_finite(value))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in cast("dict[str, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in cast("list[Any]", value)]
    return value
