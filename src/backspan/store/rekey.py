"""The keys that a database was sealed with (`backspan.store.sealing`), and sealing it again with another.

`meta` names the keys, by id. So a server that lacks one says so when it starts, and not when somebody reads.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, Table

from backspan.store import sealing
from backspan.store.columns import SealedText
from backspan.store.schema import calls, meta, turns, upsert, vote_log, votes

TABLES: tuple[Table, ...] = (calls, turns, votes, vote_log)
_USED = "field_keys"
"""Key in `meta`."""
STEP = 200
"""Rows of one transaction: votes wait for it."""


@dataclass
class Done:
    """Rows that were looked at, values that were sealed (or would be), and values that no key opens."""

    rows: int = 0
    sealed: int = 0
    damaged: int = 0


def check(conn: Connection) -> None:
    """Note the key that seals from now on.

    Raises:
        sealing.KeyFault: if a key is missing that something was sealed with.
    """
    used: list[str] = conn.execute(sa.select(meta.c.value).where(meta.c.key == _USED)).scalar() or []
    keys = sealing.ring()
    lost = set(used) - set(keys.ids if keys else ())
    if lost:
        raise sealing.missing(lost)
    if keys is not None and keys.ids[0] not in used:
        upsert(conn, meta, [{"key": _USED, "value": [*used, keys.ids[0]]}])


def seal_all(
    engine: Engine, *, dry_run: bool = False, step: int = STEP, tell: Callable[[str, Done], None] | None = None
) -> dict[str, Done]:
    """Seal with the first key whatever is not: plain texts of before, and texts under other keys.

    Each transaction keeps other writers out and takes ``step`` rows, so a server may be at work meanwhile. It may be
    stopped at any time: what is sealed is passed over the next time.

    Args:
        engine: one that writes (`backspan.store.engines.connect`).
        dry_run: count, and change nothing.
        tell: called with a table's name after each transaction.

    Returns:
        What was done, by table.

    Raises:
        sealing.KeyFault: without ``BACKSPAN_FIELD_KEYS``, or if a key is missing.
    """
    keys = sealing.ring()
    if keys is None:
        raise sealing.KeyFault("BACKSPAN_FIELD_KEYS is not set: there is no key to seal with")
    done = {table.name: Done() for table in TABLES}
    for table in TABLES:
        after: tuple[Any, ...] | None = None
        while True:
            with engine.begin() as conn:
                after = _page(conn, table, keys, after, step, done[table.name], dry_run)
            if after is None:
                break
            if tell is not None:
                tell(table.name, done[table.name])
    if not dry_run and not any(one.damaged for one in done.values()):
        with engine.begin() as conn:
            upsert(conn, meta, [{"key": _USED, "value": [keys.ids[0]]}])
    return done


def _page(
    conn: Connection, table: Table, keys: sealing.Ring, after: tuple[Any, ...] | None, step: int, done: Done,
    dry_run: bool,
) -> tuple[Any, ...] | None:
    """Do the rows after a primary key; returns the last one's, None at the end."""
    primary, names = tuple(table.primary_key), sealing.COLUMNS[table.name]
    stored = [sa.cast(table.c[name], sa.Text).label(name) for name in names]
    others = [table.c[name] for name in sealing.ROWS[table.name] if table.c[name] not in primary]
    query = sa.select(*primary, *others, *stored).order_by(*primary).limit(step)
    if after is not None:
        query = query.where(sa.tuple_(*primary) > sa.tuple_(*map(sa.literal, after)))
    rows = conn.execute(query).mappings().all()
    for row in rows:
        changed = _changed(keys, table, cast("Mapping[str, Any]", row), done)
        if changed and not dry_run:
            where = [column == row[column.name] for column in primary]
            conn.execute(sa.update(table).where(*where).values(changed))
    done.rows += len(rows)
    return tuple(rows[-1][column.name] for column in primary) if len(rows) == step else None


def _changed(keys: sealing.Ring, table: Table, row: Mapping[str, Any], done: Done) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in sealing.COLUMNS[table.name]:
        if row[name]:
            value = row[name] if isinstance(table.c[name].type, SealedText) else json.loads(row[name])
            again = _Again(keys)
            new = again.value(value, sealing.place(table.name, name, row))
            done.sealed, done.damaged = done.sealed + again.sealed, done.damaged + again.damaged
            if again.sealed:
                found[name] = new
    return found


class _Again:
    """Seals one stored value with the first key; counts what it did."""

    def __init__(self, keys: sealing.Ring) -> None:
        self._keys = keys
        self._mine = f"{sealing.PREFIX}{keys.ids[0]}."
        self.sealed = self.damaged = 0

    def value(self, stored: Any, place: str) -> Any:
        """A value as it is to be stored."""
        if isinstance(stored, str):
            return self._text(stored, place)
        if not stored:
            return stored
        if sealing.is_documents(place):
            return [self._document(one, f"{place}\x1f{number}") for number, one in
                    enumerate(cast("Sequence[Any]", stored))]
        self.sealed += 1
        return sealing.sealed_value(self._keys, stored, place)

    def _text(self, stored: str, place: str) -> str:
        if stored.startswith(self._mine):
            return stored
        text = sealing.opened_text(stored, place)
        if text is None:
            self.damaged += 1
            return stored
        self.sealed += 1
        return self._keys.seal(text, place)

    def _document(self, stored: Any, place: str) -> Any:
        inner = sealing.sealed_part(stored)
        if inner is not None:
            return {**stored, sealing.SEALED: self._text(inner, place)}
        new = sealing.sealed_document(self._keys, sealing.opened_document(stored, place), place)
        self.sealed += new != stored
        return new
