"""Stores feedback together with the prediction that it is about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Protocol

import sqlalchemy as sa
import structlog

from config.schema import Settings
from config.schema.values import MAIN_SPOOL
from daemon.feedback.assessment import SR_CLASSES, Assessment, read_assessment
from daemon.feedback.pathology import Outcome
from daemon.feedback.verdicts import ResultOf, VerdictOf, results_in, store_verdict
from daemon.ledger import Ledger
from daemon.ledger.engine import note
from daemon.ledger.packed_exams import packed_rows
from daemon.ledger.rows import InstanceRow, rows_where
from daemon.ledger.site_key import SiteKey
from daemon.ledger.states import FINISHED, KNOWN_STATES, CountsAs
from daemon.ledger.studies import newest_revision
from daemon.ledger.tables import deliveries, feedback, instances, revisions, sent_objects, studies
from daemon.logs import place_of
from daemon.network.peer_rights import FEEDBACK, rights_of
from pipeline.errors import NotDicom, TryLater

log = structlog.get_logger("axrad.feedback")
READ = "read for feedback"
REGISTRY = "registry"
MAY_NOT_SEND = "its sender may not send feedback"
# The calling AE title of what `axrad ingest` took.
INGESTED = "INGEST"
OUTCOMES_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class StoredOutcomes:
    """How many outcomes of a table were stored. `unknown`: studies that are not in the ledger."""

    stored: int
    unknown: tuple[str, ...]


class TakesWords(Protocol):
    """Is handed each report of others once, before it is marked as read. Safe to repeat."""

    def take(self, report: Path, row: InstanceRow, allowed: bool, now: float) -> None:
        """`allowed`: whether its sender may send feedback."""


def collect(
    ledger: Ledger,
    spool_root: Path,
    now: float,
    settings: Settings | None = None,
    key: SiteKey | None = None,
    words: TakesWords | None = None,
    result_of: ResultOf | None = None,
) -> int:
    """Read every report of others that was not read yet; the number of verdicts that were stored. Safe to repeat.

    With `settings`, only reports of peers that may send feedback count. `key`: the site's, where the ledger has one.
    `words`: what a report says of proposed regions goes there. `result_of`: where results lie, if not all
    in this spool.
    """
    verdict_count, reports = 0, _Reports(spool_root, result_of or results_in(spool_root))
    while True:
        with ledger.read() as connection:
            rows = rows_where(
                connection,
                InstanceRow,
                instances.c.state == "ignored",
                instances.c.sop_class.in_(SR_CLASSES),
                instances.c.counts_as == CountsAs.OTHERS,
                instances.c.spool == (MAIN_SPOOL if settings is None else settings.spool.id),
                order_by=[instances.c.id],
                limit=OUTCOMES_AT_ONCE,
            )
        for row in rows:
            allowed = may_send(settings, row.calling_ae)
            verdict_count += _collect_one(ledger, reports, row, now, allowed, key, words)
        if len(rows) < OUTCOMES_AT_ONCE:
            return verdict_count


def may_send(settings: Settings | None, calling_ae: str) -> bool:
    """Whether this peer may send feedback. Always `axrad ingest`, and where no peers are listed."""
    if settings is None or not settings.peer:
        return True
    peers = [p for p in settings.peer if p.ae_title.strip() == calling_ae.strip()]
    return any(FEEDBACK in rights_of(p) for p in peers) or (not peers and calling_ae == INGESTED)


@dataclass(frozen=True, slots=True)
class _Reports:
    """Where reports of others lie, and the results that they are about."""

    root: Path
    result_of: ResultOf


def _collect_one(
    ledger: Ledger,
    reports: _Reports,
    row: InstanceRow,
    now: float,
    allowed: bool,
    key: SiteKey | None,
    words: TakesWords | None,
) -> int:
    """Read one report. It is marked as read even if that fails, so that it never holds up the indexer again."""
    try:
        if words is not None:
            words.take(reports.root / row.path, row, allowed, now)
        assessment = _read(reports.root / row.path)
        if assessment is not None and key is not None and row.key_id == key.id:
            assessment = replace(assessment, patient_id_key=key.keyed(assessment.patient_id_key))
        with ledger.write() as connection:
            _mark_read(connection, row.id)
            if assessment is None:
                return 0
            return _store_assessment(connection, reports.result_of, assessment, row, allowed, now)
    except TryLater:
        raise
    except Exception as error:  # noqa: BLE001 - outermost for one report
        log.error("feedback-not-kept", instance=row.id, error=type(error).__name__, at=place_of(error))
    with ledger.write() as connection:
        _mark_read(connection, row.id)
    return 0


def _mark_read(connection: sa.Connection, instance_id: int) -> None:
    connection.execute(
        instances.update().where(instances.c.id == instance_id).values(note=READ, counts_as=CountsAs.FEEDBACK)
    )


def _read(path: Path) -> Assessment | None:
    try:
        return read_assessment(path)
    except NotDicom as error:
        log.info("feedback-unreadable", code=error.code)
        return None


class OfPatient(Protocol):
    """A study, or a revision of one, with its patient."""

    @property
    def study_uid(self) -> str: ...

    @property
    def patient_key(self) -> str: ...


class _ReportedRevision(NamedTuple):
    """A revision whose report a reader has assessed, with its study."""

    id: str
    study_id: str
    number: int
    study_uid: str
    patient_key: str


def _store_assessment(
    connection: sa.Connection,
    result_of: ResultOf,
    assessment: Assessment,
    report_row: InstanceRow,
    allowed: bool,
    now: float,
) -> int:
    """Store the verdicts for each revision that the report is about; how many there are.

    `report_row`: the row of the report in `instances`.
    """
    kept_as = sa.func.coalesce(sent_objects.c.coerced_uid, sent_objects.c.sop_instance_uid)
    about = sorted(assessment.about)[:1000]
    rows = connection.execute(
        sa.select(revisions.c.id, revisions.c.study_id, revisions.c.number, studies.c.study_uid, studies.c.patient_key)
        .join(studies, studies.c.id == revisions.c.study_id)
        .join(deliveries, deliveries.c.revision_id == revisions.c.id)
        .join(sent_objects, sent_objects.c.delivery_id == deliveries.c.id)
        .where(sa.or_(sent_objects.c.sop_instance_uid.in_(about), kept_as.in_(about)))
        .order_by(revisions.c.number.desc())
    ).all()
    newest = {row.study_id: _ReportedRevision(*row) for row in reversed(rows)}
    verdict_count = 0
    for row in newest.values():
        reason = _reason_not_taken(connection, row, assessment, report_row) if allowed else MAY_NOT_SEND
        if reason:
            words = f"from {report_row.calling_ae}: {reason}"
            note(connection, now, "feedback-not-taken", words, row.study_id, row.id)
            continue
        _store_readers_verdicts(connection, result_of, row, assessment, report_row.calling_ae, now)
        verdict_count += len(assessment.verdicts)
    return verdict_count


def _store_readers_verdicts(
    connection: sa.Connection,
    result_of: ResultOf,
    row: _ReportedRevision,
    assessment: Assessment,
    calling_ae: str,
    now: float,
) -> None:
    """Store what a reader says of each side of this revision; what the same author said in the report before goes."""
    if assessment.replaces:
        connection.execute(
            feedback.delete().where(
                feedback.c.study_id == row.study_id,
                feedback.c.document.in_(sorted(assessment.replaces)[:1000]),
                feedback.c.author == assessment.author,
                feedback.c.calling_ae == calling_ae,
            )
        )
    author = {"author": assessment.author, "calling_ae": calling_ae}
    for side, verdict in assessment.verdicts.items():
        about = VerdictOf(row.study_id, row.id, "reader", assessment.document, side)
        store_verdict(connection, result_of, about, verdict, now, author)
    words = ", ".join(f"{side or 'exam'}: {verdict}" for side, verdict in sorted(assessment.verdicts.items()))
    note(connection, now, "feedback", f"a reader on revision {row.number}: {words}", row.study_id, row.id)


def _reason_not_taken(
    connection: sa.Connection, row: _ReportedRevision, assessment: Assessment, report_row: InstanceRow
) -> str:
    """Why a report does not count for a study, without names; empty if it does."""
    if report_row.study_uid != row.study_uid:
        return "it lies in another study"
    if not is_same_patient(connection, row, report_row.patient_key, assessment.patient_id_key):
        return "it names another patient"
    others = connection.execute(
        sa.select(feedback.c.id).where(
            feedback.c.study_id == row.study_id,
            feedback.c.source == "reader",
            feedback.c.document == assessment.document,
            sa.or_(feedback.c.author != assessment.author, feedback.c.calling_ae != report_row.calling_ae),
        )
    ).first()
    return "another author has said something under its UID" if others is not None else ""


def is_same_patient(connection: sa.Connection, row: OfPatient, full: str, alone: str) -> bool:
    """The same id, and not from two issuers. `full`, `alone`: digests of it with its issuer and without."""
    if full == row.patient_key:
        return True
    packed = (r.facts for r in packed_rows(connection, row.study_uid) if r.patient_key == row.patient_key)
    facts = (
        next(packed, None)
        or connection.execute(
            sa.select(instances.c.facts)
            .where(instances.c.exam_uid == row.study_uid, instances.c.patient_key == row.patient_key)
            .where(instances.c.state.in_(KNOWN_STATES))
            .limit(1)
        ).scalar_one_or_none()
    )
    without_issuer = ((facts or {}).get("tags") or {}).get("patient_id_key")
    told_issuer = (without_issuer is not None, full != alone)
    return not all(told_issuer) and alone == (without_issuer or row.patient_key)


def store_outcomes(
    connection: sa.Connection, result_of: ResultOf, outcomes: Iterable[Outcome], now: float
) -> StoredOutcomes:
    """Store outcomes of pathology; one that was stored before is replaced."""
    stored, unknown = 0, []
    for outcome in outcomes:
        study = connection.execute(
            sa.select(studies.c.id).where(sa.or_(studies.c.id == outcome.study, studies.c.study_uid == outcome.study))
        ).one_or_none()
        if study is None:
            unknown.append(outcome.study)
            continue
        revision = newest_revision(connection, study.id, FINISHED)
        about = VerdictOf(study.id, revision.id if revision is not None else None, "pathology", REGISTRY, outcome.side)
        store_verdict(connection, result_of, about, outcome.verdict, now)
        stored += 1
    return StoredOutcomes(stored, tuple(unknown))
