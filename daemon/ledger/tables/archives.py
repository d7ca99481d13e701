"""Archives: what they said of exams, and what is fetched from them."""

from __future__ import annotations

import sqlalchemy as sa

from daemon.ledger.tables.columns import Time, Uid, claim_columns, key_id_column, metadata

# What an archive said of an exam when it was asked (C-FIND). Digests, never a patient's id.
pacs_answers = sa.Table(
    "pacs_answers",
    metadata,
    sa.Column("exam_uid", Uid, primary_key=True),
    sa.Column("pacs", sa.String(64), primary_key=True),
    sa.Column("asked_at", Time, nullable=False),
    # Null: the archive does not know the exam, or does not tell the patient's id.
    sa.Column("patient_key", sa.String(32), nullable=True),
    sa.Column("patient_id_key", sa.String(32), nullable=True),
    # [[Series Instance UID, modality, number of instances or null]]
    sa.Column("series", sa.JSON, nullable=False),
    key_id_column(),
)

# What is asked of archives or fetched from them: queued, claimed and repeated like revisions and deliveries.
fetches = sa.Table(
    "fetches",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("study_id", sa.String(16), sa.ForeignKey("studies.id"), nullable=False, index=True),
    # ask | images | priors
    sa.Column("kind", sa.String(16), nullable=False),
    # What exactly, so that the same is not fetched again and again: a digest.
    sa.Column("subject", sa.String(64), nullable=False),
    # [[Study Instance UID, Series Instance UID or empty, SOP Instance UID or empty]]
    sa.Column("wanted", sa.JSON, nullable=False),
    # pending | fetching | done | failed | cancelled
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("pacs", sa.String(64), nullable=False, server_default=""),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("finished_at", Time, nullable=True),
    *claim_columns(),
    sa.UniqueConstraint("study_id", "kind", "subject"),
)
