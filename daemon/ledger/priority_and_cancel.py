"""What an operator may do to a study's place in line: change its priority, cancel it, resume it."""

from __future__ import annotations

import sqlalchemy as sa

from daemon.ledger.engine import note
from daemon.ledger.moves import move, move_all, queued_anew
from daemon.ledger.rows import StudyRow
from daemon.ledger.states import FETCH_OPEN, PROPOSAL_OPEN, SETTLED
from daemon.ledger.studies import move_study, newest_revision, stop_deliveries
from daemon.ledger.tables import fetches, proposals, studies
from daemon.ledger.work_order import BACKFILL, PRIORITIES, place_in_line
from pipeline.errors import InputRejected

CANCELLED = "cancelled by an operator"


def prioritise(connection: sa.Connection, row: StudyRow, now: float, level: str, head_start_s: float) -> str:
    """Give a study another priority; returns a sentence on its place in line. An urgent backfill becomes current."""
    values: dict[str, object] = {"priority": PRIORITIES[level]}
    if row.role == BACKFILL and PRIORITIES[level] > 0:
        values["role"] = "current"
    connection.execute(studies.update().where(studies.c.id == row.id).values(**values))
    note(connection, now, "prioritised", f"{level}, by an operator", row.id)
    sentence = f"study {row.id} is {level}"
    revision = newest_revision(connection, row.id)
    if revision is None or row.state in SETTLED:
        return f"{sentence}; nothing of it waits now"
    place = place_in_line(connection, revision.id, now, head_start_s)
    if place is None:
        return f"{sentence}; it is being worked on already"
    return f"{sentence}; " + ("it is next" if place == 0 else f"{place} others are worked on before it")


def cancel(connection: sa.Connection, row: StudyRow, now: float) -> str:
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
    if open_fetches := move_all(
        connection, "fetch", of_it, FETCH_OPEN, "cancelled", {"reason": CANCELLED}, void_lease=True
    ):
        stopped.append(f"{open_fetches} fetches")
    of_it = proposals.c.study_id == row.id
    if move_all(connection, "proposal", of_it, PROPOSAL_OPEN, "superseded", {"reason": CANCELLED}, void_lease=True):
        stopped.append("a proposal")
    connection.execute(studies.update().where(studies.c.id == row.id).values(due_at=None))
    move_study(connection, row.id, "cancelled", now, CANCELLED, "cancelled")
    # From here on no verdict is written. One that was while this looked (PostgreSQL) has made a revision.
    latest = newest_revision(connection, row.id)
    if latest is not None and (revision is None or latest.id != revision.id):
        raise InputRejected(f"study {row.id} got a new revision at this moment: cancel it again")
    note(
        connection,
        now,
        "cancelled",
        ", ".join(["by an operator", *stopped]),
        row.id,
        revision.id if revision is not None else None,
    )
    return (
        f"study {row.id} is cancelled" + (f" ({', '.join(stopped)})" if stopped else "") + "; `axrad retry` resumes it"
    )


def resume(connection: sa.Connection, row: StudyRow, now: float) -> str:
    """Undo a cancellation: queue the revision again, or assemble the study as if it had just arrived."""
    revision = newest_revision(connection, row.id)
    values: dict[str, object] = {"dirty": True}
    if revision is not None and revision.state == "failed":
        move(connection, "revision", revision.id, "ready", {"reason": "", **queued_anew(now)})
        move_study(connection, row.id, "ready", now)
        sentence = f"revision {revision.number} is queued again"
    elif revision is not None:
        move_study(connection, row.id, "reported", now)
        sentence = "the study is as it was before; `axrad deliver` sends its report"
    else:
        move_study(connection, row.id, "assembling", now)
        sentence = "the study is assembled again"
    connection.execute(studies.update().where(studies.c.id == row.id).values(**values))
    note(connection, now, "resumed", "by an operator", row.id, revision.id if revision is not None else None)
    return sentence
