"""`axrad.deliver`: one result to one destination, until it is proven to be there."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
import structlog

from config.schema import Destination
from daemon.export import proof
from daemon.export.cstore import Sent, send
from daemon.export.peer import Address, address_of
from daemon.ledger.engine import note
from daemon.ledger.queue import Claim, LeaseLost, claim, release, update
from daemon.ledger.studies import settle_if_delivered
from daemon.ledger.tables import deliveries, revisions
from daemon.work.context import Context, kept
from daemon.work.failure import TaskFailed, code_of, delivery_failed
from pipeline.errors import ReportRejected

log = structlog.get_logger("axrad.deliver")
# Deliveries are tried until they succeed: backoff is bounded at an hour, and an operator sees them in `axrad status`.
UNLIMITED = 10**9


def run(context: Context, delivery_id: str) -> None:
    """Claim, send, prove."""
    with context.ledger.write() as connection:
        held = claim(
            connection,
            "delivery",
            delivery_id,
            context.owner,
            context.clock(),
            context.settings.work.lease_s,
            UNLIMITED,
        )
        if held is None:
            return
        row = connection.execute(sa.select(deliveries).where(deliveries.c.id == delivery_id)).one()
        revision = connection.execute(sa.select(revisions).where(revisions.c.id == row.revision_id)).one()
        update(connection, held, {"state": "sending"})
    try:
        with kept(context, held):
            destination = next((d for d in context.settings.destination if d.name == row.destination), None)
            if destination is None:
                raise ReportRejected(f"no [[destination]] is named {row.destination} any more")
            address = address_of(destination, context.settings)
            files = [context.result_folder(row.revision_id) / f"{kind}.dcm" for kind in row.objects]
            sent = send(address, files)
            outcome = _prove(context, held, destination, address, sent)
        _finish(context, held, revision, row, outcome)
    except LeaseLost:
        return
    except Exception as error:  # noqa: BLE001 - the outermost loop of this work
        delivery_failed(context, held, revision.study_id, row.revision_id, error)
        raise TaskFailed(code_of(error), delivery_id) from None


def _prove(
    context: Context, held: Claim, destination: Destination, address: Address, sent: tuple[Sent, ...]
) -> dict[str, Any]:
    """Columns of the delivery after sending: delivered with its proof, or stored and awaiting a commitment report."""
    remarks = ", ".join(f"0x{s.status:04X}" for s in sent if s.status)
    if destination.proof == "readback":
        proof.read_back(address, sent)
        return {"state": "delivered", "proof": "read back", "reason": remarks}
    if destination.proof == "commit":
        transaction_uid = proof.new_transaction()
        # Written first: the report may arrive before the answer to our request does.
        with context.ledger.write() as connection:
            update(connection, held, {"transaction_uid": transaction_uid, "proof": ""})
        proof.ask_commitment(address, sent, transaction_uid)
        return {"state": "stored", "reason": remarks}
    return {"state": "delivered", "proof": "status", "reason": remarks}


def _finish(context: Context, held: Claim, revision: Any, row: Any, outcome: dict[str, Any]) -> None:
    now = context.clock()
    with context.ledger.write() as connection:
        reported = connection.execute(sa.select(deliveries.c.proof).where(deliveries.c.id == held.id)).scalar_one()
        if outcome["state"] == "stored" and reported:
            outcome = outcome | {"state": "delivered", "proof": reported}
        release(connection, held, outcome | {"finished_at": now if outcome["state"] == "delivered" else None})
        detail = f"{row.destination}: {outcome.get('proof') or 'waits for storage commitment'}"
        note(connection, now, f"{outcome['state']}-at-destination", detail, revision.study_id, row.revision_id)
        settle_if_delivered(connection, row.revision_id, now)
    log.info("delivery", study=revision.study_id, delivery=held.id, destination=row.destination, state=outcome["state"])
