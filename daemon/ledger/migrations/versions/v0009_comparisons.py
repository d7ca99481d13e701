"""Instances that came again with another data set and are still to be compared."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "comparisons",
        sa.Column("sop_uid", sa.String(length=128), nullable=False),
        sa.Column("since", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("sop_uid", name=op.f("pk_comparisons")),
    )
