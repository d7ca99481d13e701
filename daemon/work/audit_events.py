"""From rows of the ledger to the audit trail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import sqlalchemy as sa
import structlog

from config.schema import Settings
from daemon import audit
from daemon.export.association import Address
from daemon.ledger import Ledger
from daemon.ledger.rows import DeliveryRow, RevisionRow, StudyRow
from daemon.ledger.studies import study_id_of
from daemon.ledger.tables import instances, sent_objects, studies
from daemon.listener import own_probe
from daemon.network.health_title import HEALTH_AE_TITLE
from daemon.spool import Spool
from daemon.spool.journal import Entry, read_journal
from daemon.work.context import Context
from dicom_sr.report_source import read_header
from pipeline.errors import ExamRejected, TryLater

log = structlog.get_logger("axrad.index")
ROWS_PER_QUERY = 500


def association_indexed(settings: Settings, ledger: Ledger, spool: Spool, journal: str) -> None:
    """Everything of a finished association is in the ledger: say which studies it brought, and what was refused."""
    entries = list(read_journal(spool.root, journal))
    if not entries or _is_probe(spool, entries):
        return
    first = entries[0]
    who = (first.calling_ae, first.address)
    refused = Counter(e.reason or "unknown" for e in entries if e.event == "refused")
    stored_uids = {e.sop_instance_uid for e in entries if e.event in ("stored", "duplicate") and e.sop_instance_uid}
    new = any(e.event == "stored" for e in entries)
    with ledger.read() as connection:
        brought = list(_studies_of(connection, sorted(stored_uids), first.association))
    for study in (named(settings, ledger, one) for one in brought):
        audit.received(settings, study, *who, new=new)
        log.info(
            "received",
            association=first.association,
            calling_ae=first.calling_ae,
            study=study.study or None,
            study_uid=study.study_uid,
            instances=sum(study.sop_classes.values()),
        )
    if refused:
        audit.refused_instances(settings, first.association, *who, refused)


def named(settings: Settings, ledger: Ledger, study: audit.Study) -> audit.Study:
    """The study with its patient where `audit.patients` asks for it, as a header in the spool says; else as it was."""
    if not settings.audit.patients:
        return study
    with ledger.read() as connection:
        path = connection.execute(
            sa.select(instances.c.path)
            .where(
                instances.c.exam_uid == study.study_uid,
                instances.c.state == "stored",
                instances.c.spool == settings.spool.id,
            )
            .order_by(instances.c.id)
        ).scalars().first()  # fmt: skip
    if path is None:
        return study
    try:
        header = read_header(settings.spool.path / path)
    except (ExamRejected, OSError):
        return study
    return replace(study, patient_id=str(header.get("PatientID") or "").strip())


def _is_probe(spool: Spool, entries: Sequence[Entry]) -> bool:
    """Whether this was the health check of this installation: its AE title, and nothing but its own objects."""
    if entries[0].calling_ae != HEALTH_AE_TITLE:
        return False
    try:
        key = own_probe.key_of(spool.root)
    except OSError:
        return False
    return all(
        entry.event in ("opened", "closed")
        or (
            entry.event in ("stored", "duplicate") and own_probe.is_genuine(key, entry.sop_instance_uid or "", entry.ts)
        )
        for entry in entries
    )


def _studies_of(connection: sa.Connection, sop_uids: Sequence[str], association: str) -> Iterator[audit.Study]:
    """Instances of an association by the exam they belong to."""
    counted: dict[str, Counter[str]] = {}
    for start in range(0, len(sop_uids), ROWS_PER_QUERY):
        rows = connection.execute(
            sa.select(instances.c.exam_uid, instances.c.sop_class, instances.c.sop_uid)
            .where(instances.c.sop_uid.in_(sop_uids[start : start + ROWS_PER_QUERY]))
            .distinct()
        ).all()
        for row in rows:
            counted.setdefault(row.exam_uid, Counter())[row.sop_class] += 1
    for exam_uid, classes in sorted(counted.items()):
        study = study_id_of(connection, exam_uid)
        yield audit.Study(exam_uid, classes, study or "", association=association)


def exam_used(context: Context, study: StudyRow, revision: RevisionRow) -> None:
    """The instances of a revision were read."""
    ids = revision.inputs["context"]
    counted: Counter[str] = Counter()
    with context.ledger.read() as connection:
        for start in range(0, len(ids), ROWS_PER_QUERY):
            rows = connection.execute(
                sa.select(instances.c.sop_class, sa.func.count())
                .where(instances.c.id.in_(ids[start : start + ROWS_PER_QUERY]))
                .group_by(instances.c.sop_class)
            ).all()
            counted.update({row[0]: row[1] for row in rows})
    used = audit.Study(study.study_uid, counted, study.id, revision.id)
    audit.used(context.settings, named(context.settings, context.ledger, used))


def results_created(context: Context, study: StudyRow, revision_id: str, sop_classes: Sequence[str]) -> None:
    """Result objects were rendered."""
    created = audit.Study(study.study_uid, Counter(sop_classes), study.id, revision_id)
    audit.created(context.settings, named(context.settings, context.ledger, created))


def results_sent(context: Context, study_id: str, row: DeliveryRow, address: Address | None, why_not: str = "") -> None:
    """A delivery was sent, or not. `row`: of the delivery."""
    try:
        with context.ledger.read() as connection:
            study_uid = connection.execute(sa.select(studies.c.study_uid).where(studies.c.id == study_id)).scalar_one()
            classes = connection.execute(
                sa.select(sent_objects.c.sop_class_uid).where(sent_objects.c.delivery_id == row.id)
            ).scalars()
            study = audit.Study(study_uid, Counter(classes), study_id, row.revision_id)
        study = named(context.settings, context.ledger, study)
    except TryLater:
        log.error("audit-not-written", delivery=row.id)
        return
    ae_title, host = (address.ae_title, address.host) if address else (row.destination, "")
    audit.sent(context.settings, study, ae_title, host, why_not)
