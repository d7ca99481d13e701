"""The judgement. The key of an exam is the study of the images that the ROIs refer to.

An exam is ready when a signature in use can answer with what has arrived, the ROIs that `assembly.require_rois` names
are here with every image that they refer to, and nothing of it is still arriving. That is so when no association brings
it and the archives have no more of any of its series (then `settle_s` of quiet are enough), or nothing came for
`quiet_s`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from config.schema import Assembly, Settings
from daemon.assembly.answers import EVERYTHING, InUse
from daemon.assembly.basis import all_inputs, basis_of, images_by_sequence
from daemon.assembly.corrected_patient import (
    CODE,
    Correction,
    correction_of,
    is_confirmed,
    is_open,
    with_accepted_identity,
)
from daemon.assembly.duplicates import without_duplicates
from daemon.assembly.identity import DIFFERS_FROM_PACS, identity_objection
from daemon.assembly.missing import find_missing, preferred_in_words
from daemon.assembly.proposing import STILL_MISSING, proposing, with_waiting_proposal, without_unconfirmed
from daemon.assembly.records import Answer, Arrived, Stored, Verdict
from daemon.assembly.requirements import Requirements, requirements, what_is_there
from daemon.assembly.rois import newest_rois, recognise, unreadable_rois
from pipeline.analysis.body_part import elsewhere, exam_rules
from pipeline.catalog import Exam, FrameRef, exam_of
from pipeline.records import Sequence as SequenceName
from pipeline.roi.rules import load_rules
from pipeline.sequences import match

DAY_S = 86400.0
NO_REASON = ""
# An open association counts as arriving for this long after its last C-STORE: some peers never close theirs.
SENDING_S = 60.0
# How long to wait until data sets under one UID are compared.
COMPARING_S = 60.0
NOT_COMPARED = "images came again with other data and could not be compared in time; the first was kept"
ASKED_IN_VAIN = "the archive did not say what it has of this exam and whose it is"


def judge(exam: Arrived, now: float, settings: Settings, in_use: InUse = EVERYTHING) -> Verdict:
    """What to do with this exam now, and under whose identity; `in_use`: the signatures that may answer."""
    correction = correction_of(exam.stored)
    follows = settings.assembly.follow_corrections
    if correction is not None and follows and is_open(correction, exam) and is_confirmed(correction, exam):
        exam = replace(exam, identity=correction.key)
    verdict = _judged(without_unconfirmed(exam), correction, now, settings, in_use)
    preliminary = with_waiting_proposal(exam, verdict, settings.proposal)
    if preliminary is not None:
        of_proposal = _judged(preliminary, correction, now, settings, in_use)
        if of_proposal.state == "ready":
            words = f"the result is preliminary: {verdict.reason.partition(STILL_MISSING)[0]}"
            verdict = replace(of_proposal, flagged="; ".join(filter(None, (words, of_proposal.flagged))))
    if verdict.state == "assembling":
        verdict = replace(verdict, answerable_since=exam.answerable_since)
    corrected = correction.key if correction is not None and is_open(correction, exam) else None
    return replace(verdict, corrected=corrected, identity=exam.identity)


def _judged(exam: Arrived, correction: Correction | None, now: float, settings: Settings, in_use: InUse) -> Verdict:
    wait = settings.assembly
    counted, flagged = without_duplicates(exam.stored, settings.intake.on_conflict, exam.identity)
    if correction is not None and correction.key == exam.identity:
        exam = with_accepted_identity(exam, counted, correction)
    doubt = identity_objection(exam, counted)
    if correction is not None and is_open(correction, exam):
        flagged = "; ".join(filter(None, (flagged, correction.phrase)))
        if doubt is not None and doubt[0] == DIFFERS_FROM_PACS:
            doubt = CODE, f"{correction.phrase}, which is the one in the archive"
    if doubt is not None:
        return Verdict("held", *doubt, flagged=flagged)
    settled_at = exam.last_arrival_at + min(wait.settle_s, wait.quiet_s)
    if now < settled_at:
        return replace(settling_verdict(exam.last_arrival_at, wait), flagged=flagged)
    arriving_until = _arriving_until(exam, wait.max_wait_s)
    if now < arriving_until:
        reason = "the association that brings it is still open and may bring more of it"
        return Verdict("assembling", "arriving", reason, arriving_until, flagged=flagged)
    if exam.comparing_since is not None:
        if now < exam.comparing_since + COMPARING_S:
            reason = "an image came again with other data and is compared with the one that is here"
            return Verdict("assembling", "comparing", reason, exam.comparing_since + COMPARING_S, flagged=flagged)
        flagged = "; ".join(filter(None, (flagged, NOT_COMPARED)))
    if exam.role == "prior" or is_prior(exam, counted, wait.max_age_days):
        return Verdict("expired", "prior", "a prior exam: kept, not reported", role="prior", flagged=flagged)
    counting = newest_rois(counted)
    content = replace(exam_of(exam.study_uid, [s.facts for s in counting]), choices=exam.choices)
    why_not = _not_ours(exam, content, settings)
    if why_not:
        return Verdict("not_ours", "other-body-part", why_not, flagged=flagged)
    flagged = "; ".join(filter(None, (flagged, unreadable_rois(counted))))
    asks, in_vain = _archive_question(exam, counting, settled_at, now, settings)
    if asks:
        reason = "an archive is asked whether it has more of it"
        return Verdict("assembling", "asking", reason, settled_at + wait.ask_patience_s, flagged=flagged, ask=True)
    if in_vain:
        flagged = "; ".join(filter(None, (flagged, ASKED_IN_VAIN)))
    quiet_at, whole = exam.last_arrival_at + wait.quiet_s, _archives_have_no_more(exam, counted)
    if now < quiet_at and not whole:
        reason = f"more of it may come until nothing has come for {wait.quiet_s:g} s"
        return Verdict("assembling", "quiet", reason, quiet_at, flagged=flagged)
    return replace(_complete_or_not(exam, content, counting, now, settings, in_use, whole=whole), flagged=flagged)


def _not_ours(exam: Arrived, content: Exam, settings: Settings) -> str | None:
    """Why this is an exam of another part of the body; None if it is not. It is neither awaited nor fetched."""
    if exam.taken_as_ours:
        return None
    rules = load_rules(settings.roi.rules)
    drawn = [r for roi in content.rois for segment in roi.segments if (r := recognise(roi, segment, rules).role)]
    return elsewhere(content, exam_rules(settings.assembly.exam_rules), drawn)


def _complete_or_not(
    exam: Arrived, content: Exam, counting: list[Stored], now: float, settings: Settings, in_use: InUse, *, whole: bool
) -> Verdict:
    """`whole`: the archives have nothing of this exam that is not here."""
    phase = in_use.phase or settings.sequences.phase
    matched = match(content, settings.sequences.model_copy(update={"phase": phase}), brightness=_unseen)
    images = images_by_sequence(content, matched, phase)
    inputs = all_inputs(content, images)
    present = what_is_there(content, matched, settings)
    needed = requirements(present, in_use.signatures, settings.assembly)
    missing, wanted = find_missing(exam, content, matched, counting, inputs, needed, settings)
    if not in_use.signatures:
        missing.insert(0, f"an active signature ({in_use.trouble or 'none is active'})")
    digests = {s.facts.ref.sop_instance_uid: s.digest for s in counting}
    rules = load_rules(settings.roi.rules)
    verdict = Verdict(
        "waiting",
        "incomplete" if in_use.signatures else "no-signature",
        due_at=exam.last_arrival_at + settings.assembly.give_up_days * DAY_S,
        inputs=tuple(sorted((uid, digests[uid]) for uid in inputs)),
        context=tuple(sorted(s.id for s in counting)),
        wanted=wanted,
        basis=basis_of(content, images, present.available, needed.asked, in_use.signatures, counting, rules),
        lacked=needed.lacked,
    )
    if missing:
        waiting = _waiting(verdict, missing, exam, now, settings.assembly)
        return proposing(waiting, exam, content, counting, needed.missing, now, settings.proposal)
    since = min(exam.last_arrival_at if exam.answerable_since is None else exam.answerable_since, now)
    verdict = replace(verdict, answerable_since=since)
    until = _preferred_until(needed, since, settings.assembly, whole=whole)
    if now < until:
        better = preferred_in_words(content, matched, needed)
        reason = f"{'; '.join(better)}, which a better answer would read; it is reported without from then on"
        reason = "; ".join(filter(None, (reason, exam.fetching)))
        return replace(verdict, code="preferred", reason=reason, due_at=until)
    return replace(verdict, state="ready", code=NO_REASON, due_at=None, wanted=())


def _waiting(verdict: Verdict, missing: Sequence[str], exam: Arrived, now: float, wait: Assembly) -> Verdict:
    """It waits for what is missing, or nothing came for too long."""
    if verdict.due_at is not None and now >= verdict.due_at:
        reason = f"nothing came for {wait.give_up_days:g} days; still missing: {'; '.join(missing)}"
        return Verdict("expired", "gave-up", reason, lacked=verdict.lacked)
    return replace(verdict, reason="; ".join((*missing, *filter(None, (exam.fetching,)))))


def _preferred_until(needed: Requirements, since: float, wait: Assembly, *, whole: bool) -> float:
    """Until when to wait for what a better answer would read. Readers draw regions when they like: an archive that has
    no more ends the wait for sequences alone.
    """
    sequences = since + wait.prefer_complete_s if needed.preferred_sequences and not whole else since
    regions = since + (wait.prefer_regions_s or 0.0) if needed.preferred_regions else since
    return max(sequences, regions)


def why_not_chosen(exam: Arrived, name: SequenceName, settings: Settings, in_use: InUse = EVERYTHING) -> str | None:
    """Why the series that an operator chose for this sequence cannot be it, as far as headers tell; None: it can."""
    counted, _ = without_duplicates(exam.stored, settings.intake.on_conflict, exam.identity)
    content = replace(exam_of(exam.study_uid, [s.facts for s in newest_rois(counted)]), choices=exam.choices)
    phase = in_use.phase or settings.sequences.phase
    matched = match(content, settings.sequences.model_copy(update={"phase": phase}), brightness=_unseen)
    return None if name in matched.chosen else matched.absent[name].why


def settling_verdict(last_arrival_at: float, wait: Assembly) -> Verdict:
    """The verdict on an exam whose last instance came a moment ago."""
    settled_at = last_arrival_at + min(wait.settle_s, wait.quiet_s)
    return Verdict("assembling", "settling", "its last image has only just come", settled_at)


def too_many_verdict(what: str) -> Verdict:
    """The verdict on an exam that has more of `what` than may be judged."""
    reason = f"it has more than {what}, and was not looked at"
    return Verdict("held", "too-many-instances", reason)


def _arriving_until(exam: Arrived, max_wait_s: float) -> float:
    """Until when to wait for an open association, by our own clock."""
    if exam.sending_at is None:
        return 0.0
    return min(exam.sending_at + SENDING_S, exam.last_arrival_at + max_wait_s)


def _unseen(_frames: tuple[FrameRef, ...]) -> float:
    """Judging reads no pixels: the analysis determines which phase is the brightest."""
    return 0.0


def input_digest(inputs: Sequence[tuple[str, str]], redo: int = 0) -> str:
    """The identity of a revision. `redo` makes the same inputs count as new when an operator asks for it."""
    text = json.dumps([list(pair) for pair in inputs] + ([redo] if redo else []))
    return hashlib.sha256(text.encode()).hexdigest()


def _archive_question(
    exam: Arrived, counting: Sequence[Stored], settled_at: float, now: float, settings: Settings
) -> tuple[bool, bool]:
    """Whether to ask the archives now, and whether they were asked and did not answer in time.

    They are asked only about exams that have ROIs or measurements: others are not going to be reported.
    """
    archives = {p.name for p in settings.pacs if "find" in p.can}
    answered = {a.pacs for a in exam.answers if a.asked_at >= exam.last_arrival_at}
    if not archives - answered or not any(s.facts.is_roi or s.facts.measures for s in counting):
        return False, False
    waiting = now < settled_at + settings.assembly.ask_patience_s
    return waiting, not waiting


def _archives_have_no_more(exam: Arrived, counted: Sequence[Stored]) -> bool:
    """Whether an archive knows this exam and has no image, ROI or registration of it that is not here."""
    received: dict[str, int] = {}
    for item in counted:
        received[item.facts.ref.series_uid] = received.get(item.facts.ref.series_uid, 0) + 1
    fresh = [a for a in exam.answers if a.asked_at >= exam.last_arrival_at and a.series]
    return bool(fresh) and all(_has_no_more(answer, received) for answer in fresh)


def _has_no_more(answer: Answer, received: dict[str, int]) -> bool:
    return all(
        number is not None and received.get(uid, 0) >= number
        for uid, modality, number in answer.series
        if modality in ("MR", "SEG", "RTSTRUCT", "REG")
    )


def is_prior(exam: Arrived, stored: Sequence[Stored], max_age_days: float | None) -> bool:
    """Whether the exam was older than the limit when its first instance came: somebody sends old exams."""
    dates = [d for s in stored if s.facts.is_image and isinstance(d := s.facts.tags.get("StudyDate"), str)]
    if max_age_days is None or not dates or exam.role != "current":
        return False
    try:
        taken = datetime.strptime(min(dates)[:8], "%Y%m%d").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return False
    return exam.first_arrival_at - taken > max_age_days * DAY_S
