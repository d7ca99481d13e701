"""What a journal's lines do to the ledger, one after another: the reference for `daemon.ledger.arrival_batches`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from daemon.ledger.instances import Arrival, record
from daemon.ledger.open_associations import associations_ended, still_arriving, still_sending


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a journal: something arrived over an association, or the association ended.

    `arrival`: None where the line brings nothing new. `sending`: the association has sent something just now.
    """

    association: str
    at: float
    arrival: Arrival | None = None
    sending: bool = False
    ended: bool = False


def take_one(connection: sa.Connection, step: Step) -> str | None:
    """The exam that something arrived of."""
    exam_uid = record(connection, step.arrival) if step.arrival is not None else None
    if exam_uid is not None:
        still_arriving(connection, step.association, exam_uid, step.at)
    elif step.sending:
        still_sending(connection, step.association, step.at)
    if step.ended:
        associations_ended(connection, [step.association])
    return exam_uid


def take_one_by_one(connection: sa.Connection, steps: Iterable[Step]) -> set[str]:
    """The exams that something arrived of."""
    return {exam for step in steps if (exam := take_one(connection, step)) is not None}
