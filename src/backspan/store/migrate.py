"""Versions of the tables: brings a database of an older version up to date, refuses one of a newer version.

A version is the number of a revision in ``migrations/versions`` (Alembic); the highest is this code's. `meta` holds the
database's beside Alembic's own mark, so that a database that is up to date is opened without Alembic, and so that the
releases before Alembic, which knew versions 1 to 4, refuse it.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection

from backspan.store.schema import meta, upsert

MIGRATIONS = Path(__file__).with_name("migrations")
_KEY = "schema"


class StoreError(Exception):
    """The database cannot be opened or is of a newer version."""


@lru_cache
def version() -> int:
    """Version of the tables that this code knows."""
    return max(int(path.name[:4]) for path in (MIGRATIONS / "versions").glob("[0-9][0-9][0-9][0-9]_*.py"))


def version_of(conn: Connection) -> int:
    """Version of a database; 0 of an empty one."""
    if not sa.inspect(conn).has_table(meta.name):
        return 0
    return int(conn.execute(sa.select(meta.c.value).where(meta.c.key == _KEY)).scalar() or 0)


def bring_up_to_date(conn: Connection) -> None:
    """Make the tables, or change them to what this code knows, in the transaction of ``conn``.

    The transaction must keep other writers out: replicas that start at the same time do this one after the other.

    Raises:
        StoreError: if the database was written by a newer version; it is left as it is.
    """
    found = version_of(conn)
    if found > version():
        raise StoreError(f"is of version {found}, written by a newer backspan; this one knows {version()}")
    if found < version():
        upgrade(conn)


def upgrade(conn: Connection, to: str = "head") -> None:
    """Run the revisions that a database lacks, up to ``to``, in the transaction of ``conn``."""
    from alembic import command  # half a second of imports that a database which is up to date does not need
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = conn
    command.upgrade(config, to)
    reached = version() if to == "head" else int(to)
    upsert(conn, meta, [{"key": _KEY, "value": reached}])
