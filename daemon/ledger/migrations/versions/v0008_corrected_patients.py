"""Under whose identity an exam counts that came under several, and which one nobody has decided on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("studies", sa.Column("identity_key", sa.String(length=32), nullable=True))
    op.add_column("studies", sa.Column("corrected_key", sa.String(length=32), nullable=True))
    op.create_index(op.f("ix_studies_corrected_key"), "studies", ["corrected_key"])
