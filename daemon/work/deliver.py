"""`axrad.deliver`: one result to one destination, until it is proven to be there.

A delivery that is `pending` (or `sending`, left by a worker that died) is sent: each object that the destination has
not taken yet. Then, as for one that is `stored`, its proof is asked for. Storage commitment is not waited for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import sqlalchemy as sa
import structlog

from config.schema import Destination
from daemon.export import proof
from daemon.export.association import Address, address_of
from daemon.export.send_outcome import Item, ObjectNotTaken, Sent, items_of, remarks, require_stored
from daemon.export.statuses import is_present
from daemon.export.transports import TRANSPORTS
from daemon.ledger import commitments, obsolete
from daemon.ledger import deliveries as ledger_deliveries
from daemon.ledger.claims import Claim, LeaseLost, release, update
from daemon.ledger.engine import note
from daemon.ledger.rows import DeliveryRow, SentObjectRow, the_row
from daemon.ledger.states import NOT_DELIVERED
from daemon.ledger.studies import settle_if_delivered
from daemon.ledger.tables import deliveries, revisions
from daemon.work.audit_events import results_sent
from daemon.work.context import Context, renewing_lease
from daemon.work.delivery_failure import ClaimedDelivery, delivery_failed
from daemon.work.failure import TaskFailed, code_of
from daemon.work.report_class import note_refused, with_class_chosen
from daemon.work.result_rerender import ResultsGone, is_being_rerendered, send_back_to_analysis
from daemon.work.unproven_answers import settle_unproven
from pipeline.catalog import SEGMENTATION_CLASSES
from pipeline.errors import ReportRejected, TryLater

log = structlog.get_logger("axrad.deliver")


def run(context: Context, delivery_id: str) -> None:
    """Claim, send, prove; then announce what else its destination has room for."""
    now = context.clock()
    if _is_obsolete(context, delivery_id, now):
        return
    with context.ledger.write() as connection:
        held = ledger_deliveries.take(connection, delivery_id, context.owner, now, context.settings)
        if held is None:
            return
        row = the_row(connection, DeliveryRow, delivery_id)
        study_id = connection.execute(
            sa.select(revisions.c.study_id).where(revisions.c.id == row.revision_id)
        ).scalar_one()
        if row.state == "pending":
            update(connection, held, state="sending")
    work = _Delivery(context, held, row, study_id)
    try:
        with renewing_lease(context, held, work.failed):
            outcome = work.send_and_prove()
        work.finish(outcome)
    except LeaseLost:
        return
    except Exception as error:  # noqa: BLE001 - the outermost loop of this work
        final = work.failed(error)
        if row.state != "stored":
            results_sent(context, study_id, row, None, code_of(error))
        raise TaskFailed(code_of(error), delivery_id, final=final) from None
    finally:
        _announce_next(context, row.destination)


def _is_obsolete(context: Context, delivery_id: str, now: float) -> bool:
    """Whether the destination is not in these settings. Its deliveries are closed if no other worker has it either."""
    with context.ledger.read() as connection:
        name = connection.execute(
            sa.select(deliveries.c.destination).where(deliveries.c.id == delivery_id)
        ).scalar_one_or_none()
    if name is None or ledger_deliveries.destination_named(context.settings, name) is not None:
        return False
    with context.ledger.write() as connection:
        if name not in obsolete.names_in_use(connection, context.settings, "destinations", now):
            obsolete.close_deliveries(connection, name, obsolete.why_gone(name), now, NOT_DELIVERED)
    return True


def _announce_next(context: Context, name: str) -> None:
    """The next deliveries to this destination need not wait for the sweep."""
    try:
        with context.ledger.read() as connection:
            rows = ledger_deliveries.due(connection, context.settings, context.clock(), limit=10, only=name)
    except TryLater:
        return
    for row in rows:
        context.announce("axrad.deliver", row.id)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of a delivery that was sent. `ask_again_at`: when its proof is asked for again."""

    state: str
    reason: str
    proof: str = ""
    ask_again_at: float | None = None


