"""What an operator may do to a study: retry, redo, accept an identity, resend."""

from __future__ import annotations

from collections.abc import Callable, Container

import sqlalchemy as sa

from daemon.assembly.corrected_patient import CODE
from daemon.assembly.identity import identity_keys
from daemon.ledger.deliveries import dead_letters, probe_now, send_again
from daemon.ledger.engine import note
from daemon.ledger.moves import move, queued_anew
from daemon.ledger.packed_exams import unpacked
from daemon.ledger.priority_and_cancel import resume
from daemon.ledger.rows import DeliveryRow, JsonObject, StudyRow, rows_where
from daemon.ledger.states import FINISHED, MAY_BE_REDONE, TOO_MANY, UNSENT
from daemon.ledger.studies import move_study, newest_revision, reopen
from daemon.ledger.tables import deliveries, studies
from daemon.ledger.verdicts import evidence_of
from pipeline.errors import InputRejected


def retry(connection: sa.Connection, row: StudyRow, now: float, *, new_revision: bool, accept_identity: bool) -> str:
    """Repeat a failed revision; or, asked for, redo a reported one or release a held study. Says what was done."""
    unpacked(connection, row.study_uid)
    if accept_identity:
        return _release(connection, row, now)
    if new_revision:
        return _redo(connection, row, now)
    if row.state == "cancelled":
        return resume(connection, row, now)
    if row.state == "not_ours":
        return _take_as_ours(connection, row, now)
    if row.state == "held" and row.reason_code == TOO_MANY:
        return _judge_again(connection, row, now)
    if row.state != "failed":
        raise InputRejected(
            f"study {row.id} is {row.state}, not failed; `--new-revision` redoes a reported one, "
            "`--accept-identity` releases a held one"
        )
    revision = newest_revision(connection, row.id)
    assert revision is not None, "a study fails with its revision"
    move(connection, "revision", revision.id, "ready", queued_anew(now), void_lease=True)
    move_study(connection, row.id, "ready", now)
    note(connection, now, "retried", "by an operator", row.id, revision.id)
    return f"revision {revision.number} is queued again"


def _judge_again(connection: sa.Connection, row: StudyRow, now: float) -> str:
    """Judge a study again that was too large, after its limit was raised."""
    _assemble_again(connection, row, now)
    note(connection, now, "retried", "by an operator", row.id)
    return "the study is assembled again"


def _take_as_ours(connection: sa.Connection, row: StudyRow, now: float) -> str:
    """Treat the study as an exam of the breasts, whatever its headers say, as an operator asks."""
    _assemble_again(connection, row, now, taken_as_ours=True)
    note(connection, now, "taken-as-ours", "by an operator", row.id)
    return "the study is assembled as an exam of the breasts"


def _release(connection: sa.Connection, row: StudyRow, now: float) -> str:
    if row.state != "held" and row.corrected_key is not None:
        return _keep_identity(connection, row, now)
    if row.state != "held":
        raise InputRejected(f"study {row.id} is {row.state}, not held")
    _assemble_again(connection, row, now, **_accepted(connection, row))
    note(connection, now, "identity-accepted", "by an operator", row.id)
    return "the study is assembled with the identities it has"


def _assemble_again(connection: sa.Connection, row: StudyRow, now: float, **columns: object) -> None:
    unexplained = {"reason": "", "reason_code": "", "changed_at": now, "dirty": True}
    move(connection, "study", row.id, "assembling", {**unexplained, **columns})


def _accepted(connection: sa.Connection, row: StudyRow) -> dict[str, object]:
    """Columns of a study whose present identities an operator accepts."""
    keys = sorted(identity_keys(evidence_of(connection, row)))
    return {"identity_accepted": True, "corrected_key": None, "accepted_keys": keys}


