"""What destinations said of each object, commitments, breakers, feedback, and which processes are alive."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

Time = sa.Float(53)
Key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Uid = sa.String(128)


def upgrade() -> None:
    op.create_table(
        "breakers",
        sa.Column("destination", sa.String(length=64), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("open_until", Time, nullable=True),
        sa.Column("failing_since", Time, nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("destination", name=op.f("pk_breakers")),
    )
    op.create_table(
        "signs_of_life",
        sa.Column("name", sa.String(length=160), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("at", Time, nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_signs_of_life")),
    )
    op.create_table(
        "feedback",
        sa.Column("id", Key, nullable=False),
        sa.Column("study_id", sa.String(length=16), nullable=False),
        sa.Column("revision_id", sa.String(length=32), nullable=True),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("document", Uid, nullable=False),
        sa.Column("side", sa.String(length=1), server_default="", nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("said_at", Time, nullable=False),
        sa.Column("signature", Uid, server_default="", nullable=False),
        sa.Column("probability", Time, nullable=True),
        sa.Column("cutoff", Time, nullable=True),
        sa.Column("category", sa.String(length=16), server_default="", nullable=False),
        sa.Column("scanner", Uid, server_default="", nullable=False),
        sa.ForeignKeyConstraint(["revision_id"], ["revisions.id"], name=op.f("fk_feedback_revision_id")),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_feedback_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feedback")),
        sa.UniqueConstraint(
            "study_id", "source", "document", "side", name=op.f("uq_feedback_study_id_source_document_side")
        ),
    )
    op.create_index(op.f("ix_feedback_study_id"), "feedback", ["study_id"])
    op.create_table(
        "commitments",
        sa.Column("transaction_uid", Uid, nullable=False),
        sa.Column("delivery_id", sa.String(length=32), nullable=False),
        sa.Column("asked_at", Time, nullable=False),
        sa.Column("reported_at", Time, nullable=True),
        sa.ForeignKeyConstraint(["delivery_id"], ["deliveries.id"], name=op.f("fk_commitments_delivery_id")),
        sa.PrimaryKeyConstraint("transaction_uid", name=op.f("pk_commitments")),
    )
    op.create_index(op.f("ix_commitments_delivery_id"), "commitments", ["delivery_id"])
    op.create_table(
        "sent_objects",
        sa.Column("delivery_id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("sop_class_uid", Uid, nullable=False),
        sa.Column("sop_instance_uid", Uid, nullable=False),
        sa.Column("coerced_uid", Uid, nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("at", Time, nullable=False),
        sa.Column("committed", sa.Boolean(), nullable=True),
        sa.ForeignKeyConstraint(["delivery_id"], ["deliveries.id"], name=op.f("fk_sent_objects_delivery_id")),
        sa.PrimaryKeyConstraint("delivery_id", "kind", name=op.f("pk_sent_objects")),
    )
    op.create_index(op.f("ix_sent_objects_sop_instance_uid"), "sent_objects", ["sop_instance_uid"])
    op.add_column("deliveries", sa.Column("tried_since", Time, nullable=True))
    op.add_column("deliveries", sa.Column("stored_at", Time, nullable=True))
    op.add_column("deliveries", sa.Column("proof_asks", sa.Integer(), server_default="0", nullable=False))
