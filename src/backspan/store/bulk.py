"""Many rows by one statement, as text that is made once: what a vote costs is mostly what its statements cost.

SQLAlchemy builds its statement for many rows anew each time and looks at every value. The drivers' own way of many rows
is no better: SQLite's gives up the interpreter lock at each row and waits to have it back while the server is busy.
So the text is made here, for both databases, and the values go to the driver as they are: JSON as text.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any

from sqlalchemy import JSON, Column, Connection, Dialect, Table

from backspan.store.columns import SealedJSON
from backspan.store.schema import chunks, dumps

_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
"""Rows of one statement. SQLite is given no other number, as to read a statement that it does not know yet costs more
than to run it: what is short of the next size is filled up with rows of nothing, which the statement leaves out. A
longer one costs more to keep than it saves."""


def insert(conn: Connection, table: Table, names: tuple[str, ...], rows: Sequence[Sequence[Any]],
           clash: str = "") -> None:
    """Insert ``rows``, whose values are in the order of ``names``.

    ``clash`` is what to do with a row that is there already: an ``ON CONFLICT`` clause, such as `overwrite` gives. Then
    no two of ``rows`` may be the same one. The first value of a row is never None.
    """
    most = min(_SIZES[-1], conn.dialect.insertmanyvalues_max_parameters // len(names))
    for part in chunks(rows, most):
        values, size = tuple(chain.from_iterable(part)), len(part)
        if conn.dialect.name == "sqlite":
            size = min(_SIZES[bisect_left(_SIZES, size)], most)
            values += (None,) * (len(names) * (size - len(part)))
        conn.exec_driver_sql(_insert(conn.dialect.name, _mark(conn.dialect), table, names, size, clash), values)


@lru_cache(maxsize=2048)
def _insert(dialect: str, mark: str, table: Table, names: tuple[str, ...], number: int, clash: str) -> str:
    row = f"({', '.join([mark] * len(names))})"
    rows = f"VALUES {', '.join([row] * number)}"
    if dialect == "sqlite":
        rows = f"SELECT * FROM ({rows}) WHERE column1 IS NOT NULL"
    return f"INSERT INTO {table.name} ({_listed(names)}) {rows} {clash}"


@lru_cache(maxsize=64)
def overwrite(table: Table, names: tuple[str, ...]) -> str:
    """The clause that gives a row with the same primary key the new values."""
    keys = [column.name for column in table.primary_key]
    changed = ", ".join(f'"{name}" = excluded."{name}"' for name in names if name not in keys)
    return f"ON CONFLICT ({_listed(keys)}) DO UPDATE SET {changed}"


def present(conn: Connection, column: Column[Any], keys: Collection[str]) -> set[str]:
    """Which of ``keys`` occur in ``column``, which has an index."""
    if not keys:
        return set()
    listed: Any = dumps(list(keys)) if conn.dialect.name == "sqlite" else list(keys)
    return {row[0] for row in conn.exec_driver_sql(_present(conn.dialect.name, column), (listed,))}


@lru_cache(maxsize=64)
def _present(dialect: str, column: Column[Any]) -> str:
    among = "IN (SELECT value FROM json_each(?))" if dialect == "sqlite" else "= ANY(%s)"
    return f'SELECT DISTINCT "{column.name}" FROM {column.table} WHERE "{column.name}" {among}'


def _mark(dialect: Dialect) -> str:
    return "?" if dialect.paramstyle == "qmark" else "%s"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


# --- values ---------------------------------------------------------------------------------------------------------
class Shape:
    """Which columns of ``table`` are written from a row that is a mapping; the columns left out keep what they have."""

    def __init__(self, table: Table, names: Sequence[str]) -> None:
        coded = tuple(name for name in names if isinstance(table.c[name].type, (JSON, SealedJSON)))
        plain = tuple(name for name in names if name not in coded)
        self.table, self.names = table, (*plain, *coded)
        self._plain: Callable[[Mapping[str, Any]], tuple[Any, ...]] = itemgetter(*plain)
        self._coded = coded

    def values(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        """The values of ``row`` in the order of ``names``, as the drivers take them."""
        return (*self._plain(row), *[text(row[name]) for name in self._coded])


def text(value: Mapping[str, Any] | Sequence[str] | str | None) -> str | None:
    """JSON of labels or reasons: the same few come again and again. What else there is, is made anew (1 == True)."""
    if value is None:
        return None
    if isinstance(value, str):  # a sealed value
        return dumps(value)
    if not isinstance(value, Mapping):
        return array(tuple(value))
    pairs = tuple(value.items())
    return items(pairs) if all(type(one) is str for _, one in pairs) else dumps(value)


@lru_cache(maxsize=4096)
def items(pairs: tuple[tuple[str, str], ...]) -> str:
    """JSON of an object whose values are texts."""
    return dumps(dict(pairs))


@lru_cache(maxsize=4096)
def array(values: tuple[str, ...]) -> str:
    """JSON of a list of texts."""
    return dumps(values)
