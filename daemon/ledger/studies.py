"""Studies and their revisions: begun, moved, superseded, settled."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa

from daemon.ledger.engine import new_id, note
from daemon.ledger.moves import add, move, move_all
from daemon.ledger.rows import RevisionRow, StudyRow, row_where, rows_where, the_row
from daemon.ledger.states import DELIVERY_OVER, OF_A_REVISION, STOPPABLE, WOKEN_BY_ARRIVALS
from daemon.ledger.tables import deliveries, revisions, studies
from daemon.ledger.work_order import BACKFILL, ROUTINE, priority_in_words

# An opaque id or a UID.
NAME = re.compile(r"[0-9A-Za-z.]{1,128}")
# A report that goes nowhere: the code, and why.
STAYS = "stays-here"
NOWHERE = "nothing was to be delivered: no [[destination]] takes any of it; the report stays here"
NOBODY_MAY = "nothing was delivered: no [[destination]] may have it (`axrad show` says why); the report stays here"


def create_or_wake(
    connection: sa.Connection,
    study_uid: str,
    patient: tuple[str, str],
    at: float,
    priority: int = ROUTINE,
    *,
    backfill: bool = False,
) -> None:
    """Create the study that something arrived of, or wake it. One urgent instance makes the study urgent.

    `patient`: the digest of its patient's id, and the id of the key that this was made with.
    """
    row = row_where(connection, StudyRow, studies.c.study_uid == study_uid)
    if row is None:
        columns, detail = study_of_first(study_uid, patient, at, priority, backfill=backfill)
        add(connection, "study", "assembling", columns)
        note(connection, at, "first-instance", detail, study_id=str(columns["id"]))
        return
    before = Touched(row.id, row.state, row.dirty, row.last_arrival_at, row.priority)
    wake = waking(before, at, priority)
    for kind, detail in wake.notes:
        note(connection, at, kind, detail, study_id=row.id)
    if wake.wakes:
        move(connection, "study", row.id, "assembling", wake.columns)
    else:
        connection.execute(studies.update().where(studies.c.id == row.id).values(**wake.columns))


@dataclass(frozen=True, slots=True)
class Touched:
    """What of a study decides what an arrival changes in it."""

    id: str
    state: str
    dirty: bool
    last_arrival_at: float
    priority: int


@dataclass(frozen=True, slots=True)
class Wake:
    """What an arrival changes in its study. `wakes`: it is assembling again. `notes`: kind and detail of events."""

    columns: dict[str, object]
    wakes: bool
    notes: tuple[tuple[str, str], ...]


def study_of_first(
    study_uid: str, patient: tuple[str, str], at: float, priority: int, *, backfill: bool
) -> tuple[dict[str, object], str]:
    """The columns of a study whose first instance arrives, and what its first event says."""
    columns: dict[str, object] = {
        "id": new_id(),
        "study_uid": study_uid,
        "patient_key": patient[0],
        "key_id": patient[1],
        "first_arrival_at": at,
        "last_arrival_at": at,
        "changed_at": at,
        "dirty": True,
        "priority": priority,
        "role": BACKFILL if backfill else "current",
    }
    how = [*(["backfill"] if backfill else []), *([priority_in_words(priority)] if priority != ROUTINE else [])]
    return columns, ", ".join(how)


def waking(study: Touched, at: float, priority: int) -> Wake:
    """What an arrival changes in a study that is there."""
    columns: dict[str, object] = {"last_arrival_at": max(at, study.last_arrival_at), "dirty": True}
    notes = []
    if priority > max(study.priority, ROUTINE):
        columns["priority"] = priority
        notes.append(("prioritised", f"{priority_in_words(priority)}, as an instance of it asks"))
    if study.state == "cancelled" and not study.dirty:
        notes.append(("came-after-cancelling", "new data; nothing is done with them until `axrad retry`"))
    if study.state == "expired":
        notes.append(("revived", "new data arrived after the study had expired"))
    wakes = study.state in WOKEN_BY_ARRIVALS
    if wakes:
        columns = {"reason": "", "reason_code": "", "changed_at": at, **columns}
    return Wake(columns, wakes, tuple(notes))


def supersede(connection: sa.Connection, revision: RevisionRow, now: float) -> None:
    """Newer inputs replace this revision: its undelivered results are cancelled and its lease is void."""
    move(connection, "revision", revision.id, "superseded", {"finished_at": now}, stage="done", void_lease=True)
    stop_deliveries(connection, revision.id, "superseded by newer inputs")
    note(connection, now, "superseded", study_id=revision.study_id, revision_id=revision.id)


def stop_deliveries(connection: sa.Connection, revision_id: str, reason: str) -> int:
    """Cancel the deliveries of a revision that no destination has taken, also under a worker; returns how many."""
    of_it = deliveries.c.revision_id == revision_id
    return move_all(connection, "delivery", of_it, STOPPABLE, "cancelled", {"reason": reason}, void_lease=True)


def newest_revision(
    connection: sa.Connection, study_id: str, states: Collection[str] | None = None
) -> RevisionRow | None:
    """The revision of a study with the highest number; with `states`, of those in one of them."""
    where = [revisions.c.study_id == study_id]
    if states is not None:
        where.append(revisions.c.state.in_(states))
    newest = rows_where(connection, RevisionRow, *where, order_by=[revisions.c.number.desc()], limit=1)
    return newest[0] if newest else None


def move_study(
    connection: sa.Connection, study_id: str, state: str, now: float, reason: str = "", code: str = ""
) -> None:
    """Follow a revision: a study shows the state of its newest one, unless it is held."""
    row = connection.execute(sa.select(studies.c.state).where(studies.c.id == study_id)).one()
    if row.state == "held" and state in OF_A_REVISION:
        return
    move(connection, "study", study_id, state, {"reason": reason, "reason_code": code, "changed_at": now})


def reopen(connection: sa.Connection, revision: RevisionRow, now: float) -> None:
    """Show a delivered revision and its study, or a cancelled study, as reported again: a delivery is under way."""
    study = the_row(connection, StudyRow, revision.study_id)
    if revision.state == "delivered":
        move(connection, "revision", revision.id, "reported")
    elif not (revision.state == "reported" and study.state == "cancelled"):
        return
    move_study(connection, study.id, "reported", now)


def settle_if_delivered(connection: sa.Connection, revision_id: str, now: float) -> None:
    """When the last delivery of a revision is proven, the revision and its study are delivered.

    One whose deliveries were all closed is not: nobody has the report. One that no destination takes ends here as well,
    and says so.
    """
    revision = the_row(connection, RevisionRow, revision_id)
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
    # Its work is done, and no destination has the report: the reason says so.
    reason = NOBODY_MAY if rows else NOWHERE
    move_study(connection, revision.study_id, "delivered", now, reason, STAYS)
    note(connection, now, STAYS, reason, revision.study_id, revision_id)


def study_id_of(connection: sa.Connection, study_uid: str) -> str | None:
    """The opaque id of the study with this Study Instance UID."""
    return connection.execute(sa.select(studies.c.id).where(studies.c.study_uid == study_uid)).scalar_one_or_none()


def find(connection: sa.Connection, name: str) -> StudyRow | None:
    """A study by opaque id or Study Instance UID, or None. Text that is neither is not looked up: it may hold a NUL."""
    if not NAME.fullmatch(name):
        return None
    return row_where(connection, StudyRow, (studies.c.id == name) | (studies.c.study_uid == name))
