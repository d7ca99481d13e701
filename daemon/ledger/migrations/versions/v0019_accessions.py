"""Digests of the accession numbers of exams, so that an exam is found by the number."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"

Uid = sa.String(128)


def upgrade() -> None:
    op.create_table(
        "accessions",
        sa.Column("exam_uid", Uid, nullable=False),
        sa.Column("accession_key", sa.String(length=32), nullable=False),
        sa.Column("key_id", sa.String(length=16), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("exam_uid", "accession_key", name=op.f("pk_accessions")),
    )
    for column in ("accession_key", "key_id"):
        op.create_index(op.f(f"ix_accessions_{column}"), "accessions", [column])
