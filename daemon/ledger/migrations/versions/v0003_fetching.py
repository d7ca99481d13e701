"""Open associations, what archives answer, what is fetched from them, chores; which identities were accepted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

Time = sa.Float(53)
Uid = sa.String(128)


def upgrade() -> None:
    op.create_table(
        "chores",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("done_at", Time, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_chores")),
    )
    op.create_table(
        "open_associations",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("exam_uid", Uid, nullable=False),
        sa.Column("last_at", Time, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_open_associations")),
    )
    op.create_index(op.f("ix_open_associations_exam_uid"), "open_associations", ["exam_uid"])
    op.create_table(
        "pacs_answers",
        sa.Column("exam_uid", Uid, nullable=False),
        sa.Column("pacs", sa.String(length=64), nullable=False),
        sa.Column("asked_at", Time, nullable=False),
        sa.Column("patient_key", sa.String(length=32), nullable=True),
        sa.Column("patient_id_key", sa.String(length=32), nullable=True),
        sa.Column("series", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("exam_uid", "pacs", name=op.f("pk_pacs_answers")),
    )
    op.create_table(
        "fetches",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("study_id", sa.String(length=16), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("wanted", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("pacs", sa.String(length=64), server_default="", nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("finished_at", Time, nullable=True),
        sa.Column("owner", Uid, nullable=True),
        sa.Column("lease_until", Time, nullable=True),
        sa.Column("fence", sa.Integer(), server_default="0", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_attempt_at", Time, nullable=False),
        sa.Column("enqueued_until", Time, nullable=True),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_fetches_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fetches")),
        sa.UniqueConstraint("study_id", "kind", "subject", name=op.f("uq_fetches_study_id_kind_subject")),
    )
    op.create_index(op.f("ix_fetches_state"), "fetches", ["state"])
    op.create_index(op.f("ix_fetches_study_id"), "fetches", ["study_id"])
    op.add_column("studies", sa.Column("accepted_keys", sa.JSON(), nullable=True))
