"""Rows of the ledger's tables as frozen records, and the one way to read them.

A record has the columns of its table, in the table's order; a test compares them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict, TypeVar

import sqlalchemy as sa

from daemon.assembly import RecordedAnswer
from daemon.ledger.proposal_words import KindAnswer
from daemon.ledger.tables import (
    breakers,
    deliveries,
    fetches,
    instances,
    pacs_answers,
    proposals,
    report_classes,
    revisions,
    sent_objects,
    signs_of_life,
    studies,
)
from pipeline.records import Sequence as SequenceName

# A JSON object: facts of a header, details of a sign of life, what is shown to people.
# Any: whatever JSON can hold.
JsonObject = dict[str, Any]


class Inputs(TypedDict):
    """What a revision was made of: [SOP Instance UID, digest] of what it measures, and ids of all that was judged.

    `chosen_series`: what an operator had chosen when it was made, by sequence; absent before there were such choices.
    """

    selected: list[list[str]]
    context: list[int]
    chosen_series: NotRequired[dict[SequenceName, str]]


@dataclass(frozen=True, slots=True)
class StudyRow:
    """One exam."""

    id: str
    study_uid: str
    role: str
    state: str
    reason: str
    reason_code: str
    patient_key: str
    identity_accepted: bool
    accepted_keys: list[str] | None
    identity_key: str | None
    corrected_key: str | None
    flagged: str
    first_arrival_at: float
    last_arrival_at: float
    changed_at: float
    dirty: bool
    due_at: float | None
    priority: int
    redo: int
    taken_as_ours: bool
    answerable_since: float | None
    lacked: str
    chosen_series: dict[SequenceName, str] | None
    key_id: str
    packed: bool


@dataclass(frozen=True, slots=True)
class RevisionRow:
    """One set of inputs of a study, and what became of it."""

    id: str
    study_id: str
    number: int
    input_digest: str
    inputs: Inputs
    state: str
    stage: str
    reason: str
    reason_code: str
    created_at: float
    finished_at: float | None
    owner: str | None
    lease_until: float | None
    fence: int
    attempts: int
    next_attempt_at: float
    enqueued_until: float | None
    answer: RecordedAnswer | None
    spool: str


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """One revision's result on its way to one destination."""

    id: str
    revision_id: str
    destination: str
    state: str
    objects: list[str]
    reason: str
    proof: str
    transaction_uid: str | None
    created_at: float
    tried_since: float | None
    stored_at: float | None
    proof_asks: int
    finished_at: float | None
    owner: str | None
    lease_until: float | None
    fence: int
    attempts: int
    next_attempt_at: float
    enqueued_until: float | None


@dataclass(frozen=True, slots=True)
class ProposalRow:
    """Regions proposed for a study, and what became of them."""

    id: str
    study_id: str
    digest: str
    context: list[int]
    state: str
    reason: str
    sop_uid: str | None
    taken_by: list[str]
    answers: dict[str, KindAnswer] | None
    created_at: float
    finished_at: float | None
    owner: str | None
    lease_until: float | None
    fence: int
    attempts: int
    next_attempt_at: float
    enqueued_until: float | None
    spool: str


@dataclass(frozen=True, slots=True)
class FetchRow:
    """What is asked of archives for a study, or fetched from them."""

    id: str
    study_id: str
    kind: str
    subject: str
    wanted: list[list[str]]
    state: str
    pacs: str
    reason: str
    created_at: float
    finished_at: float | None
    owner: str | None
    lease_until: float | None
    fence: int
    attempts: int
    next_attempt_at: float
    enqueued_until: float | None


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """One data set that came, and its file in the spool."""

    id: int
    sop_uid: str
    digest: str
    study_uid: str
    series_uid: str
    sop_class: str
    exam_uid: str
    patient_key: str
    path: str
    size: int
    received_at: float
    association: str
    calling_ae: str
    state: str
    note: str
    facts: JsonObject
    counts_as: str
    key_id: str
    spool: str


@dataclass(frozen=True, slots=True)
class SentObjectRow:
    """What a destination said of one object of a delivery."""

    delivery_id: str
    kind: str
    sop_class_uid: str
    sop_instance_uid: str
    coerced_uid: str | None
    status: int | None
    content: str
    at: float
    committed: bool | None


@dataclass(frozen=True, slots=True)
class ReportClassesRow:
    """Which classes of report a destination accepted."""

    destination: str
    address: str
    accepted: list[str]
    asked_at: float


@dataclass(frozen=True, slots=True)
class BreakerRow:
    """The circuit breaker of a destination."""

    destination: str
    failures: int
    open_until: float | None
    failing_since: float
    reason: str


@dataclass(frozen=True, slots=True)
class ArchiveAnswerRow:
    """What one archive said of an exam."""

    exam_uid: str
    pacs: str
    asked_at: float
    patient_key: str | None
    patient_id_key: str | None
    series: list[tuple[str, str, int | None]]
    key_id: str


@dataclass(frozen=True, slots=True)
class SignOfLifeRow:
    """The last sign of life of a worker, sweep or check."""

    name: str
    kind: str
    at: float
    detail: JsonObject


TABLES: dict[type, sa.Table] = {
    StudyRow: studies,
    RevisionRow: revisions,
    DeliveryRow: deliveries,
    FetchRow: fetches,
    ProposalRow: proposals,
    InstanceRow: instances,
    SentObjectRow: sent_objects,
    BreakerRow: breakers,
    ReportClassesRow: report_classes,
    ArchiveAnswerRow: pacs_answers,
    SignOfLifeRow: signs_of_life,
}
R = TypeVar("R")
Where = sa.ColumnElement[bool]


def rows_where(
    connection: sa.Connection,
    record: type[R],
    *where: Where,
    order_by: Sequence[sa.ColumnElement[Any]] = (),  # Any: columns of every type have an order
    limit: int | None = None,
) -> list[R]:
    """Every row of the record's table for which all of `where` holds."""
    query = sa.select(TABLES[record]).where(*where).order_by(*order_by).limit(limit)
    return [record(*row) for row in connection.execute(query)]


def row_where(connection: sa.Connection, record: type[R], *where: Where, lock: bool = False) -> R | None:
    """The one row for which `where` holds, or None. `lock`: until this transaction ends no other changes it."""
    query = sa.select(TABLES[record]).where(*where)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    return None if row is None else record(*row)


def the_row(connection: sa.Connection, record: type[R], row_id: str | int, *, lock: bool = False) -> R:
    """The row with this id. Raises NoResultFound if there is none."""
    row = row_where(connection, record, TABLES[record].c.id == row_id, lock=lock)
    if row is None:
        raise sa.exc.NoResultFound(f"there is no {record.__name__} {row_id}")
    return row
