"""The tables. Times are seconds since 1970 (UTC) as doubles; ids that leave the ledger are opaque strings.

No column holds a patient's name, birth date or id: `patient_key` is a digest.

A change here needs a step in `daemon/ledger/migrations/versions`; a test compares the two.
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)
Time = sa.Float(53)
Key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Uid = sa.String(128)

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
    sa.UniqueConstraint("sop_uid", "digest"),
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
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.Column("reason_code", sa.String(64), nullable=False, server_default=""),
    sa.Column("patient_key", sa.String(32), nullable=False),
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
    sa.Column("owner", sa.String(128), nullable=True),
    sa.Column("lease_until", Time, nullable=True),
    sa.Column("fence", sa.Integer, nullable=False, server_default="0"),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("next_attempt_at", Time, nullable=False),
    sa.Column("enqueued_until", Time, nullable=True),
    sa.UniqueConstraint("study_id", "number"),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("revision_id", sa.String(32), sa.ForeignKey("revisions.id"), nullable=False, index=True),
    sa.Column("destination", sa.String(64), nullable=False),
    # pending | sending | stored | delivered | failed | cancelled | refused
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("objects", sa.JSON, nullable=False),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.Column("proof", sa.Text, nullable=False, server_default=""),
    sa.Column("transaction_uid", Uid, nullable=True, index=True),
    sa.Column("created_at", Time, nullable=False),
    # From when the patience with the destination counts: creation, or an operator's resend.
    sa.Column("tried_since", Time, nullable=True),
    # When the destination had said of every object that it is stored; and how often proof was asked for since.
    sa.Column("stored_at", Time, nullable=True),
    sa.Column("proof_asks", sa.Integer, nullable=False, server_default="0"),
    sa.Column("finished_at", Time, nullable=True),
    sa.Column("owner", sa.String(128), nullable=True),
    sa.Column("lease_until", Time, nullable=True),
    sa.Column("fence", sa.Integer, nullable=False, server_default="0"),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("next_attempt_at", Time, nullable=False),
    sa.Column("enqueued_until", Time, nullable=True),
    sa.UniqueConstraint("revision_id", "destination"),
)

# What a destination said of each object of a delivery, the last time it was sent.
sent_objects = sa.Table(
    "sent_objects",
    metadata,
    sa.Column("delivery_id", sa.String(32), sa.ForeignKey("deliveries.id"), primary_key=True),
    # sr | page | pdf | key_slices | rejection
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("sop_class_uid", Uid, nullable=False),
    sa.Column("sop_instance_uid", Uid, nullable=False, index=True),
    # Under which UID the destination keeps it, where that is another.
    sa.Column("coerced_uid", Uid, nullable=True),
    # DICOM status, the same for C-STORE and STOW-RS; null: no answer.
    sa.Column("status", sa.Integer, nullable=True),
    # What a look at the destination came to, where the status proves nothing: equal | other | unchecked | absent |
    # unnamed
    sa.Column("content", sa.String(16), nullable=False, server_default=""),
    sa.Column("at", Time, nullable=False),
    # Null until a storage commitment report names it.
    sa.Column("committed", sa.Boolean, nullable=True),
)

# Every request for storage commitment, written before it is asked: its report may come hours later, or never.
commitments = sa.Table(
    "commitments",
    metadata,
    sa.Column("transaction_uid", Uid, primary_key=True),
    sa.Column("delivery_id", sa.String(32), sa.ForeignKey("deliveries.id"), nullable=False, index=True),
    sa.Column("asked_at", Time, nullable=False),
    sa.Column("reported_at", Time, nullable=True),
)

# The circuit breaker of each destination that failed; no row: it never did.
breakers = sa.Table(
    "breakers",
    metadata,
    sa.Column("destination", sa.String(64), primary_key=True),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("open_until", Time, nullable=True),
    sa.Column("failing_since", Time, nullable=False),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
)

# What readers and pathology say of a study that axrad evaluated, beside what it had predicted then.
feedback = sa.Table(
    "feedback",
    metadata,
    sa.Column("id", Key, primary_key=True),
    sa.Column("study_id", sa.String(16), sa.ForeignKey("studies.id"), nullable=False, index=True),
    sa.Column("revision_id", sa.String(32), sa.ForeignKey("revisions.id"), nullable=True),
    # reader | pathology
    sa.Column("source", sa.String(16), nullable=False),
    # The SOP Instance UID of the reader's report, or the digest of the table that was imported.
    sa.Column("document", Uid, nullable=False),
    # L | R | empty: the whole exam
    sa.Column("side", sa.String(1), nullable=False, server_default=""),
    # agree | disagree | unclear of a reader, positive | negative of pathology
    sa.Column("verdict", sa.String(16), nullable=False),
    sa.Column("said_at", Time, nullable=False),
    sa.Column("signature", sa.String(128), nullable=False, server_default=""),
    sa.Column("probability", sa.Float(53), nullable=True),
    sa.Column("cutoff", sa.Float(53), nullable=True),
    sa.Column("category", sa.String(16), nullable=False, server_default=""),
    sa.Column("scanner", sa.String(128), nullable=False, server_default=""),
    # Who wrote it, as the report claims: proven by nothing. And the AE title that sent it.
    sa.Column("author", sa.String(128), nullable=False, server_default=""),
    sa.Column("calling_ae", sa.String(16), nullable=False, server_default=""),
    sa.UniqueConstraint("study_id", "source", "document", "side"),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("id", Key, primary_key=True),
    sa.Column("at", Time, nullable=False),
    sa.Column("study_id", sa.String(16), nullable=True, index=True),
    sa.Column("revision_id", sa.String(32), nullable=True),
    sa.Column("kind", sa.String(48), nullable=False),
    sa.Column("detail", sa.Text, nullable=False, server_default=""),
)

# The last sign of life of whatever gives one.
signs_of_life = sa.Table(
    "signs_of_life",
    metadata,
    sa.Column("name", sa.String(160), primary_key=True),
    # worker | sweep | ping | notify
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("at", Time, nullable=False),
    sa.Column("detail", sa.JSON, nullable=False),
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
    sa.Column("owner", sa.String(128), nullable=True),
    sa.Column("lease_until", Time, nullable=True),
    sa.Column("fence", sa.Integer, nullable=False, server_default="0"),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("next_attempt_at", Time, nullable=False),
    sa.Column("enqueued_until", Time, nullable=True),
    sa.UniqueConstraint("study_id", "kind", "subject"),
)

# One row: the id of this ledger, made once.
installation = sa.Table(
    "installation",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
)

# Files whose readers died of them: not read any more until an operator takes them up again.
set_aside = sa.Table(
    "set_aside",
    metadata,
    # Of the file, as pipeline.dicom_file.reading_marker names it.
    sa.Column("key", sa.String(32), primary_key=True),
    sa.Column("sop_uid", Uid, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("calling_ae", sa.String(16), nullable=False, server_default=""),
    sa.Column("study_id", sa.String(16), nullable=True),
    sa.Column("signal", sa.String(64), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("at", Time, nullable=False),
)

# When a chore was last done, so that only one of several sweeps does it.
chores = sa.Table(
    "chores",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("done_at", Time, nullable=False),
)

journal_positions = sa.Table(
    "journal_positions",
    metadata,
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("position", Key, nullable=False),
)
