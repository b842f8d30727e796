"""Alembic's way in: it works in the transaction of whoever opens the database, which is not ended here."""

from alembic import context

from backspan.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
