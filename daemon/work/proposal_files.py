"""The segmentations that were proposed for an exam, as files."""

from __future__ import annotations

import sqlalchemy as sa

from daemon.ledger import proposals as ledger_proposals
from daemon.ledger.proposal_words import rejected_kinds
from daemon.ledger.proposals import is_open, newest
from daemon.ledger.tables import proposals
from daemon.work.acceptance import FILE, proposed_roles
from daemon.work.context import Context
from pipeline.catalog import InstanceFacts, read_facts
from pipeline.errors import ExamRejected
from pipeline.result import StudyResult

# Who saves a copy has opened one of the last ones.
MOST = 5


def is_rejected(context: Context, study_id: str) -> bool:
    """Whether a reader has rejected the newest one, or one kind of region of it."""
    with context.ledger.read() as connection:
        row = newest(connection, study_id)
    return row is not None and ledger_proposals.is_rejected(row)


def answered_by(context: Context, study_id: str, result: StudyResult) -> tuple[str, str]:
    """The proposal that waits and what a result makes of it: `accepted` where a reader saved the same regions, `edited`
    where he drew others; both empty where none waits, or the result has not all that it proposes from a reader.
    """
    with context.ledger.read() as connection:
        row = newest(connection, study_id)
    path = context.files.get(row.id, FILE) if row is not None and is_open(row) else None
    if row is None or path is None or result.preliminary:
        return "", ""
    rois = [(role, roi) for _, part in result.parts() for role, roi in part.rois.items()]
    wanted = proposed_roles(path, context.settings) - rejected_kinds(row.answers or {})
    if not wanted <= {role for role, _ in rois}:
        return "", ""
    return row.id, "edited" if any(roi.origin == "drawn" for _, roi in rois) else "accepted"


def proposals_of(context: Context, study_id: str) -> tuple[InstanceFacts, ...]:
    """The newest that were made, as far as their files are here. Raises TryLater where that cannot be told."""
    made = (proposals.c.study_id == study_id) & proposals.c.sop_uid.is_not(None)
    query = sa.select(proposals.c.id).where(made).order_by(proposals.c.created_at.desc()).limit(MOST)
    with context.ledger.read() as connection:
        ids = list(connection.execute(query).scalars())
    facts = []
    for path in (context.files.get(row_id, FILE) for row_id in ids):
        try:
            facts += [read_facts(path)] if path is not None else []
        except ExamRejected:
            continue
    return tuple(facts)
