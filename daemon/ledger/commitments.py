"""Storage commitment in the ledger: what was asked for, and what the reports on it come to."""

from __future__ import annotations

from collections.abc import Container, Iterable

import sqlalchemy as sa

from daemon.ledger.claims import backoff_s
from daemon.ledger.deliveries import forget_objects, objects_of
from daemon.ledger.engine import note
from daemon.ledger.moves import move
from daemon.ledger.rows import DeliveryRow, the_row
from daemon.ledger.states import AWAITS_COMMITMENT
from daemon.ledger.studies import settle_if_delivered
from daemon.ledger.tables import commitments, revisions, sent_objects

PROVEN = "storage commitment"
RESEND_S = 10.0


def open_transaction(connection: sa.Connection, delivery_id: str, transaction_uid: str, now: float) -> None:
    """Write down a transaction before it is asked for: its report may come before the answer does."""
    connection.execute(
        commitments.insert().values(transaction_uid=transaction_uid, delivery_id=delivery_id, asked_at=now)
    )


def take_report(
    connection: sa.Connection,
    transaction_uid: str,
    committed: Iterable[str],
    failed: Iterable[str],
    now: float,
    believed_for: Container[str] | None = None,
    by: str = "",
) -> bool:
    """A destination reports on what we asked it to keep, perhaps in several parts. False: no transaction of ours.

    Args:
        believed_for: names of the destinations that the reporter may speak for; None: any. The word of others changes
            nothing, and is told in the study's timeline.
        by: the reporter's AE title.

    A delivery that waits for it is settled here; one that is still being sent is settled by its sender.
    """
    request = connection.execute(
        sa.select(commitments).where(commitments.c.transaction_uid == transaction_uid)
    ).one_or_none()
    if request is None:
        return False
    row = the_row(connection, DeliveryRow, request.delivery_id, lock=True)
    if believed_for is not None and row.destination not in believed_for:
        study_id = _study_of(connection, row)
        detail = f"{row.destination}: a report by {by or 'nobody'} is not believed; report_from may name it"
        note(connection, now, "commitment-not-believed", detail, study_id, row.revision_id)
        return False
    # A report on an earlier sending says nothing of a later one.
    if row.state not in AWAITS_COMMITMENT or row.stored_at is None or request.asked_at < row.stored_at:
        return True
    connection.execute(
        commitments.update().where(commitments.c.transaction_uid == transaction_uid).values(reported_at=now)
    )
    _mark_objects(connection, row.id, committed, True)
    _mark_objects(connection, row.id, failed, False)
    if row.state != "sending":
        settle(connection, row, now)
    return True


def _mark_objects(connection: sa.Connection, delivery_id: str, uids: Iterable[str], value: bool) -> None:
    kept_as = sa.func.coalesce(sent_objects.c.coerced_uid, sent_objects.c.sop_instance_uid)
    for uid in uids:
        connection.execute(
            sent_objects.update()
            .where(sent_objects.c.delivery_id == delivery_id, kept_as == uid)
            .values(committed=value)
        )


def outcome_of(connection: sa.Connection, row: DeliveryRow) -> str:
    """`delivered` once every object is committed, `pending` once one is refused, else `stored`."""
    marks = [o.committed for o in objects_of(connection, row.id).values()]
    if any(mark is False for mark in marks):
        return "pending"
    return "delivered" if marks and all(marks) else "stored"


def settle(connection: sa.Connection, row: DeliveryRow, now: float) -> None:
    """Move a delivery that waited for reports; a worker that was about to ask again loses its claim."""
    outcome = outcome_of(connection, row)
    if outcome == "stored" or (row.state == "failed" and outcome == "pending"):
        return
    study_id = _study_of(connection, row)
    if outcome == "delivered":
        values: dict[str, object] = {"proof": PROVEN, "finished_at": now}
        note(
            connection,
            now,
            "delivered-at-destination",
            f"{row.destination}: {PROVEN}",
            study_id,
            row.revision_id,
        )
    else:
        values = not_committed(connection, row, now)
        note(connection, now, "not-committed", f"{row.destination}: {values['reason']}", study_id, row.revision_id)
    move(connection, "delivery", row.id, outcome, values, void_lease=True)
    settle_if_delivered(connection, row.revision_id, now)


def _study_of(connection: sa.Connection, row: DeliveryRow) -> str:
    return str(
        connection.execute(sa.select(revisions.c.study_id).where(revisions.c.id == row.revision_id)).scalar_one()
    )


def not_committed(connection: sa.Connection, row: DeliveryRow, now: float) -> dict[str, object]:
    """Columns of a delivery of which objects were not committed; those count as never sent."""
    kinds = [o.kind for o in objects_of(connection, row.id).values() if o.committed is False]
    forget_objects(connection, row.id, kinds)
    return {
        "reason": f"the destination did not commit to {', '.join(kinds)}",
        "stored_at": None,
        "next_attempt_at": now + backoff_s(RESEND_S, row.attempts),
        "enqueued_until": None,
    }
