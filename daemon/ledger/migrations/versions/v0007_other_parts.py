"""Exams that an operator took for exams of the breasts, whatever their headers name."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("studies", sa.Column("taken_as_ours", sa.Boolean(), server_default=sa.false(), nullable=False))
