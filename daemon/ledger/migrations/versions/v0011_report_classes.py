"""Which classes of report each destination accepted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_table(
        "report_classes",
        sa.Column("destination", sa.String(length=64), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("accepted", sa.JSON(), nullable=False),
        sa.Column("asked_at", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("destination", name=op.f("pk_report_classes")),
    )
