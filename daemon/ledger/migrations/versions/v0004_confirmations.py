"""What a look at a destination came to; who claims to have written feedback, and who sent it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

EXISTS = 0x0111


def upgrade() -> None:
    op.add_column("sent_objects", sa.Column("content", sa.String(length=16), server_default="", nullable=False))
    # Until now "exists already" counted as stored, and nobody compared.
    sent = sa.table("sent_objects", sa.column("status", sa.Integer), sa.column("content", sa.String))
    op.execute(sent.update().where(sent.c.status == EXISTS).values(content="unchecked"))
    op.add_column("feedback", sa.Column("author", sa.String(length=128), server_default="", nullable=False))
    op.add_column("feedback", sa.Column("calling_ae", sa.String(length=16), server_default="", nullable=False))
