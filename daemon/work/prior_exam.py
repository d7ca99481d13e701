"""The earlier exam of the same patient, where the ledger has one with a result."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
import structlog
from pydantic import ValidationError

from daemon.ledger.packed_exams import packed_rows
from daemon.ledger.states import AT_DESTINATION, FINISHED
from daemon.ledger.studies import newest_revision
from daemon.ledger.tables import deliveries, instances, studies
from daemon.work.context import Context
from dicom_sr.report_classes import taken_report
from dicom_sr.report_source import read_header, reference
from pipeline.catalog import MR_CLASSES
from pipeline.prior.comparison import change_since
from pipeline.records import InstanceRef
from pipeline.result import Change, StudyResult

log = structlog.get_logger("axrad.prior")


@dataclass(frozen=True, slots=True)
class Prior:
    """The newest result of the latest earlier exam. `report`: its SR, where a reader may have it."""

    result: StudyResult
    study_date: str
    report: InstanceRef | None


def with_change(context: Context, result: StudyResult, study_id: str, patient_key: str, study_date: str) -> StudyResult:
    """`result`, with what changed since the patient's earlier exam if there is one."""
    prior = find_prior(context, study_id, patient_key, study_date)
    if prior is None or not any(part.rois for _, part in result.parts()):
        return result
    return result.model_copy(update={"change": _compare(prior, result)})


def _compare(prior: Prior, result: StudyResult) -> Change:
    return change_since(prior.result, result, prior.study_date, [prior.report] if prior.report else [])


def find_prior(context: Context, study_id: str, patient_key: str, study_date: str) -> Prior | None:
    """Same patient, another study, an earlier Study Date (DICOM DA), measured: the latest of them."""
    with context.ledger.read() as connection:
        other_studies = connection.execute(
            sa.select(studies.c.id, studies.c.study_uid).where(
                studies.c.patient_key == patient_key, studies.c.id != study_id
            )
        ).all()
        dated = [
            (date, other.id) for other in other_studies if (date := _date_of(connection, other.study_uid, patient_key))
        ]
        earlier = sorted((pair for pair in dated if pair[0] < study_date), reverse=True)
        newest = {other_id: newest_revision(connection, other_id, FINISHED) for _, other_id in earlier}
    for date, other_id in earlier:
        revision = newest[other_id]
        result = None if revision is None else _result(context, revision.id)
        if revision is not None and result is not None:
            return Prior(result, date, _report(context, revision.id))
    return None


def _date_of(connection: sa.Connection, study_uid: str, patient_key: str) -> str:
    """Study Date of an exam all of whose images are of this patient; else empty."""
    packed = [row for row in packed_rows(connection, study_uid) if row.sop_class in MR_CLASSES]
    if any(row.patient_key != patient_key for row in packed):
        return ""
    images = sa.select(instances).where(instances.c.exam_uid == study_uid, instances.c.sop_class.in_(MR_CLASSES))
    if connection.execute(images.where(instances.c.patient_key != patient_key).limit(1)).first() is not None:
        return ""
    one = packed[0] if packed else connection.execute(images.limit(1)).first()
    date = one.facts.get("tags", {}).get("StudyDate") if one is not None else None
    return date if isinstance(date, str) and len(date) == 8 and date.isdigit() else ""


def _result(context: Context, revision_id: str) -> StudyResult | None:
    """The result, if it is still kept and has regions that a reader stands for."""
    path = context.files.get(revision_id, "result.json")
    if path is None:
        return None
    try:
        result = StudyResult.from_json(path.read_bytes())
    except ValidationError:
        log.warning("prior-not-readable", revision=revision_id)
        return None
    return result if any(part.rois for _, part in result.parts()) and not result.preliminary else None


def _report(context: Context, revision_id: str) -> InstanceRef | None:
    with context.ledger.read() as connection:
        sent = connection.execute(
            sa.select(deliveries.c.objects)
            .where(deliveries.c.revision_id == revision_id, deliveries.c.state.in_(AT_DESTINATION))
            .limit(1)
        ).first()
    report = taken_report(sent.objects) or "sr" if sent is not None else ""
    path = context.files.get(revision_id, f"{report}.dcm") if report else None
    return reference(read_header(path)) if path is not None else None
