"""`axrad.propose`: regions from readers' measurements, or from the images alone, as one segmentation, sent to those who
ask for it.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pydicom
import sqlalchemy as sa
import structlog

from daemon.export.association import address_of
from daemon.export.send_outcome import items_of, require_stored
from daemon.export.transports import TRANSPORTS
from daemon.ledger import proposals as ledger_proposals
from daemon.ledger.claims import Claim, LeaseLost, backoff_s, claim, update
from daemon.ledger.proposal_words import answered, state_of
from daemon.ledger.proposals import Outcome, answered_in_spool
from daemon.ledger.rows import ProposalRow, StudyRow, the_row
from daemon.ledger.site_key import key_for
from daemon.ledger.tables import instances, proposals
from daemon.spool import Spool
from daemon.work.acceptance import FILE, good_segments, kinds_of, put_word
from daemon.work.context import Context, renewing_lease
from daemon.work.failure import TaskFailed, code_of, sentence_of, translated, where_in_our_code
from daemon.work.rejected_regions import without_rejected
from daemon.work.revision_exam import FilesGone, exam_of_revision
from dicom_sr.proposal_segmentation import is_demonstration, proposal_segmentation
from dicom_sr.report_source import ReportSource
from pipeline.catalog import Exam, InstanceFacts
from pipeline.errors import AxradError, ExamRejected, PeerUnreachable, TryLater
from pipeline.measurements import (
    REJECTED,
    MeasurementReport,
    Placed,
    ProposedRegions,
    placed_together,
    propose_regions,
    read_files,
    t1c_and_before,
)
from pipeline.proposal.from_images import propose_from_images
from pipeline.proposal.records import Labelled
from pipeline.records import Volume
from pipeline.roi.describe import of_facts
from pipeline.roi.roles import role_of, side_of
from pipeline.roi.rules import Rules, load_rules

log = structlog.get_logger("axrad.propose")
WHAT = "proposal"


def run(context: Context, proposal_id: str) -> None:
    """Claim, make unless it is made, send to whoever has not taken it. The study is judged again either way."""
    work = context.settings.work
    with context.ledger.write() as connection:
        now = context.clock()
        held = claim(connection, "proposal", proposal_id, context.owner, now, work.lease_s, work.attempts)
        if held is None:
            return
        if the_row(connection, ProposalRow, proposal_id).sop_uid is None:
            update(connection, held, {"spool": context.settings.spool.id})
        row = the_row(connection, ProposalRow, proposal_id)
        study = the_row(connection, StudyRow, row.study_id)
    try:
        if held.exhausted:
            raise TryLater(row.reason or "the worker died or ran out of time each time", code="given-up")
        with renewing_lease(context, held, lambda excess: _failed(context, held, study, excess)):
            outcome = _make_and_send(context, row, study)
        with context.ledger.write() as connection:
            ledger_proposals.finish(connection, held, study.id, outcome, context.clock())
    except LeaseLost:
        return
    except Exception as error:  # noqa: BLE001 - the outermost loop of this work
        final = _failed(context, held, study, error)
        raise TaskFailed(code_of(error), proposal_id, final=final) from None
    log.info("proposed", study=study.id, proposal=proposal_id, state=outcome.state)


def _make_and_send(context: Context, row: ProposalRow, study: StudyRow) -> Outcome:
    path = context.files.get(row.id, FILE)
    if path is None:
        made = _made(context, row, study)
        if isinstance(made, Outcome):
            return made
        context.files.put(row.id, FILE, made.data)
        path = context.files.get(row.id, FILE)
    assert path is not None
    (item,) = items_of([path])
    with context.ledger.write() as connection:
        # Written before it is sent: an archive may route it back at once.
        of_it = proposals.c.id == row.id
        connection.execute(proposals.update().where(of_it).values(sop_uid=item.sop_instance_uid))
        before = _taken_before(connection, study.id, item.sop_instance_uid)
        if _was_rejected(connection, study.id, item.sop_instance_uid):
            return Outcome("rejected", "the reader rejected these regions before")
        # The ledger may have been lost since.
        spoken = answered_in_spool(connection, item.sop_instance_uid)
        answers = answered({}, kinds_of(path, context.settings), *spoken, "a reader")
        if any(spoken):
            connection.execute(proposals.update().where(of_it).values(answers=answers))
    if any(spoken):
        # A reader has seen it, so it is where it was to go.
        return Outcome(state_of(answers), "the spool holds a reader's word on it")
    _put_for_preliminary_result(context, path)
    taken = list(dict.fromkeys([*before, *row.taken_by]))
    asking = [d for d in context.settings.destination if WHAT in d.what]
    wanting = [d for d in asking if d.allow_demonstration] if is_demonstration(path) else asking
    for destination in wanting:
        if destination.name in taken:
            continue
        address = address_of(destination, context.settings)
        sent = TRANSPORTS[destination.via].send(address, [item])
        require_stored(address, sent, by_status=True)
        taken.append(destination.name)
        with context.ledger.write() as connection:
            ledger_proposals.taken(connection, row.id, taken)
    if asking and not wanting:
        return Outcome("sent", "regions of a demonstration model go only where allow_demonstration = true")
    return Outcome("sent", "" if wanting else 'no [[destination]] has "proposal" in what')


def _put_for_preliminary_result(context: Context, proposal: Path) -> None:
    """Put what a preliminary result may be made of into the spool, where the settings ask for one."""
    settings = context.settings
    numbers = good_segments(proposal, settings) if settings.proposal.evaluate == "preliminary" else []
    if not numbers:
        return
    if settings.spool.remote:
        log.warning("no-preliminary-result", why="the spool is on another machine than this worker")
        return
    key = key_for(settings, context.ledger, context.clock())
    put_word(Spool(settings.spool.path), proposal, dict.fromkeys(numbers, ""), key.secret, "preliminary")


def _taken_before(connection: sa.Connection, study_id: str, sop_uid: str) -> list[str]:
    """Who took the same regions of an earlier proposal: equal regions have one UID, and are not sent again."""
    same = (proposals.c.study_id == study_id) & (proposals.c.sop_uid == sop_uid)
    rows = connection.execute(sa.select(proposals.c.taken_by).where(same)).scalars()
    return [name for names in rows for name in names]


@dataclass(frozen=True, slots=True)
class Made:
    """The segmentation of the regions that were proposed."""

    data: bytes

    @property
    def sop_uid(self) -> str:
        return str(pydicom.dcmread(io.BytesIO(self.data), specific_tags=["SOPInstanceUID"]).SOPInstanceUID)


def _was_rejected(connection: sa.Connection, study_id: str, sop_uid: str) -> bool:
    """Whether the reader rejected the same voxels: from the images alone, the same may be proposed again."""
    rows = ledger_proposals.rejected_of(connection, study_id)
    return any(row.sop_uid == sop_uid and row.state == "rejected" for row in rows)


def _made(context: Context, row: ProposalRow, study: StudyRow) -> Made | Outcome:
    exam, bring = exam_of_revision(context, study.study_uid, {"selected": [], "context": row.context})
    # Phases before and after contrast, what was measured and on which images: most of an exam.
    bring((*exam.images, *exam.measurements))
    if not exam.measurements:
        return _made_from_images(context, row, study, exam)
    regions, t1c = _from_measurements(context, row, study, exam)
    if not regions.regions:
        rejected = any(one.code == REJECTED for one in regions.not_used)
        return Outcome("rejected" if rejected else "empty", _why_nothing(regions))
    return _not_rejected(context, row, study, exam, t1c, regions.regions)


def _not_rejected(
    context: Context, row: ProposalRow, study: StudyRow, exam: Exam, t1c: Volume, regions: Sequence[Labelled]
) -> Made | Outcome:
    """The segmentation of those regions that no word in the spool is against."""
    made = Made(_segmentation(context, row, exam, t1c, regions))
    rest = without_rejected(context, study, regions, t1c, made.sop_uid)
    if not rest:
        return Outcome("rejected", "the spool holds a reader's word against these regions")
    return made if len(rest) == len(regions) else Made(_segmentation(context, row, exam, t1c, rest))


def _made_from_images(context: Context, row: ProposalRow, study: StudyRow, exam: Exam) -> Made | Outcome:
    rules = load_rules(context.settings.roi.rules)
    try:
        proposed = propose_from_images(exam, context.settings)
    except ExamRejected as error:
        return Outcome("empty", error.message)
    regions = [r for r in proposed.regions if not _is_drawn(r, exam, rules)]
    if not regions:
        return Outcome("empty", "; ".join(proposed.notes) or "what the images show is drawn already")
    return _not_rejected(context, row, study, exam, proposed.t1c, regions)


def _segmentation(context: Context, row: ProposalRow, exam: Exam, t1c: Volume, regions: Sequence[Labelled]) -> bytes:
    settings = context.settings
    began = datetime.fromtimestamp(row.created_at, tz=UTC).astimezone(ZoneInfo(settings.site.timezone))
    source = ReportSource.from_files(_file_of(exam.images, t1c), began=began)
    return proposal_segmentation(regions, t1c, source, settings)


def _from_measurements(
    context: Context, row: ProposalRow, study: StudyRow, exam: Exam
) -> tuple[ProposedRegions, Volume]:
    settings = context.settings
    files = [m.path for m in exam.measurements if m.path is not None]
    if len(files) < len(exam.measurements):
        raise FilesGone("measurements of this exam are no longer in the spool")
    t1c, pre = t1c_and_before(exam, settings.sequences)
    rules = load_rules(settings.roi.rules)
    # One object that cannot be read does not keep the others from being used.
    reports, unreadable = read_files(files, rules)
    for _, error in unreadable:
        log.warning("measurements-unreadable", study=study.id, proposal=row.id, code=error.code, uid=error.uid)
    rejected = _rejected(context, study, reports, t1c, exam)
    regions = propose_regions(reports, t1c, pre, exam.images, check_patient=False, rejected=rejected)
    return replace(regions, regions=tuple(r for r in regions.regions if not _is_drawn(r, exam, rules))), t1c


def _rejected(
    context: Context, study: StudyRow, reports: Sequence[MeasurementReport], t1c: Volume, exam: Exam
) -> tuple[Placed, ...]:
    """The measurements that proposals were made from which a reader rejected."""
    mine = instances.c.sop_uid.in_([r.source.sop_instance_uid for r in reports])
    with context.ledger.read() as connection:
        rows = ledger_proposals.rejected_of(connection, study.id)
        measured = connection.execute(sa.select(instances.c.id, instances.c.sop_uid).where(mine)).all()
    by_id = {row.id: row.sop_uid for row in measured}
    placed: list[Placed] = []
    for row in rows:
        uids = {by_id[n] for n in row.context if n in by_id}
        of_them = [r for r in reports if r.source.sop_instance_uid in uids]
        there = placed_together(of_them, t1c, exam.images, check_patient=False).placed
        kinds = {kind for kind, one in (row.answers or {}).items() if one["answer"] == "rejected"}
        placed += [p for p in there if not kinds or p.measurement.role in kinds]
    return tuple(placed)


def _is_drawn(region: Labelled, exam: Exam, rules: Rules) -> bool:
    """Whether somebody drew a region of this role and side, or of this role on a side that is not told."""
    described = [of_facts(roi, segment) for roi in exam.rois for segment in roi.segments]
    same = [d for d in described if role_of(d, rules).role == region.role]
    return any(len({side_of(d, rules)[0], region.side} - {None}) < 2 for d in same)


def _file_of(images: tuple[InstanceFacts, ...], t1c: Volume) -> Path:
    path = next((i.path for i in images if i.ref.series_uid == t1c.series_uid and i.path is not None), None)
    if path is None:
        raise FilesGone("images of this exam are no longer in the spool")
    return path


def _why_nothing(regions: ProposedRegions) -> str:
    if not regions.not_used:
        return "what was measured is drawn already"
    return "; ".join(dict.fromkeys(f"{one.label}: {one.why}" if one.label else one.why for one in regions.not_used))


def _failed(context: Context, held: Claim, study: StudyRow, error: Exception) -> bool:
    """Again after a while, until the attempts are used up; a destination that does not answer is no attempt."""
    now, work = context.clock(), context.settings.work
    error = translated(error)
    blameless = isinstance(error, PeerUnreachable) and not held.exhausted
    final = not blameless and (
        held.attempt >= work.attempts or (isinstance(error, AxradError) and not isinstance(error, TryLater))
    )
    try:
        with context.ledger.write() as connection:
            if final:
                ledger_proposals.finish(connection, held, study.id, Outcome("failed", sentence_of(error)), now)
            else:
                at = now + backoff_s(work.backoff_s, held.fence if blameless else held.attempt)
                attempts = held.attempt - 1 if blameless else held.attempt
                ledger_proposals.try_again(connection, held, study.id, sentence_of(error), at, attempts)
    except LeaseLost:
        return False
    log.warning("proposal-failed", study=study.id, code=code_of(error), final=final, at=where_in_our_code(error))
    return final
