"""Several spools, one ledger: each row with files says which spool they lie in, and a data set may lie in several."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"

Time = sa.Float(53)
Key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
HERE = sa.text("state <> 'purged'")
WITH_FILES = ("instances", "revisions", "proposals", "journal_positions")


def upgrade() -> None:
    for table in WITH_FILES:
        op.add_column(table, sa.Column("spool", sa.String(length=16), server_default="main", nullable=False))
    name = "ix_instances_here_by_path"
    op.drop_index(name, "instances")
    op.create_index(name, "instances", ["spool", "path"], sqlite_where=HERE, postgresql_where=HERE)
    op.create_table(
        "copies",
        sa.Column("instance_id", Key, nullable=False),
        sa.Column("spool", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(["instance_id"], ["instances.id"], name=op.f("fk_copies_instance_id")),
        sa.PrimaryKeyConstraint("instance_id", "spool", name=op.f("pk_copies")),
    )
    op.create_index(op.f("ix_copies_spool"), "copies", ["spool"])
    op.create_table(
        "spools",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("folder", sa.String(length=32), nullable=False),
        sa.Column("since", Time, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_spools")),
    )
