"""What Alembic runs: the connection is always given, so that a migration is one transaction with its caller."""

from __future__ import annotations

from alembic import context

from stoker.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
)
with context.begin_transaction():
    context.run_migrations()
