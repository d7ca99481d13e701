"""A delivery that did not succeed: tried again, or set aside as a dead letter."""

from __future__ import annotations

import random
from dataclasses import dataclass

import sqlalchemy as sa
import structlog

from config.schema import Destination
from daemon.export import proof
from daemon.export.send_outcome import ObjectNotTaken
from daemon.ledger import deliveries as ledger_deliveries
from daemon.ledger.claims import Claim, LeaseLost, backoff_s, release, update
from daemon.ledger.engine import note
from daemon.ledger.rows import DeliveryRow, the_row
from daemon.share.client import IntakeHostAway
from daemon.work.context import Context
from daemon.work.failure import code_of, sentence_of, where_in_our_code
from pipeline.errors import AxradError, PeerUnreachable, TryLater

log = structlog.get_logger("axrad.deliver")
# An archive that does not list what it took, looked for so often, is sent it again.
LOOKS = 4


@dataclass(frozen=True, slots=True)
class ClaimedDelivery:
    """A delivery that this worker holds, as it was when it was claimed. `destination`: None where it is gone."""

    context: Context
    held: Claim
    row: DeliveryRow
    study_id: str
    destination: Destination | None


def delivery_failed(claimed: ClaimedDelivery, error: Exception) -> bool:
    """Tried again, less and less often; what is refused for good, or was tried for too long, is set aside.

    Says whether it was set aside.
    """
    now = claimed.context.clock()
    try:
        with claimed.context.ledger.write() as connection:
            _count_for_breaker(claimed, connection, error, now)
            final = _write_failure(claimed, connection, error, now)
    except LeaseLost:
        return False
    except TryLater as away:
        # The lease runs out, and the sweep brings the delivery back.
        log.warning("delivery-not-written", delivery=claimed.held.id, code=away.code)
        return False
    log.warning(
        "delivery-failed" if final else "delivery-retry",
        study=claimed.study_id,
        delivery=claimed.held.id,
        destination=claimed.row.destination,
        code=code_of(error),
        attempt=claimed.held.attempt,
        at=where_in_our_code(error),
    )
    return final


def _count_for_breaker(claimed: ClaimedDelivery, connection: sa.Connection, error: Exception, now: float) -> None:
    # Whether the archive answers is not known where its result could not be fetched.
    if claimed.destination is None or not isinstance(error, AxradError) or isinstance(error, IntakeHostAway):
        return
    if isinstance(error, PeerUnreachable):
        ledger_deliveries.destination_failed(connection, claimed.destination, sentence_of(error), now, _jitter())
    elif not isinstance(error, TryLater) or isinstance(error, ObjectNotTaken):
        ledger_deliveries.destination_answered(connection, claimed.row.destination, now)


def _write_failure(claimed: ClaimedDelivery, connection: sa.Connection, error: Exception, now: float) -> bool:
    row = the_row(connection, DeliveryRow, claimed.held.id)
    given_up = ledger_deliveries.why_given_up(row, claimed.destination, now) if claimed.destination else ""
    final = bool(given_up) or (isinstance(error, AxradError) and not isinstance(error, TryLater))
    reason = f"{given_up}: {sentence_of(error)}" if given_up else sentence_of(error)
    if final:
        release(connection, claimed.held, {"reason": reason, "finished_at": now}, state="failed")
    else:
        state = _state_to_try_from(claimed, connection, row, error)
        release(connection, claimed.held, {"reason": reason, "next_attempt_at": now + _pause_s(claimed)}, state=state)
    kind = "delivery-failed" if final else "delivery-retry"
    detail = f"{claimed.row.destination}: {code_of(error)}: {reason}"
    note(connection, now, kind, detail, claimed.study_id, claimed.row.revision_id)
    return final


def _state_to_try_from(claimed: ClaimedDelivery, connection: sa.Connection, row: DeliveryRow, error: Exception) -> str:
    """`stored`: only the proof is missing. `pending`: something is to be sent."""
    if row.stored_at is None:
        return "pending"
    if isinstance(error, proof.NotReadBack) and row.proof_asks >= LOOKS:
        ledger_deliveries.forget_objects(connection, row.id)
        update(connection, claimed.held, {"stored_at": None})
        return "pending"
    return "stored"


def _pause_s(claimed: ClaimedDelivery) -> float:
    most = claimed.destination.backoff_max_s if claimed.destination is not None else 3600.0
    return min(backoff_s(claimed.context.settings.work.backoff_s, claimed.held.attempt), most) * _jitter()


def _jitter() -> float:
    """Between half and one and a half: deliveries that failed together are not tried together."""
    return random.uniform(0.5, 1.5)
