"""Results that vanished before every destination has them are made again, from the same inputs: the same objects.

Everything that an object holds follows from its revision, so what is made again has the same UIDs and the same bytes.
"""

from __future__ import annotations

import sqlalchemy as sa

from daemon.ledger.claims import OPEN
from daemon.ledger.engine import note
from daemon.ledger.moves import move_all, queued_anew
from daemon.ledger.rows import RevisionRow, the_row
from daemon.ledger.states import AS_ITS_REVISION, RESULT_NEEDED
from daemon.ledger.studies import move_study
from daemon.ledger.tables import events, instances, revisions, studies
from pipeline.errors import TryLater

KIND = "results-gone"
# A folder that loses its results for the third time has a fault that making them again does not mend.
MOST_RERENDERS = 2


class ResultsGone(TryLater):
    """Files of a finished result are no longer in the spool; the result is made again."""

    code = KIND


def send_back_to_analysis(connection: sa.Connection, revision_id: str, now: float, vanished: str) -> bool:
    """Send a revision back to its analysis; False where that is of no use or already under way.

    Of no use: it was superseded, its images are gone too, or it was made again often enough.
    """
    row = the_row(connection, RevisionRow, revision_id)
    if not _is_worth_it(connection, row):
        return False
    as_read = (revisions.c.id == revision_id) & (revisions.c.fence == row.fence)
    anew = queued_anew(now)
    if not move_all(connection, "revision", as_read, (row.state,), "ready", anew, stage="analyse", void_lease=True):
        return False
    reason = f"{vanished} of its result vanished; the result is made again"
    if _state_of(connection, row.study_id) in AS_ITS_REVISION:
        move_study(connection, row.study_id, "ready", now, reason, KIND)
    note(connection, now, KIND, reason, row.study_id, revision_id)
    return True


def can_be_rerendered(connection: sa.Connection, revision_id: str) -> bool:
    """Whether a result whose files vanished is no loss."""
    return _is_worth_it(connection, the_row(connection, RevisionRow, revision_id))


def _is_worth_it(connection: sa.Connection, row: RevisionRow) -> bool:
    return (
        row.state in RESULT_NEEDED
        and _times_sent_back(connection, row.id) < MOST_RERENDERS
        and _images_are_kept(connection, row)
    )


def is_being_rerendered(connection: sa.Connection, revision_id: str) -> bool:
    """Whether the revision was sent back and is not finished yet."""
    under_way = sa.select(revisions.c.id).where((revisions.c.id == revision_id) & OPEN["revision"])
    return _times_sent_back(connection, revision_id) > 0 and connection.execute(under_way).one_or_none() is not None


def _state_of(connection: sa.Connection, study_id: str) -> str:
    return str(connection.execute(sa.select(studies.c.state).where(studies.c.id == study_id)).scalar_one())


def _times_sent_back(connection: sa.Connection, revision_id: str) -> int:
    count = sa.select(sa.func.count()).where((events.c.revision_id == revision_id) & (events.c.kind == KIND))
    return int(connection.execute(count).scalar_one())


def _images_are_kept(connection: sa.Connection, row: RevisionRow) -> bool:
    """Whether there are images that were selected, and every one is still kept."""
    selected = {uid for uid, _ in row.inputs["selected"]}
    if not selected:
        return False
    ids = row.inputs["context"]
    for start in range(0, len(ids), 500):
        stored = sa.select(instances.c.sop_uid).where(
            instances.c.id.in_(ids[start : start + 500]), instances.c.state == "stored"
        )
        selected -= set(connection.execute(stored).scalars())
    return not selected
