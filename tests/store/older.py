"""SQLite files as releases before Alembic left them, made of files of today."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

from backspan.store import migrate


def to_version_4(conn: sa.Connection) -> None:
    """Take away what revisions after the first one have added, and Alembic's own mark."""
    config = Config()
    config.set_main_option("script_location", str(migrate.MIGRATIONS))
    known = ScriptDirectory.from_config(config).get_revision("0004").module.metadata.tables
    there = sa.inspect(conn)
    for name in there.get_table_names():
        if name not in known:
            conn.exec_driver_sql(f"DROP TABLE {name}")
            continue
        for index in {index["name"] for index in there.get_indexes(name)} - {one.name for one in known[name].indexes}:
            conn.exec_driver_sql(f"DROP INDEX {index}")
        for column in {column["name"] for column in there.get_columns(name)} - set(known[name].columns.keys()):
            conn.exec_driver_sql(f"ALTER TABLE {name} DROP COLUMN {column}")
    conn.exec_driver_sql("UPDATE meta SET value = '4' WHERE key = 'schema'")
