"""What readers said of the tumour and of the lymph nodes of a proposal, each by itself."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    op.add_column("proposals", sa.Column("answers", sa.JSON(none_as_null=True), nullable=True))
