"""In which class a report goes to a destination: the richest one that its archive accepts, asked before it is sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256

from config.schema import Destination
from daemon.export.association import Address
from daemon.export.statuses import NOT_SUPPORTED, is_present
from daemon.export.transports import TRANSPORTS
from daemon.ledger import deliveries as ledger_deliveries
from daemon.ledger.claims import Claim, update
from daemon.ledger.rows import DeliveryRow, ReportClassesRow, row_where
from daemon.ledger.tables import report_classes
from daemon.work.context import Context
from dicom_sr.kinds import REPORT_KINDS
from dicom_sr.report_classes import choices, taken_report

ASKED_AGAIN_AFTER_S = 86400.0


def with_class_chosen(
    context: Context, held: Claim, row: DeliveryRow, destination: Destination, address: Address
) -> DeliveryRow:
    """The delivery with its report in the class that goes there, which the ledger keeps. By STOW-RS nothing can be
    negotiated: the report goes in the class that `report` makes.

    Raises PeerUnreachable where the archive has to be asked and does not answer.
    """
    planned = taken_report(row.objects)
    accepted_by = TRANSPORTS[destination.via].accepted
    if planned is None or destination.sr != "auto" or accepted_by is None or _is_taken(context, row, planned):
        return row
    there = {
        kind: sop_class
        for kind, sop_class in choices("auto", context.settings).items()
        if context.files.get(row.revision_id, f"{kind}.dcm") is not None
    }
    if len(there) < 2:
        return row
    accepted = _accepted(context, destination, address, tuple(there.values()), accepted_by)
    chosen = next((kind for kind, sop_class in there.items() if sop_class in accepted), None)
    if chosen is None or chosen == planned:
        return row
    objects = [chosen if kind == planned else kind for kind in row.objects]
    with context.ledger.write() as connection:
        update(connection, held, {"objects": objects})
        ledger_deliveries.forget_report(connection, row.id, planned)
    return replace(row, objects=objects)


def forget_if_refused(context: Context, row: DeliveryRow, statuses: dict[str, int | None]) -> None:
    """An archive that refuses a class that it accepted before is asked anew the next time."""
    if any(status == NOT_SUPPORTED for kind, status in statuses.items() if kind in REPORT_KINDS):
        with context.ledger.write() as connection:
            connection.execute(report_classes.delete().where(report_classes.c.destination == row.destination))


def _is_taken(context: Context, row: DeliveryRow, kind: str) -> bool:
    with context.ledger.read() as connection:
        before = ledger_deliveries.objects_of(connection, row.id).get(kind)
    return before is not None and is_present(before.status, before.content)


def _accepted(
    context: Context,
    destination: Destination,
    address: Address,
    sop_classes: tuple[str, ...],
    accepted_by: Callable[[Address, Sequence[str]], tuple[str, ...]],
) -> tuple[str, ...]:
    asked = sha256(f"{address.ae_title} {address.host} {address.port}".encode()).hexdigest()
    mine = report_classes.c.destination == destination.name
    now = context.clock()
    with context.ledger.read() as connection:
        remembered = row_where(connection, ReportClassesRow, mine)
    if remembered is not None and remembered.address == asked and 0 <= now - remembered.asked_at < ASKED_AGAIN_AFTER_S:
        return tuple(remembered.accepted)
    accepted = accepted_by(address, sop_classes)
    if accepted:
        with context.ledger.write() as connection:
            connection.execute(report_classes.delete().where(mine))
            values = {"destination": destination.name, "address": asked, "accepted": list(accepted), "asked_at": now}
            connection.execute(report_classes.insert().values(values))
    return accepted
