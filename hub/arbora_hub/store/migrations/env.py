"""What Alembic runs to migrate: on the connection that `schema.py` passes, inside its one transaction."""

from __future__ import annotations

from alembic import context

from arbora_hub.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite can't alter most of a table; Alembic then copies it
)
with context.begin_transaction():
    context.run_migrations()
