"""What workers write to the ledger for one revision, without what they read, compute and send in between."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from daemon.ledger import deliveries
from daemon.ledger.claims import Claim, release, update
from daemon.ledger.engine import note
from daemon.ledger.rows import DeliveryRow, StudyRow, the_row
from daemon.ledger.studies import move_study, settle_if_delivered
from daemon.work.context import Context
from daemon.work.delivery_opening import open_delivery
from daemon.work.revision_claim import take_revision
from pipeline.result import StudyResult

OBJECTS = ("page", "sr")
SR_CLASS = "1.2.840.10008.5.1.4.1.1.88.34"


def analysed(context: Context, revision_id: str) -> None:
    """As `daemon.work.analyse.run`."""

    def begin(connection: sa.Connection, held: Claim, study: StudyRow) -> None:
        update(connection, held, state="running")
        move_study(connection, study.id, "running", context.clock())
        note(connection, context.clock(), "started", f"attempt {held.attempt}", study.id, revision_id)

    taken = take_revision(context, revision_id, "analyse", begin)
    assert taken is not None
    held, _, study = taken
    with context.ledger.write() as connection:
        columns = {"attempts": 0, "next_attempt_at": context.clock(), "enqueued_until": context.clock() + 10}
        release(connection, held, columns, state="running", stage="report")
        note(connection, context.clock(), "analysed", "evaluated", study.id, revision_id)


def reported(context: Context, revision_id: str) -> list[str]:
    """As `daemon.work.report.run`: the ids of the deliveries that are open."""
    taken = take_revision(context, revision_id, "report")
    assert taken is not None
    held, row, study = taken
    now, opened = context.clock(), []
    result = StudyResult(study_uid=study.study_uid, revision=row.number, status="evaluated")
    with context.ledger.write() as connection:
        release(connection, held, {"reason": "", "finished_at": now}, state="reported", stage="done")
        move_study(connection, study.id, "reported", now)
        note(connection, now, "reported", "", study.id, held.id)
        for destination in context.settings.destination:
            place = (study.id, held.id)
            delivery_id, _ = open_delivery(connection, context.settings, destination, place, result, OBJECTS, now, 0)
            opened.append(delivery_id)
        settle_if_delivered(connection, held.id, now)
    return opened


def delivered(context: Context, delivery_ids: Sequence[str]) -> None:
    """As `daemon.work.deliver.run`, to destinations that take everything at once."""
    for delivery_id in delivery_ids:
        now = context.clock()
        with context.ledger.write() as connection:
            held = deliveries.take(connection, delivery_id, context.owner, now, context.settings)
            assert held is not None
            row = the_row(connection, DeliveryRow, delivery_id)
            update(connection, held, state="sending")
        objects = [
            {"kind": kind, "sop_class_uid": SR_CLASS, "sop_instance_uid": f"2.25.{int(delivery_id, 16)}.{place}",
             "status": 0, "coerced_uid": None, "content": ""}
            for place, kind in enumerate(row.objects)
        ]  # fmt: skip
        with context.ledger.write() as connection:
            deliveries.record_sent(connection, row.id, objects, now)
        with context.ledger.write() as connection:
            update(connection, held, {"stored_at": now, "proof_asks": 0})
        with context.ledger.write() as connection:
            release(connection, held, {"proof": "status", "finished_at": now}, state="delivered")
            note(connection, now, "delivered-at-destination", "archive: status", revision_id=row.revision_id)
            deliveries.destination_answered(connection, row.destination, now)
            settle_if_delivered(connection, row.revision_id, now)
        with context.ledger.read() as connection:
            deliveries.due(connection, context.settings, now, limit=10, only=row.destination)
