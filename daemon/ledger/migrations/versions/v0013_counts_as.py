"""What an instance counts as, other than a part of its exam; until now its note said so, in words."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

NOTES = {
    "a result of axrad": "result",
    "not used by axrad": "others",
    "read for feedback": "feedback",
    "set aside: its readers died of it": "set-aside",
}


def upgrade() -> None:
    op.add_column("instances", sa.Column("counts_as", sa.String(length=16), server_default="", nullable=False))
    instances = sa.table("instances", sa.column("note", sa.Text), sa.column("counts_as", sa.String))
    for note, counts_as in NOTES.items():
        op.execute(instances.update().where(instances.c.note == note).values(counts_as=counts_as))
