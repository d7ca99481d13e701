"""What Alembic runs for each step: inside the transaction that `migrations.migrate` opened, on its connection."""

from __future__ import annotations

from alembic import context

from daemon.ledger.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
