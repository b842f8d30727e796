"""Types of the columns that hold sealed texts (`backspan.store.sealing`): whoever reads one gets what was said.

A value is fetched with the key of its row, for which it was sealed, in every SELECT. So its column cannot be read from
a subquery that leaves the key of the row out.
"""

from __future__ import annotations

import json
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import Label
from sqlalchemy.types import TypeDecorator

from backspan.store.sealing import PREFIX, ROWS, opened_document, opened_text


class _Sealed(TypeDecorator[Any]):
    """A column whose values are fetched together with the key of their row, and opened."""

    cache_ok = True

    def __init__(self, table: str, name: str) -> None:
        super().__init__()
        self.table, self.name = table, name

    def column_expression(self, column: Any) -> Any:
        """``length of the row's key : key of the row, value``."""
        source: Any = cast("Any", column).element if isinstance(column, Label) else column
        first, *rest = (sa.cast(source.table.c[name], sa.Text) for name in ROWS[self.table])
        key: Any = first
        for one in rest:
            key = key.concat("-").concat(one)
        size = sa.cast(sa.func.length(key), sa.Text)
        return sa.type_coerce(size.concat(":").concat(key).concat(sa.cast(source, sa.Text)), self)

    def result_processor(self, dialect: Any, coltype: Any) -> Any:
        """What opens a fetched value."""
        return self._opened

    def _opened(self, fetched: str | None) -> Any:
        if fetched is None:
            return None
        size, _, rest = fetched.partition(":")
        return self.opened(rest[int(size):], f"{self.table}\x1f{self.name}\x1f{rest[:int(size)]}")

    def opened(self, stored: str, place: str) -> Any:
        """What the stored value says."""
        raise NotImplementedError


class SealedText(_Sealed):
    """A text."""

    impl = sa.Text
    cache_ok = True

    def opened(self, stored: str, place: str) -> str | None:
        """The text, as it was before `sealed`."""
        return opened_text(stored, place)


class SealedJSON(_Sealed):
    """A value of JSON: a sealed one is a string. Lists of documents are lists, with sealed texts in them."""

    impl = sa.JSON
    cache_ok = True

    def load_dialect_impl(self, dialect: Any) -> Any:
        """None is stored as NULL."""
        return dialect.type_descriptor(sa.JSON(none_as_null=True))

    def opened(self, stored: str, place: str) -> Any:
        """The value, as it was before `sealed`."""
        said = json.loads(stored)
        if isinstance(said, str):
            found = opened_text(said, place)
            return None if found is None else json.loads(found) if said.startswith(PREFIX) else found
        if self.name != "documents" or not isinstance(said, list):
            return said
        return [opened_document(one, f"{place}\x1f{number}") for number, one in enumerate(cast("list[Any]", said))]
