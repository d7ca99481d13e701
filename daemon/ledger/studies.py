"""Studies and their revisions: moved, superseded, settled."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from daemon.ledger.engine import note
from daemon.ledger.moves import move, move_all
from daemon.ledger.states import DELIVERY_OVER, OF_A_REVISION, STOPPABLE
from daemon.ledger.tables import deliveries, revisions, studies

# A report that goes nowhere: the code, and why.
STAYS = "stays-here"
NOWHERE = "nothing was to be delivered: no [[destination]] takes any of it; the report stays here"
NOBODY_MAY = "nothing was delivered: no [[destination]] may have it (`axrad show` says why); the report stays here"


def supersede(connection: sa.Connection, revision: Any, now: float) -> None:
    """Newer inputs replace this revision. What of it was not delivered is cancelled; its lease is void by the fence."""
    move(connection, "revision", revision.id, "superseded", {"finished_at": now}, stage="done", void_lease=True)
    stop_deliveries(connection, revision.id, "superseded by newer inputs")
    note(connection, now, "superseded", study_id=revision.study_id, revision_id=revision.id)


def stop_deliveries(connection: sa.Connection, revision_id: str, reason: str) -> int:
    """Cancel what of a revision no destination has taken; a worker that sends it loses its claim. How many."""
    of_it = deliveries.c.revision_id == revision_id
    return move_all(connection, "delivery", of_it, STOPPABLE, "cancelled", {"reason": reason}, void_lease=True)


def newest_revision(
    connection: sa.Connection, study_id: str, states: Collection[str] | None = None
) -> sa.Row[Any] | None:
    """The revision of a study with the highest number; with `states`, of those in one of them."""
    query = sa.select(revisions).where(revisions.c.study_id == study_id)
    if states is not None:
        query = query.where(revisions.c.state.in_(states))
    return connection.execute(query.order_by(revisions.c.number.desc()).limit(1)).one_or_none()


def move_study(
    connection: sa.Connection, study_id: str, state: str, now: float, reason: str = "", code: str = ""
) -> None:
    """Follow a revision: a study shows the state of its newest one, unless it is held."""
    row = connection.execute(sa.select(studies.c.state).where(studies.c.id == study_id)).one()
    if row.state == "held" and state in OF_A_REVISION:
        return
    move(connection, "study", study_id, state, {"reason": reason, "reason_code": code, "changed_at": now})


def reopen(connection: sa.Connection, revision: Any, now: float) -> None:
    """A delivered revision has a delivery under way again, and so has its study."""
    if revision.state == "delivered":
        move(connection, "revision", revision.id, "reported")
        move_study(connection, revision.study_id, "reported", now)


def settle_if_delivered(connection: sa.Connection, revision_id: str, now: float) -> None:
    """When the last delivery of a revision is proven, the revision and its study are delivered.

    One whose deliveries were all closed is not: nobody has the report. One that no destination takes ends here as well,
    and says so.
    """
    revision = connection.execute(sa.select(revisions).where(revisions.c.id == revision_id)).one()
    rows = (
        connection.execute(sa.select(deliveries.c.state).where(deliveries.c.revision_id == revision_id)).scalars().all()
    )
    if revision.state != "reported" or any(state not in DELIVERY_OVER for state in rows):
        return
    if "cancelled" in rows and "delivered" not in rows:
        return
    move(connection, "revision", revision_id, "delivered", {"finished_at": now})
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
