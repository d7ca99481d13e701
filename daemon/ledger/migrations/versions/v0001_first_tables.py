"""The first tables: instances, studies, revisions, deliveries, events, journal positions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

Time = sa.Float(53)
Key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Uid = sa.String(128)


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column("id", Key, nullable=False),
        sa.Column("at", Time, nullable=False),
        sa.Column("study_id", sa.String(length=16), nullable=True),
        sa.Column("revision_id", sa.String(length=32), nullable=True),
        sa.Column("kind", sa.String(length=48), nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
    )
    op.create_index(op.f("ix_events_study_id"), "events", ["study_id"])
    op.create_table(
        "instances",
        sa.Column("id", Key, nullable=False),
        sa.Column("sop_uid", Uid, nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("study_uid", Uid, nullable=False),
        sa.Column("series_uid", Uid, nullable=False),
        sa.Column("sop_class", Uid, nullable=False),
        sa.Column("exam_uid", Uid, nullable=False),
        sa.Column("patient_key", sa.String(length=32), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size", Key, nullable=False),
        sa.Column("received_at", Time, nullable=False),
        sa.Column("association", sa.String(length=64), server_default="", nullable=False),
        sa.Column("calling_ae", sa.String(length=16), server_default="", nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instances")),
        sa.UniqueConstraint("sop_uid", "digest", name=op.f("uq_instances_sop_uid_digest")),
    )
    op.create_index(op.f("ix_instances_exam_uid"), "instances", ["exam_uid"])
    op.create_index(op.f("ix_instances_study_uid"), "instances", ["study_uid"])
    op.create_table(
        "journal_positions",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("position", Key, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_journal_positions")),
    )
    op.create_table(
        "studies",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("study_uid", Uid, nullable=False),
        sa.Column("role", sa.String(length=16), server_default="current", nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("reason_code", sa.String(length=64), server_default="", nullable=False),
        sa.Column("patient_key", sa.String(length=32), nullable=False),
        sa.Column("identity_accepted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("flagged", sa.Text(), server_default="", nullable=False),
        sa.Column("first_arrival_at", Time, nullable=False),
        sa.Column("last_arrival_at", Time, nullable=False),
        sa.Column("changed_at", Time, nullable=False),
        sa.Column("dirty", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("due_at", Time, nullable=True),
        sa.Column("priority", sa.Integer(), server_default="0", nullable=False),
        sa.Column("redo", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_studies")),
        sa.UniqueConstraint("study_uid", name=op.f("uq_studies_study_uid")),
    )
    op.create_index(op.f("ix_studies_state"), "studies", ["state"])
    op.create_table(
        "revisions",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("study_id", sa.String(length=16), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("input_digest", sa.String(length=64), nullable=False),
        sa.Column("inputs", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("reason_code", sa.String(length=64), server_default="", nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("finished_at", Time, nullable=True),
        sa.Column("owner", Uid, nullable=True),
        sa.Column("lease_until", Time, nullable=True),
        sa.Column("fence", sa.Integer(), server_default="0", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_attempt_at", Time, nullable=False),
        sa.Column("enqueued_until", Time, nullable=True),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_revisions_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_revisions")),
        sa.UniqueConstraint("study_id", "number", name=op.f("uq_revisions_study_id_number")),
    )
    op.create_index(op.f("ix_revisions_state"), "revisions", ["state"])
    op.create_index(op.f("ix_revisions_study_id"), "revisions", ["study_id"])
    op.create_table(
        "roi_references",
        sa.Column("roi_id", Key, nullable=False),
        sa.Column("sop_uid", Uid, nullable=False),
        sa.ForeignKeyConstraint(["roi_id"], ["instances.id"], name=op.f("fk_roi_references_roi_id")),
        sa.PrimaryKeyConstraint("roi_id", "sop_uid", name=op.f("pk_roi_references")),
    )
    op.create_index(op.f("ix_roi_references_sop_uid"), "roi_references", ["sop_uid"])
    op.create_table(
        "deliveries",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("revision_id", sa.String(length=32), nullable=False),
        sa.Column("destination", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("objects", sa.JSON(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("proof", sa.Text(), server_default="", nullable=False),
        sa.Column("transaction_uid", Uid, nullable=True),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("finished_at", Time, nullable=True),
        sa.Column("owner", Uid, nullable=True),
        sa.Column("lease_until", Time, nullable=True),
        sa.Column("fence", sa.Integer(), server_default="0", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_attempt_at", Time, nullable=False),
        sa.Column("enqueued_until", Time, nullable=True),
        sa.ForeignKeyConstraint(["revision_id"], ["revisions.id"], name=op.f("fk_deliveries_revision_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint("revision_id", "destination", name=op.f("uq_deliveries_revision_id_destination")),
    )
    op.create_index(op.f("ix_deliveries_revision_id"), "deliveries", ["revision_id"])
    op.create_index(op.f("ix_deliveries_state"), "deliveries", ["state"])
    op.create_index(op.f("ix_deliveries_transaction_uid"), "deliveries", ["transaction_uid"])
