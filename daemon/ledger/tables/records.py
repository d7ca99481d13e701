"""What the daemon records beside its work: events, feedback, signs of life, files that are set aside."""

from __future__ import annotations

import sqlalchemy as sa

from daemon.ledger.tables.columns import Key, Time, Uid, metadata, spool_column

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

# The last sign of life of whatever gives one.
signs_of_life = sa.Table(
    "signs_of_life",
    metadata,
    sa.Column("name", sa.String(160), primary_key=True),
    # worker | sweep | ping | notify | spool
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("at", Time, nullable=False),
    sa.Column("detail", sa.JSON, nullable=False),
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

# How far the audit trail had come: a line's number in it and its SHA-256. A trail that ends before is cut.
audit_anchors = sa.Table(
    "audit_anchors",
    metadata,
    sa.Column("trail", sa.String(16), primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("at", Time, nullable=False),
)

# When a chore was last done, so that only one of several sweeps does it.
chores = sa.Table(
    "chores",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("done_at", Time, nullable=False),
)

# How many rows of a kind are in each state: changes, written by triggers (daemon/ledger/tally_triggers.py) and summed
# up from time to time. Never one row per state, for which writers would wait.
tallies = sa.Table(
    "tallies",
    metadata,
    sa.Column("id", Key, primary_key=True),
    # study | delivery | instance
    sa.Column("kind", sa.String(16), nullable=False),
    # Of deliveries, their destination.
    sa.Column("subject", sa.String(64), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
)

journal_positions = sa.Table(
    "journal_positions",
    metadata,
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("position", Key, nullable=False),
    spool_column(),
)

# The spools of this ledger. `folder`: the random name that was written into the folder when it was first used.
spools = sa.Table(
    "spools",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("folder", sa.String(32), nullable=False),
    sa.Column("since", Time, nullable=False),
)

# One row: the id of this ledger, made once.
installation = sa.Table(
    "installation",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
)

# One row, once there is a key: its id, and whether the next start may take another.
site_key = sa.Table(
    "site_key",
    metadata,
    sa.Column("slot", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("id", sa.String(16), nullable=False),
    sa.Column("since", Time, nullable=False),
    sa.Column("may_change", sa.Boolean, nullable=False),
)
