"""Write a revision of the tables: ``make revision NAME="api keys"``.

It holds what the tables in `backspan.store` have and the revisions so far do not make. Read it before you keep it: a
new column of a table that may have rows needs a ``server_default`` or must be nullable, and data that moves is for you
to write.
"""

from __future__ import annotations

import pkgutil
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

import backspan.store
from backspan.store import migrate
from backspan.store.schema import metadata


def tables() -> sa.MetaData:
    """All tables, with all modules imported that declare some."""
    for module in pkgutil.iter_modules(backspan.store.__path__, "backspan.store."):
        import_module(module.name)
    return metadata


def differences(conn: sa.Connection, declared: sa.MetaData | None = None) -> list[Any]:
    """What Alembic would change to make the database what the code declares."""
    context = MigrationContext.configure(conn, opts={
        "compare_type": True,
        "include_object": lambda _, name, kind, *__: (kind, name) != ("table", "alembic_version")})
    return compare_metadata(context, tables() if declared is None else declared)


def main(message: str) -> str:
    """Write the revision; its path."""
    tables()
    config = Config()
    config.set_main_option("script_location", str(migrate.MIGRATIONS))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    with engine.begin() as conn:
        migrate.upgrade(conn)
        config.attributes["connection"] = conn
        made = command.revision(config, message, autogenerate=True, rev_id=f"{migrate.version() + 1:04}")
    engine.dispose()
    path = Path(made.path)
    path.write_text("".join(line for line in path.open() if "# ### " not in line), encoding="utf-8")
    return str(path)


if __name__ == "__main__":
    print(main(sys.argv[1]))
