"""What the answer of a revision rests on; since when an exam can be answered, and what it lacks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("revisions", sa.Column("answer", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("studies", sa.Column("answerable_since", sa.Float(53), nullable=True))
    op.add_column("studies", sa.Column("lacked", sa.String(length=64), server_default="", nullable=False))
