"""Series that an operator chose for sequences of an exam."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.add_column("studies", sa.Column("chosen_series", sa.JSON(), nullable=True))
