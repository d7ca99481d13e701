"""What an operator may do to a study's place and course: bring it forward, put it back, cancel it, take that back."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from daemon.ledger.engine import note
from daemon.ledger.states import REVISION, STUDY, check
from daemon.ledger.studies import move_study
from daemon.ledger.tables import deliveries, fetches, revisions, studies
from daemon.ledger.work_order import BACKFILL, PRIORITIES, place_in_line
from pipeline.errors import InputRejected

OVER = ("delivered", "not_evaluated", "expired", "not_ours", "cancelled")
CANCELLED = "cancelled by an operator"


def prioritise(connection: sa.Connection, row: Any, now: float, level: str, head_start_s: float) -> str:
    """Give a study another priority; says what that does to its place in line. Urgent backfills are none any more."""
    values: dict[str, Any] = {"priority": PRIORITIES[level]}
    if row.role == BACKFILL and PRIORITIES[level] > 0:
        values["role"] = "current"
    connection.execute(studies.update().where(studies.c.id == row.id).values(**values))
    note(connection, now, "prioritised", f"{level}, by an operator", row.id)
    said = f"study {row.id} is {level}"
    revision = _latest(connection, row.id)
    if revision is None or row.state in OVER:
        return f"{said}; nothing of it waits now"
    place = place_in_line(connection, revision.id, now, head_start_s)
    if place is None:
        return f"{said}; it is being worked on already"
    return f"{said}; " + ("it is next" if place == 0 else f"{place} others are worked on before it")


def cancel(connection: sa.Connection, row: Any, now: float) -> str:
    """Stop a study: nothing of it is analysed, fetched or sent any more. What was delivered stays delivered."""
    if row.state in OVER:
        raise InputRejected(f"study {row.id} is {row.state}: there is nothing left to cancel")
    check(STUDY, row.state, "cancelled")
    revision = _latest(connection, row.id)
    stopped = []
    if revision is not None and revision.stage != "done":
        # The raised fence makes a worker that is at it stop, and whatever it still writes void.
        check(REVISION, revision.state, "failed")
        connection.execute(
            revisions.update()
            .where(revisions.c.id == revision.id)
            .values(
                state="failed",
                reason=CANCELLED,
                reason_code="cancelled",
                fence=revisions.c.fence + 1,
                owner=None,
                lease_until=None,
                finished_at=now,
            )
        )
        stopped.append(f"revision {revision.number}")
    for table, open_states, what in (
        (deliveries, ("pending", "sending", "failed"), "deliveries"),
        (fetches, ("pending", "fetching"), "fetches"),
    ):
        mine = table.c.revision_id == revision.id if "revision_id" in table.c and revision is not None else None
        mine = table.c.study_id == row.id if "study_id" in table.c else mine
        if mine is None:
            continue
        done = connection.execute(
            table.update()
            .where(mine, table.c.state.in_(open_states))
            .values(state="cancelled", reason=CANCELLED, fence=table.c.fence + 1, owner=None, lease_until=None)
        )
        if done.rowcount:
            stopped.append(f"{done.rowcount} {what}")
    connection.execute(studies.update().where(studies.c.id == row.id).values(due_at=None))
    move_study(connection, row.id, "cancelled", now, CANCELLED, "cancelled")
    note(connection, now, "cancelled", ", ".join(["by an operator", *stopped]), row.id, revision and revision.id)
    return (
        f"study {row.id} is cancelled" + (f" ({', '.join(stopped)})" if stopped else "") + "; `axrad retry` resumes it"
    )


def resume(connection: sa.Connection, row: Any, now: float) -> str:
    """Take a cancellation back: the revision is queued again, or the study is assembled as if it had just come."""
    revision = _latest(connection, row.id)
    values: dict[str, Any] = {"dirty": True}
    if revision is not None and revision.state == "failed":
        connection.execute(
            revisions.update()
            .where(revisions.c.id == revision.id)
            .values(state="ready", attempts=0, next_attempt_at=now, enqueued_until=None, finished_at=None, reason="")
        )
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


def _latest(connection: sa.Connection, study_id: str) -> Any:
    return connection.execute(
        sa.select(revisions).where(revisions.c.study_id == study_id).order_by(revisions.c.number.desc()).limit(1)
    ).one_or_none()
