"""Results on their way: deliveries, what destinations answered, and how destinations do."""

from __future__ import annotations

import sqlalchemy as sa

from daemon.ledger.tables.columns import Time, Uid, claim_columns, metadata

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
    *claim_columns(),
    sa.UniqueConstraint("revision_id", "destination"),
)

# What a destination said of each object of a delivery, the last time it was sent.
sent_objects = sa.Table(
    "sent_objects",
    metadata,
    sa.Column("delivery_id", sa.String(32), sa.ForeignKey("deliveries.id"), primary_key=True),
    # sr | sr_basic_text and so on | page | pdf | key_slices | rejection
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

# Which classes of report a destination accepted when they were negotiated; asked again when the address changes, when a
# class is refused after all, and after a day.
report_classes = sa.Table(
    "report_classes",
    metadata,
    sa.Column("destination", sa.String(64), primary_key=True),
    # AE title, host and port that were asked: a digest.
    sa.Column("address", sa.String(64), nullable=False),
    # SOP Class UIDs
    sa.Column("accepted", sa.JSON, nullable=False),
    sa.Column("asked_at", Time, nullable=False),
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