def _keep_identity(connection: sa.Connection, row: StudyRow, now: float) -> str:
    """Keep the Patient ID of a study that came again under another."""
    accepted = _accepted(connection, row)
    connection.execute(studies.update().where(studies.c.id == row.id).values(dirty=True, **accepted))
    note(connection, now, "identity-accepted", "the one before, by an operator", row.id)
    return "the study keeps the Patient ID that it had"


def _redo(connection: sa.Connection, row: StudyRow, now: float) -> str:
    """Make a new revision of the same inputs; under the new Patient ID, where objects came again under another."""
    corrected: dict[str, object] = {} if row.corrected_key is None else _corrected(row)
    if corrected and row.state == "held" and row.reason_code == CODE:
        corrected |= {"reason": "", "reason_code": ""}
    elif row.state not in MAY_BE_REDONE:
        raise InputRejected(f"study {row.id} is {row.state}; a new revision needs one that is finished")
    again = corrected | {"redo": studies.c.redo + 1, "dirty": True, "changed_at": now}
    move(connection, "study", row.id, "assembling", again)
    if corrected:
        note(connection, now, "redo", "under the corrected Patient ID, asked for by an operator", row.id)
        return "a corrected report will be made, under the Patient ID that the exam came again with"
    note(connection, now, "redo", "a new revision was asked for by an operator", row.id)
    return "a new revision will be made"


def _corrected(row: StudyRow) -> dict[str, object]:
    return {"identity_key": row.corrected_key, "patient_key": row.corrected_key, "corrected_key": None}


def deliver(
    connection: sa.Connection,
    row: StudyRow,
    now: float,
    destination: str | None,
    known: Container[str] | None = None,
) -> list[str]:
    """Send the newest rendered result again, byte for byte; the ids of the deliveries that were opened.

    Args:
        known: names of destinations; deliveries to others are left as they are. None: all are known.
    """
    unpacked(connection, row.study_uid)
    revision = newest_revision(connection, row.id, FINISHED)
    if revision is None:
        raise InputRejected(f"study {row.id} has no report yet")
    where = [deliveries.c.revision_id == revision.id]
    if destination is not None:
        where.append(deliveries.c.destination == destination)
    rows = rows_where(connection, DeliveryRow, *where)
    if not rows:
        raise InputRejected(f"study {row.id} has no delivery" + (f" to {destination}" if destination else ""))
    unconfigured = sorted({item.destination for item in rows if known is not None and item.destination not in known})
    rows = [item for item in rows if item.destination not in unconfigured]
    if not rows:
        raise InputRejected(
            f"no [[destination]] is named {', '.join(unconfigured)} any more; "
            f"`axrad deliver {row.id} --to NAME` sends the report to another"
        )
    if all(item.state == "refused" for item in rows):
        raise InputRejected(f"{rows[0].destination}: {rows[0].reason}")
    probe_now(connection, {item.destination for item in rows})
    opened = []
    for item in rows:
        if item.state in UNSENT:
            connection.execute(
                deliveries.update().where(deliveries.c.id == item.id).values(next_attempt_at=now, enqueued_until=None)
            )
        elif item.state != "refused":
            send_again(connection, item.id, now)
        else:
            continue
        opened.append(item.id)
    reopen(connection, revision, now)
    note(connection, now, "resend", "asked for by an operator", row.id, revision.id)
    return opened


def deliver_dead_letters(
    connection: sa.Connection,
    now: float,
    destination: str | None,
    may: Callable[[JsonObject], bool] = lambda _: True,
) -> list[str]:
    """Send everything again that was set aside; the ids of the deliveries that were opened.

    Args:
        may: whether a dead letter can be sent at all; the others stay set aside.
    """
    letters = [item for item in dead_letters(connection, destination) if may(item)]
    probe_now(connection, {item["destination"] for item in letters})
    for item in letters:
        send_again(connection, item["id"], now)
        note(connection, now, "resend", f"to {item['destination']}, asked for by an operator", item["study"])
    return [item["id"] for item in letters]
