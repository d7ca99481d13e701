"""The segmentations that were proposed for an exam, as files."""

from __future__ import annotations

import sqlalchemy as sa

from daemon.ledger.tables import proposals
from daemon.work.context import Context
from pipeline.catalog import InstanceFacts, read_facts
from pipeline.errors import ExamRejected

FILE = "proposal.dcm"
# Who saves a copy has opened one of the last ones.
MOST = 5


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
