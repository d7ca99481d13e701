"""In which class a report goes to a destination: the richest that its archive takes, found before the rest is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256

from config.schema import Destination
from daemon.export.association import Address
from daemon.export.send_outcome import Item, Sent, items_of
from daemon.export.statuses import is_present
from daemon.export.transports import TRANSPORTS
from daemon.ledger import deliveries as ledger_deliveries
from daemon.ledger.claims import Claim, update
from daemon.ledger.rows import DeliveryRow, ReportClassesRow, row_where
from daemon.ledger.tables import report_classes
from daemon.work.context import Context
from dicom_sr.kinds import REPORT_KINDS, kind_of, member, parts_of
from dicom_sr.report_classes import choices, taken_report

ASKED_AGAIN_AFTER_S = 86400.0


# Sends this one object and records what the destination says of it.
Trial = Callable[[Item], Sent]


def with_class_chosen(
    context: Context, held: Claim, row: DeliveryRow, destination: Destination, address: Address, trial: Trial
) -> DeliveryRow:
    """The delivery with its report, and what goes along with it, in the class that goes there, which the ledger keeps.

    Raises PeerUnreachable where the archive has to be asked and does not answer.
    """
    planned = taken_report(row.objects)
    if planned is None or destination.sr != "auto" or _is_taken(context, row, planned):
        return row
    number = parts_of(planned)[2]
    there = {
        kind: sop_class
        for kind, sop_class in choices("auto", context.settings).items()
        if context.files.get(row.revision_id, f"{member(kind, kind, number)}.dcm") is not None
    }
    if len(there) < 2:
        return row
    accepted = _accepted(context, destination, address, tuple(there.values()))
    if accepted is None:
        return _tried(context, held, row, destination, address, planned, there, trial)
    chosen = next((kind for kind, sop_class in there.items() if sop_class in accepted), None)
    return row if chosen is None else _moved(context, held, row, planned, chosen)


def _tried(
    context: Context,
    held: Claim,
    row: DeliveryRow,
    destination: Destination,
    address: Address,
    planned: str,
    there: Mapping[str, str],
    trial: Trial,
) -> DeliveryRow:
    """By STOW-RS nothing can be negotiated: the report is sent alone in one class after another, until one is taken."""
    number = parts_of(planned)[2]
    for kind, sop_class in there.items():
        path = context.files.get(row.revision_id, f"{member(kind, kind, number)}.dcm")
        outcome = trial(items_of([path])[0]) if path is not None else None
        if outcome is not None and not outcome.refuses_class:
            if outcome.stored:
                _keep(context, destination, address, [sop_class])
            return _moved(context, held, row, planned, kind)
    return row


def _moved(context: Context, held: Claim, row: DeliveryRow, planned: str, report: str) -> DeliveryRow:
    number = parts_of(planned)[2]
    names = [report if name == planned else parts_of(name)[0] for name in row.objects]
    wanted = [member(kind, report, number) for kind in names]
    # Of an earlier version's results, what goes along with a report is there once.
    is_there = {n: context.files.get(row.revision_id, f"{n}.dcm") is not None for n in wanted}
    objects = [name if is_there[name] else before for name, before in zip(wanted, row.objects, strict=True)]
    if objects == row.objects:
        return row
    with context.ledger.write() as connection:
        update(connection, held, {"objects": objects})
        ledger_deliveries.forget_report(connection, row.id, planned)
    return replace(row, objects=objects)


def note_refused(context: Context, row: DeliveryRow, sent: Sequence[Sent]) -> None:
    """A class that an archive refuses after all is not sent there again before the archive is asked anew."""
    refused = {one.item.sop_class_uid for one in sent if kind_of(one.item.kind) in REPORT_KINDS and one.refuses_class}
    mine = report_classes.c.destination == row.destination
    if refused:
        with context.ledger.write() as connection:
            remembered = row_where(connection, ReportClassesRow, mine)
            before = remembered.accepted if remembered is not None else []
            left = [sop_class for sop_class in before if sop_class not in refused]
            if left:
                connection.execute(report_classes.update().where(mine).values(accepted=left))
            else:
                connection.execute(report_classes.delete().where(mine))


def _is_taken(context: Context, row: DeliveryRow, kind: str) -> bool:
    with context.ledger.read() as connection:
        before = ledger_deliveries.objects_of(connection, row.id).get(kind)
    return before is not None and is_present(before.status, before.content)


def _accepted(
    context: Context, destination: Destination, address: Address, sop_classes: tuple[str, ...]
) -> tuple[str, ...] | None:
    """What the archive accepts of these; None where that is not known and nothing can be negotiated."""
    mine = report_classes.c.destination == destination.name
    with context.ledger.read() as connection:
        remembered = row_where(connection, ReportClassesRow, mine)
    age_s = context.clock() - remembered.asked_at if remembered is not None else 0.0
    if (
        remembered is not None
        and remembered.address == _digest(destination, address)
        and 0 <= age_s < ASKED_AGAIN_AFTER_S
    ):
        return tuple(remembered.accepted)
    ask = TRANSPORTS[destination.via].accepted
    if ask is None:
        return None
    accepted = ask(address, sop_classes)
    if accepted:
        _keep(context, destination, address, accepted)
    return accepted


def _keep(context: Context, destination: Destination, address: Address, accepted: Sequence[str]) -> None:
    values = {
        "destination": destination.name,
        "address": _digest(destination, address),
        "accepted": list(accepted),
        "asked_at": context.clock(),
    }
    with context.ledger.write() as connection:
        connection.execute(report_classes.delete().where(report_classes.c.destination == destination.name))
        connection.execute(report_classes.insert().values(values))


def _digest(destination: Destination, address: Address) -> str:
    """What was asked."""
    asked = f"{address.ae_title} {address.host} {address.port}"
    if TRANSPORTS[destination.via].accepted is None:
        asked = f"{destination.via} {address.dicomweb_url}"
    return sha256(asked.encode()).hexdigest()