class _Delivery:
    """One claimed delivery. `row`: as it was when it was claimed."""

    commitment_stay_s = proof.REPORT_WAIT_S

    def __init__(self, context: Context, held: Claim, row: DeliveryRow, study_id: str) -> None:
        self.context, self.held, self.row, self.study_id = context, held, row, study_id
        self.destination = ledger_deliveries.destination_named(context.settings, row.destination)
        self.claimed = ClaimedDelivery(context, held, row, study_id, self.destination)

    def send_and_prove(self) -> _Outcome:
        if self.destination is None:
            raise ReportRejected(f"no [[destination]] is named {self.row.destination} any more")
        address = address_of(self.destination, self.context.settings)
        if self.row.state != "stored":
            destination = self.destination
            self.row = with_class_chosen(
                self.context, self.held, self.row, destination, address, lambda i: self._try(destination, address, i)
            )
        items = self._items()
        if self.row.state != "stored":
            self._send(self.destination, address, items)
        return self._prove(self.destination, address, self._taken(items))

    def _items(self) -> tuple[Item, ...]:
        paths = {kind: self.context.files.get(self.row.revision_id, f"{kind}.dcm") for kind in self.row.objects}
        gone = [kind for kind, path in paths.items() if path is None]
        if gone:
            self._make_again(", ".join(gone))
            raise ReportRejected(f"the finished {', '.join(gone)} of this result is not kept any more")
        return items_of([path for path in paths.values() if path is not None])

    def _make_again(self, gone: str) -> None:
        """Raises ResultsGone if the result is made again: until then there is nothing to send."""
        with self.context.ledger.write() as connection:
            again = is_being_rerendered(connection, self.row.revision_id)
            again = again or send_back_to_analysis(connection, self.row.revision_id, self.context.clock(), gone)
        if again:
            raise ResultsGone(f"the finished {gone} of this result vanished and is made again")

    def _send(self, destination: Destination, address: Address, items: tuple[Item, ...]) -> None:
        """Send what the destination has not taken yet, and write down what it says of each."""
        with self.context.ledger.read() as connection:
            before = ledger_deliveries.objects_of(connection, self.row.id)
        missing = [i for i in items if not _is_taken(before.get(i.kind), i)]
        if missing:
            self._announce_segmentations(missing, before)
            sent = self._send_now(destination, address, missing)
            note_refused(self.context, self.row, sent)
            require_stored(address, sent, by_status=destination.proof == "status")
            results_sent(self.context, self.study_id, self.row, address)
        with self.context.ledger.write() as connection:
            update(connection, self.held, {"stored_at": self.context.clock(), "proof_asks": 0})

    def _send_now(self, destination: Destination, address: Address, items: list[Item]) -> tuple[Sent, ...]:
        sent = settle_unproven(destination, address, TRANSPORTS[destination.via].send(address, items))
        with self.context.ledger.write() as connection:
            ledger_deliveries.record_sent(
                connection, self.row.id, [_columns(one) for one in sent], self.context.clock()
            )
        return sent

    def _try(self, destination: Destination, address: Address, item: Item) -> Sent:
        """Send the report alone. The answer on a class that was not taken counts only if no other is."""
        with self.context.ledger.read() as connection:
            before = ledger_deliveries.objects_of(connection, self.row.id).get(item.kind)
        if _is_taken(before, item):
            assert before is not None
            return Sent(item, before.status, before.coerced_uid, before.content)
        (sent,) = self._send_now(destination, address, [item])
        if sent.refuses_class and item.kind not in self.row.objects:
            with self.context.ledger.write() as connection:
                ledger_deliveries.forget_report(connection, self.row.id, item.kind)
        return sent

    def _announce_segmentations(self, missing: list[Item], before: dict[str, SentObjectRow]) -> None:
        """Written before they are sent: an archive may route them back at once, and they are no reader's regions."""
        ours = [i for i in missing if i.kind not in before and i.sop_class_uid in SEGMENTATION_CLASSES]
        if ours:
            with self.context.ledger.write() as connection:
                ledger_deliveries.record_sent(
                    connection, self.row.id, [_columns(Sent(i, None)) for i in ours], self.context.clock()
                )

    def _taken(self, items: tuple[Item, ...]) -> tuple[Sent, ...]:
        with self.context.ledger.read() as connection:
            answers = ledger_deliveries.objects_of(connection, self.row.id)
        return tuple(
            Sent(i, answers[i.kind].status, answers[i.kind].coerced_uid, answers[i.kind].content)
            for i in items
            if i.kind in answers
        )

    def _prove(self, destination: Destination, address: Address, sent: tuple[Sent, ...]) -> _Outcome:
        reason = remarks(sent)
        sent = tuple(one for one in sent if not one.is_dispensable)
        if destination.proof == "status":
            return _Outcome("delivered", reason, "status")
        self._count_ask()
        if destination.proof == "readback":
            proof.read_back(address, sent, destination.via)
            return _Outcome("delivered", reason, "read back")
        if self.row.state == "stored" and ledger_deliveries.why_given_up(self.row, destination, self.context.clock()):
            raise ObjectNotTaken(f"{address.name} does not report on storage commitment")
        transaction_uid = proof.new_transaction()
        # Written first: the report may arrive before the answer to our request does.
        now = self.context.clock()
        with self.context.ledger.write() as connection:
            update(connection, self.held, {"transaction_uid": transaction_uid})
            commitments.open_transaction(connection, self.row.id, transaction_uid, now)
        proof.request_commitment(address, sent, transaction_uid, self._take_report, self.commitment_stay_s)
        return _Outcome("stored", reason, ask_again_at=now + destination.commit_timeout_s)

    def _count_ask(self) -> None:
        with self.context.ledger.write() as connection:
            update(connection, self.held, {"proof_asks": deliveries.c.proof_asks + 1})

    def _take_report(self, report: proof.CommitmentReport) -> bool:
        """A report on the association on which we asked; called in that association's thread."""
        try:
            with self.context.ledger.write() as connection:
                return commitments.take_report(
                    connection,
                    report.transaction_uid,
                    report.committed,
                    report.failed,
                    self.context.clock(),
                    {self.row.destination},
                    self.row.destination,
                )
        except TryLater:
            return False

    def finish(self, outcome: _Outcome) -> None:
        """Write the outcome and free the delivery. A commitment report may have arrived meanwhile."""
        now = self.context.clock()
        with self.context.ledger.write() as connection:
            row = the_row(connection, DeliveryRow, self.held.id, lock=True)
            columns: dict[str, object] = {"reason": outcome.reason}
            if outcome.ask_again_at is not None:
                columns["next_attempt_at"] = outcome.ask_again_at
            if outcome.state == "stored":
                outcome = replace(outcome, state=commitments.outcome_of(connection, row))
                if outcome.state == "delivered":
                    outcome = replace(outcome, proof=commitments.PROVEN)
                elif outcome.state == "pending":
                    columns |= commitments.not_committed(connection, row, now)
            if outcome.proof:
                columns["proof"] = outcome.proof
            columns["finished_at"] = now if outcome.state == "delivered" else None
            release(connection, self.held, columns, state=outcome.state)
            self._note_outcome(connection, outcome, str(columns["reason"]), now)
            ledger_deliveries.destination_answered(connection, self.row.destination, now)
            settle_if_delivered(connection, self.row.revision_id, now)
        log.info(
            "delivery",
            study=self.study_id,
            delivery=self.held.id,
            destination=self.row.destination,
            state=outcome.state,
        )

    def _note_outcome(self, connection: sa.Connection, outcome: _Outcome, reason: str, now: float) -> None:
        kind = "not-committed" if outcome.state == "pending" else f"{outcome.state}-at-destination"
        detail = outcome.proof or reason or "waits for storage commitment"
        note(connection, now, kind, f"{self.row.destination}: {detail}", self.study_id, self.row.revision_id)

    def failed(self, error: Exception) -> bool:
        return delivery_failed(self.claimed, error)


def _is_taken(before: SentObjectRow | None, item: Item) -> bool:
    """Whether the destination took just this object: one that was made again from other input has another UID."""
    if before is None or before.sop_instance_uid != item.sop_instance_uid:
        return False
    return is_present(before.status, before.content)


def _columns(sent: Sent) -> dict[str, object]:
    return {
        "kind": sent.item.kind,
        "sop_class_uid": sent.item.sop_class_uid,
        "sop_instance_uid": sent.item.sop_instance_uid,
        "status": sent.status,
        "coerced_uid": sent.coerced_uid,
        "content": sent.content,
    }
