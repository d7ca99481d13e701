"""`axrad.analyse`: from the files of a revision to `result.json` and the pictures of its page."""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa
import structlog

from daemon.clinical.exam import clinical_or_reasons, patient_of
from daemon.ledger.claims import Claim, LeaseLost, release, update
from daemon.ledger.engine import note
from daemon.ledger.proposals import settle
from daemon.ledger.rows import RevisionRow, StudyRow
from daemon.ledger.studies import move_study
from daemon.work.audit_events import exam_used
from daemon.work.context import Context, renewing_lease
from daemon.work.failure import TaskFailed, code_of, revision_failed
from daemon.work.prior_exam import with_change
from daemon.work.proposal_files import answered_by, is_rejected, proposals_of
from daemon.work.revision_claim import take_revision
from daemon.work.revision_exam import exam_of_revision
from daemon.work.signatures_that_answer import answer_given, signatures_in_use
from pipeline.analysis.signatures_in_use import Signatures
from pipeline.pictures import panels_to_bytes
from pipeline.result import StudyResult
from pipeline.roi.grid_regions import regions_to_bytes
from pipeline.run import Analysis, analyse

log = structlog.get_logger("axrad.analyse")
HANDED_ON_S = 10.0


def run(context: Context, revision_id: str) -> None:
    """Claim the revision, analyse it, keep the result. A second call for the same revision finds nothing to do."""

    def begin(connection: sa.Connection, held: Claim, study: StudyRow) -> None:
        update(connection, held, {"spool": context.settings.spool.id}, state="running")
        move_study(connection, study.id, "running", context.clock())
        note(connection, context.clock(), "started", f"attempt {held.attempt}", study.id, revision_id)

    taken = take_revision(context, revision_id, "analyse", begin)
    if taken is None:
        return
    held, row, study = taken
    in_use = signatures_in_use(context.settings.signature)
    try:
        with renewing_lease(context, held, lambda excess: revision_failed(context, held, study.id, excess)):
            analysis = _analyse(context, study, row)
            context.files.put(revision_id, "panels.npz", panels_to_bytes(analysis.panels))
            context.files.put(revision_id, "regions.npz", regions_to_bytes(analysis.regions))
            context.files.put(revision_id, "result.json", analysis.result.to_json().encode())
        proposal_id, becomes = answered_by(context, study.id, analysis.result)
        with context.ledger.write() as connection:
            if becomes:
                settle(connection, proposal_id, becomes, study.id, context.clock())
            columns = _handed_on(context.clock()) | {"answer": answer_given(row.answer, analysis.result, in_use)}
            release(connection, held, columns, state="running", stage="report")
            note(connection, context.clock(), "analysed", in_short(analysis.result), study.id, revision_id)
    except LeaseLost:
        log.warning("lease-lost", revision=revision_id)
        return
    except Exception as error:  # noqa: BLE001 - the outermost loop of this work
        final = revision_failed(context, held, study.id, error)
        raise TaskFailed(code_of(error), revision_id, final=final) from None
    result = analysis.result
    log.info(
        "analysed", study=study.id, revision=revision_id, status=result.status, seconds=result.timings_s.get("total")
    )
    context.announce("axrad.report", revision_id)


def in_short(result: StudyResult) -> str:
    """What `axrad show` says of an analysis: whether it was evaluated; what the exam lacked, and who answered so."""
    outcome, known = "; ".join(result.reasons) or result.status, dict(result.absent)
    for side, part in result.sides.items():
        known |= {f"{side} {name}": why for name, why in part.absent.items() if name not in result.absent}
    absent = "; ".join(f"{name}: {why}" for name, why in known.items() if why not in outcome)
    answered = dict.fromkeys(part.prediction.signature for _, part in result.parts() if part.prediction is not None)
    by = f" by {' and '.join(answered)}" if answered else ""
    return f"{outcome}{by}; absent: {absent}" if absent else outcome


def _handed_on(now: float) -> dict[str, object]:
    """Columns of a revision that is next to be reported: announced at once, by the sweep only if that is lost."""
    return {"attempts": 0, "next_attempt_at": now, "enqueued_until": now + HANDED_ON_S}


def _analyse(context: Context, study: StudyRow, row: RevisionRow) -> Analysis:
    """The science, with what is known of the patient beside this exam: clinical facts, and an earlier exam."""
    settings = context.settings
    exam, bring = exam_of_revision(context, study.study_uid, row.inputs)
    exam = replace(exam, proposals=proposals_of(context, study.id), rejected=is_rejected(context, study.id))
    exam_used(context, study, row)
    signatures = Signatures.from_settings(settings.signature)
    patient = patient_of(exam, bring)
    clinical = clinical_or_reasons(patient, signatures.clinical, settings.clinical)
    analysis = analyse(
        exam,
        settings,
        signatures,
        revision=row.number,
        input_digest=row.input_digest,
        clinical=clinical,
        bring=bring,
    )
    if patient is None or not patient.identity.patient_id or not patient.study_date:
        return analysis
    result = with_change(context, analysis.result, study.id, patient.key, patient.study_date)
    return replace(analysis, result=result)
