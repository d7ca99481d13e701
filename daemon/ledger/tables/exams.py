"""Exams: what came, the studies it belongs to, and the revisions that were made of them."""

from __future__ import annotations

import sqlalchemy as sa

from daemon.ledger.tables.columns import (
    DUE,
    HERE,
    REASONED,
    Key,
    Time,
    Uid,
    claim_columns,
    key_id_column,
    metadata,
    spool_column,
)

instances = sa.Table(
    "instances",
    metadata,
    sa.Column("id", Key, primary_key=True),
    sa.Column("sop_uid", Uid, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("study_uid", Uid, nullable=False, index=True),
    sa.Column("series_uid", Uid, nullable=False),
    sa.Column("sop_class", Uid, nullable=False),
    # The study whose images a ROI refers to; for everything else its own.
    sa.Column("exam_uid", Uid, nullable=False, index=True),
    sa.Column("patient_key", sa.String(32), nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("size", Key, nullable=False),
    sa.Column("received_at", Time, nullable=False),
    sa.Column("association", sa.String(64), nullable=False, server_default=""),
    sa.Column("calling_ae", sa.String(16), nullable=False, server_default=""),
    # stored | lost | purging | purged | ignored | unreadable
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("note", sa.Text, nullable=False, server_default=""),
    sa.Column("facts", sa.JSON, nullable=False),
    # `states.CountsAs`; empty: a part of its exam
    sa.Column("counts_as", sa.String(16), nullable=False, server_default=""),
    key_id_column(),
    spool_column(),
    sa.UniqueConstraint("sop_uid", "digest"),
    # Partial: what retention removed is most of the table, and costs none of those who ask after files.
    sa.Index("ix_instances_here_by_state", "state", "size", "exam_uid", sqlite_where=HERE, postgresql_where=HERE),
    sa.Index("ix_instances_here_by_path", "spool", "path", sqlite_where=HERE, postgresql_where=HERE),
    sa.Index("ix_instances_here_by_time", "received_at", sqlite_where=HERE, postgresql_where=HERE),
    # Revisions and proposals name instances by their ids: one that is gone leaves its id to no other.
    sqlite_autoincrement=True,
)

# The same data set in a further spool: a sender that repeats itself may be led to another intake host.
copies = sa.Table(
    "copies",
    metadata,
    sa.Column("instance_id", Key, sa.ForeignKey("instances.id"), primary_key=True),
    sa.Column("spool", sa.String(16), primary_key=True, index=True),
)

# Exams that were packed: their rows of `instances` and `roi_references` in one blob (daemon/ledger/packing.py).
packed_exams = sa.Table(
    "packed_exams",
    metadata,
    sa.Column("exam_uid", Uid, primary_key=True),
    sa.Column("at", Time, nullable=False),
    sa.Column("instances", sa.Integer, nullable=False),
    # Those that count as received for the exam: without results of axrad that an archive sent back.
    sa.Column("received", sa.Integer, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
)

# By their series, so that what comes of such a series later has its exam unpacked first.
packed_series = sa.Table(
    "packed_series",
    metadata,
    sa.Column("series_uid", Uid, primary_key=True),
    sa.Column("exam_uid", Uid, primary_key=True, index=True),
    sqlite_with_rowid=False,
)

roi_references = sa.Table(
    "roi_references",
    metadata,
    sa.Column("roi_id", Key, sa.ForeignKey("instances.id"), primary_key=True),
    sa.Column("sop_uid", Uid, primary_key=True, index=True),
)

studies = sa.Table(
    "studies",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("study_uid", Uid, nullable=False, unique=True),
    # current | prior | backfill
    sa.Column("role", sa.String(16), nullable=False, server_default="current"),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.Column("reason_code", sa.String(64), nullable=False, server_default=""),
    sa.Column("patient_key", sa.String(32), nullable=False, index=True),
    sa.Column("identity_accepted", sa.Boolean, nullable=False, server_default=sa.false()),
    # The identities that were there when an operator accepted them; null: whatever there is (before this column was).
    sa.Column("accepted_keys", sa.JSON, nullable=True),
    # Where objects came under several patients: whose count, null: the first; and who they came again under, undecided.
    sa.Column("identity_key", sa.String(32), nullable=True),
    sa.Column("corrected_key", sa.String(32), nullable=True, index=True),
    sa.Column("flagged", sa.Text, nullable=False, server_default=""),
    sa.Column("first_arrival_at", Time, nullable=False),
    sa.Column("last_arrival_at", Time, nullable=False),
    sa.Column("changed_at", Time, nullable=False),
    # Arrivals since the last judgement; assembly looks at a study when this is set or `due_at` has come.
    sa.Column("dirty", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("due_at", Time, nullable=True),
    sa.Column("priority", sa.Integer, nullable=False, server_default="0"),
    # Raised by `retry --new-revision`: makes the same inputs a new revision.
    sa.Column("redo", sa.Integer, nullable=False, server_default="0"),
    # An operator has said that this is an exam of the breasts, whatever its headers name.
    sa.Column("taken_as_ours", sa.Boolean, nullable=False, server_default=sa.false()),
    # Since when a signature in use can answer; null: none can.
    sa.Column("answerable_since", Time, nullable=True),
    # What the first signature in the written order reads and the exam does not have: `t2,adc`.
    sa.Column("lacked", sa.String(64), nullable=False, server_default=""),
    # Series Instance UIDs that an operator chose, by sequence.
    sa.Column("chosen_series", sa.JSON(none_as_null=True), nullable=True),
    key_id_column(),
    # Its instances are in `packed_exams`.
    sa.Column("packed", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Index("ix_studies_state_changed_at", "state", "changed_at"),
    sa.Index("ix_studies_changed_at_id", "changed_at", "id"),
    sa.Index(
        "ix_studies_dirty", "last_arrival_at", sqlite_where=sa.text("dirty = 1"), postgresql_where=sa.text("dirty")
    ),
    sa.Index(
        "ix_studies_unpacked",
        "last_arrival_at",
        sqlite_where=sa.text("packed = 0"),
        postgresql_where=sa.text("NOT packed"),
    ),
    sa.Index("ix_studies_due_at", "due_at", sqlite_where=DUE, postgresql_where=DUE),
    sa.Index("ix_studies_reason_code", "reason_code", sqlite_where=REASONED, postgresql_where=REASONED),
)

# Exams by digests of their accession numbers, under the site's key; one that was joined of several studies has several.
accessions = sa.Table(
    "accessions",
    metadata,
    sa.Column("exam_uid", Uid, primary_key=True),
    sa.Column("accession_key", sa.String(32), primary_key=True, index=True),
    key_id_column(),
)

revisions = sa.Table(
    "revisions",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("study_id", sa.String(16), sa.ForeignKey("studies.id"), nullable=False, index=True),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("input_digest", sa.String(64), nullable=False),
    sa.Column("inputs", sa.JSON, nullable=False),
    # ready | running | held | reported | delivered | not_evaluated | failed | superseded
    sa.Column("state", sa.String(16), nullable=False, index=True),
    # analyse | report | done
    sa.Column("stage", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.Column("reason_code", sa.String(64), nullable=False, server_default=""),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("finished_at", Time, nullable=True),
    *claim_columns(),
    # What the answer rests on (daemon/assembly/answers.py); null: made before there was this column.
    sa.Column("answer", sa.JSON(none_as_null=True), nullable=True),
    # Where its results lie.
    spool_column(),
    sa.UniqueConstraint("study_id", "number"),
)

# Associations that are still open, and the exam that their last instance belongs to: it is still arriving.
open_associations = sa.Table(
    "open_associations",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("exam_uid", Uid, nullable=False, index=True),
    sa.Column("last_at", Time, nullable=False),
)

# UIDs under which another data set came, until a process has compared what they show.
comparisons = sa.Table(
    "comparisons",
    metadata,
    sa.Column("sop_uid", Uid, primary_key=True),
    sa.Column("since", Time, nullable=False),
)
