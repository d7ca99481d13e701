"""Which key of the site a row's digests of identifiers were made with. The rows are brought under it later."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    for table in ("instances", "studies", "pacs_answers"):
        op.add_column(table, sa.Column("key_id", sa.String(length=16), nullable=False, server_default=""))
        op.create_index(op.f(f"ix_{table}_key_id"), table, ["key_id"])
    op.create_index(op.f("ix_studies_patient_key"), "studies", ["patient_key"])
    op.create_table(
        "site_key",
        sa.Column("slot", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("since", sa.Float(53), nullable=False),
        sa.Column("may_change", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("slot", name=op.f("pk_site_key")),
    )
