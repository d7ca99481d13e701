"""What an operator may do to a study's place and course: bring it forward, put it back, cancel it, take that back."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from daemon.ledger.engine import note
from daemon.ledger.moves import move, move_all, queued_anew
from daemon.ledger.states import FETCH_OPEN, SETTLED
from daemon.ledger.studies import move_study, newest_revision, stop_deliveries
from daemon.ledger.tables import fetches, studies
from daemon.ledger.work_order import BACKFILL, PRIORITIES, place_in_line
from pipeline.errors import InputRejected

CANCELLED = "cancelled by an operator"


def prioritise(connection: sa.Connection, row: Any, now: float, level: str, head_start_s: float) -> str:
    """Give a study another priority; says what that does to its place in line. Urgent backfills are none any more."""
    values: dict[str, Any] = {"priority": PRIORITIES[level]}
    if row.role == BACKFILL and PRIORITIES[level] > 0:
        values["role"] = "current"
    connection.execute(studies.update().where(studies.c.id == row.id).values(**values))
    note(connection, now, "prioritised", f"{level}, by an operator", row.id)
    said = f"study {row.id} is {level}"
    revision = newest_revision(connection, row.id)
    if revision is None or row.state in SETTLED:
        return f"{said}; nothing of it waits now"
    place = place_in_line(connection, revision.id, now, head_start_s)
    if place is None:
        return f"{said}; it is being worked on already"
    return f"{said}; " + ("it is next" if place == 0 else f"{place} others are worked on before it")


def cancel(connection: sa.Connection, row: Any, now: float) -> str:
    """Stop a study: nothing of it is analysed, fetched or sent any more. What was delivered stays delivered."""
    if row.state in SETTLED:
        raise InputRejected(f"study {row.id} is {row.state}: there is nothing left to cancel")
    revision = newest_revision(connection, row.id)
    stopped = []
    if revision is not None and revision.stage != "done":
        why = {"reason": CANCELLED, "reason_code": "cancelled"}
        move(connection, "revision", revision.id, "failed", {"finished_at": now, **why}, void_lease=True)
        stopped.append(f"revision {revision.number}")
    if revision is not None and (unsent := stop_deliveries(connection, revision.id, CANCELLED)):
        stopped.append(f"{unsent} deliveries")
    of_it = fetches.c.study_id == row.id
    if asked := move_all(connection, "fetch", of_it, FETCH_OPEN, "cancelled", {"reason": CANCELLED}, void_lease=True):
        stopped.append(f"{asked} fetches")
    connection.execute(studies.update().where(studies.c.id == row.id).values(due_at=None))
    move_study(connection, row.id, "cancelled", now, CANCELLED, "cancelled")
    note(connection, now, "cancelled", ", ".join(["by an operator", *stopped]), row.id, revision and revision.id)
    return (
        f"study {row.id} is cancelled" + (f" ({', '.join(stopped)})" if stopped else "") + "; `axrad retry` resumes it"
    )


def resume(connection: sa.Connection, row: Any, now: float) -> str:
    """Take a cancellation back: the revision is queued again, or the study is assembled as if it had just come."""
    revision = newest_revision(connection, row.id)
    values: dict[str, Any] = {"dirty": True}
    if revision is not None and revision.state == "failed":
        move(connection, "revision", revision.id, "ready", {"reason": "", **queued_anew(now)})
        move_study(connection, row.id, "ready", now)
        said = f"revision {revision.number} is queued again"
    elif revision is not None:
        move_study(connection, row.id, "reported", now)
        said = "the study is as it was before; `axrad deliver` sends its report"
    else:
        move_study(connection, row.id, "assembling", now)
        said = "the study is assembled again"
    connection.execute(studies.update().where(studies.c.id == row.id).values(**values))
    note(connection, now, "resumed", "by an operator", row.id, revision and revision.id)
    return said
