"""Exams whose files are long gone are packed: one blob for all rows of an exam."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from daemon.ledger.tally_triggers import make_packed_trigger

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    connection = op.get_bind()
    op.create_table(
        "packed_exams",
        sa.Column("exam_uid", sa.String(length=128), nullable=False),
        sa.Column("at", sa.Float(precision=53), nullable=False),
        sa.Column("instances", sa.Integer(), nullable=False),
        sa.Column("received", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("exam_uid", name=op.f("pk_packed_exams")),
    )
    op.create_table(
        "packed_series",
        sa.Column("series_uid", sa.String(length=128), nullable=False),
        sa.Column("exam_uid", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("series_uid", "exam_uid", name=op.f("pk_packed_series")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_packed_series_exam_uid"), "packed_series", ["exam_uid"])
    op.add_column("studies", sa.Column("packed", sa.Boolean(), server_default=sa.false(), nullable=False))
    unpacked = sa.text("NOT packed" if connection.dialect.name == "postgresql" else "packed = 0")
    op.create_index(
        "ix_studies_unpacked", "studies", ["last_arrival_at"], sqlite_where=unpacked, postgresql_where=unpacked
    )
    make_packed_trigger(connection)
