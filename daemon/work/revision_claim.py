"""Claiming a revision for one of its stages."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from daemon.ledger.claims import Claim, claim
from daemon.ledger.rows import RevisionRow, StudyRow, the_row
from daemon.work.context import Context
from daemon.work.failure import TaskFailed, revision_failed
from pipeline.errors import TryLater

# What is written in the transaction that claims: connection, claim, the study's row.
Begin = Callable[[sa.Connection, Claim, StudyRow], None]


def take_revision(
    context: Context, revision_id: str, stage: str, begin: Begin = lambda *_: None
) -> tuple[Claim, RevisionRow, StudyRow] | None:
    """Claim, row of the revision, row of its study; None where there is nothing to do, or another worker does it.

    Raises TaskFailed where the attempts are used up; the revision is set aside then.
    """
    work = context.settings.work
    with context.ledger.write() as connection:
        now = context.clock()
        held = claim(connection, "revision", revision_id, context.owner, now, work.lease_s, work.attempts, stage=stage)
        if held is None:
            return None
        row = the_row(connection, RevisionRow, revision_id)
        study = the_row(connection, StudyRow, row.study_id)
        if not held.exhausted:
            begin(connection, held, study)
    if held.exhausted:
        revision_failed(context, held, study.id, TryLater(row.reason or "the worker died or ran out of time each time"))
        raise TaskFailed(row.reason_code or "given-up", revision_id)
    return held, row, study
