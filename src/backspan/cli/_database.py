"""A database that a gateway keeps, opened by a command beside it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from backspan.cli import _front
from backspan.cli._spc.errors import Fault

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine


@contextmanager
def reading(where: str) -> Generator[Connection]:
    """A connection that reads the file or PostgreSQL database ``where``. Raises `Fault` if there is none."""
    with opened(where) as (_, reader), reader.begin() as conn:
        yield conn


@contextmanager
def writing(where: str) -> Generator[Connection]:
    """A transaction of the file or PostgreSQL database ``where``. Raises `Fault` if there is none."""
    with opened(where) as (writer, _), writer.begin() as conn:
        yield conn


@contextmanager
def opened(where: str) -> Generator[tuple[Engine, Engine]]:
    """The engines of the database ``where``, for writing and for reading. Raises `Fault` if there is none."""
    from backspan.store import StoreError
    from backspan.store.engines import connect

    try:
        writer, reader = connect(_front.existing(where))
    except StoreError as error:
        raise Fault(str(error)) from None
    try:
        yield writer, reader
    finally:
        reader.dispose()
        writer.dispose()
