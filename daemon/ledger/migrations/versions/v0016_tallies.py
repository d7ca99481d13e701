"""Counts by state are kept as rows change, and what asks after files or work is asked of indexes of what is alive."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from daemon.ledger.tally_triggers import make_triggers, recount

revision = "0016"
down_revision = "0015"

HERE = sa.text("state <> 'purged'")
OF_INSTANCES = {
    "ix_instances_here_by_state": ["state", "size", "exam_uid"],
    "ix_instances_here_by_path": ["path"],
    "ix_instances_here_by_time": ["received_at"],
}


def upgrade() -> None:
    connection = op.get_bind()
    for name, columns in OF_INSTANCES.items():
        op.create_index(name, "instances", columns, sqlite_where=HERE, postgresql_where=HERE)
    op.drop_index(op.f("ix_studies_state"), "studies")
    op.create_index("ix_studies_state_changed_at", "studies", ["state", "changed_at"])
    op.create_index("ix_studies_changed_at_id", "studies", ["changed_at", "id"])
    dirty = sa.text("dirty" if connection.dialect.name == "postgresql" else "dirty = 1")
    op.create_index("ix_studies_dirty", "studies", ["last_arrival_at"], sqlite_where=dirty, postgresql_where=dirty)
    for column, there_is in (("due_at", sa.text("due_at IS NOT NULL")), ("reason_code", sa.text("reason_code <> ''"))):
        op.create_index(f"ix_studies_{column}", "studies", [column], sqlite_where=there_is, postgresql_where=there_is)
    op.create_table(
        "tallies",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tallies")),
    )
    make_triggers(connection)
    recount(connection)
