"""Studies and their revisions: moved, superseded, settled."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from daemon.ledger.engine import note
from daemon.ledger.states import OF_A_REVISION, REVISION, STUDY, check
from daemon.ledger.tables import deliveries, revisions, studies

# A report that goes nowhere: the code, and why.
STAYS = "stays-here"
NOWHERE = "nothing was to be delivered: no [[destination]] takes any of it; the report stays here"
NOBODY_MAY = "nothing was delivered: no [[destination]] may have it (`axrad show` says why); the report stays here"


def supersede(connection: sa.Connection, revision: Any, now: float) -> None:
    """Newer inputs replace this revision. What of it was not delivered is cancelled; its lease is void by the fence."""
    check(REVISION, revision.state, "superseded")
    connection.execute(
        revisions.update()
        .where(revisions.c.id == revision.id)
        .values(
            state="superseded", stage="done", fence=revisions.c.fence + 1, owner=None, lease_until=None, finished_at=now
        )
    )
    connection.execute(
        deliveries.update()
        .where(deliveries.c.revision_id == revision.id, deliveries.c.state.in_(("pending", "sending", "failed")))
        .values(state="cancelled", reason="superseded by newer inputs", fence=deliveries.c.fence + 1, lease_until=None)
    )
    note(connection, now, "superseded", study_id=revision.study_id, revision_id=revision.id)


def move_study(
    connection: sa.Connection, study_id: str, state: str, now: float, reason: str = "", code: str = ""
) -> None:
    """Follow a revision: a study shows the state of its newest one, unless it is held."""
    row = connection.execute(sa.select(studies.c.state).where(studies.c.id == study_id)).one()
    if row.state == "held" and state in OF_A_REVISION:
        return
    check(STUDY, row.state, state)
    connection.execute(
        studies.update()
        .where(studies.c.id == study_id)
        .values(state=state, reason=reason, reason_code=code, changed_at=now)
    )


def settle_if_delivered(connection: sa.Connection, revision_id: str, now: float) -> None:
    """When the last delivery of a revision is proven, the revision and its study are delivered.

    One whose deliveries were all closed is not: nobody has the report. One that no destination takes ends here as well,
    and says so.
    """
    revision = connection.execute(sa.select(revisions).where(revisions.c.id == revision_id)).one()
    rows = (
        connection.execute(sa.select(deliveries.c.state).where(deliveries.c.revision_id == revision_id)).scalars().all()
    )
    if revision.state != "reported" or any(state not in ("delivered", "refused", "cancelled") for state in rows):
        return
    if "cancelled" in rows and "delivered" not in rows:
        return
    connection.execute(
        revisions.update().where(revisions.c.id == revision_id).values(state="delivered", finished_at=now)
    )
    if "delivered" in rows:
        move_study(connection, revision.study_id, "delivered", now)
        note(connection, now, "delivered", study_id=revision.study_id, revision_id=revision_id)
        return
    # Its work is done, and nobody has the report: that is said in words.
    reason = NOBODY_MAY if rows else NOWHERE
    move_study(connection, revision.study_id, "delivered", now, reason, STAYS)
    note(connection, now, STAYS, reason, revision.study_id, revision_id)


def find(connection: sa.Connection, name: str) -> Any:
    """A study by opaque id or Study Instance UID, or None."""
    return connection.execute(
        sa.select(studies).where((studies.c.id == name) | (studies.c.study_uid == name))
    ).one_or_none()
