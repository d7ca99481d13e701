"""Regions that were proposed for exams in which readers measured and nobody drew."""

from __future__ import annotations

import sqlalchemy as sa

from daemon.ledger.tables.columns import Time, Uid, claim_columns, metadata, spool_column

# Queued, claimed and tried like revisions and deliveries; the file is `proposal.dcm` in the results folder of its id.
proposals = sa.Table(
    "proposals",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("study_id", sa.String(16), sa.ForeignKey("studies.id"), nullable=False, index=True),
    # Of the measurements that it is made from (daemon/assembly/proposing.py).
    sa.Column("digest", sa.String(64), nullable=False),
    # ids of every instance that was judged
    sa.Column("context", sa.JSON, nullable=False),
    # pending | sent | accepted | edited | rejected | empty | failed | superseded
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    # Of the segmentation, once it is made: a copy that an archive sends back is known by it.
    sa.Column("sop_uid", Uid, nullable=True, index=True),
    # names of the destinations that have taken it
    sa.Column("taken_by", sa.JSON, nullable=False),
    # What readers said of each kind of region (daemon/ledger/proposal_words.py); null: nothing.
    sa.Column("answers", sa.JSON(none_as_null=True), nullable=True),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("finished_at", Time, nullable=True),
    *claim_columns(),
    spool_column(),
    sa.UniqueConstraint("study_id", "digest"),
)
