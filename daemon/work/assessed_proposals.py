"""A reader's word on proposed regions in a report of another system: it counts like `axrad accept` and `axrad reject`.

The report must be of the same study and patient, and say of each region of a kind whether it is right. What it leaves
open is an event of the study, which `axrad show` lists, and changes nothing.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from config.schema import Settings
from daemon import audit
from daemon.feedback.assessment import MAX_REPORT_BYTES, REFERRING, Verdict, references
from daemon.feedback.feedback_records import MAY_NOT_SEND, is_same_patient
from daemon.feedback.segment_verdicts import OurSegment, verdicts_on
from daemon.ledger import Ledger
from daemon.ledger.engine import note
from daemon.ledger.proposals import Assessed, assessed_by, awaits_reader, in_words
from daemon.ledger.rows import InstanceRow, ProposalRow, StudyRow, the_row
from daemon.ledger.site_key import SiteKey
from daemon.share.exam_files import files_of
from daemon.spool import Spool
from daemon.work import readers_word
from daemon.work.acceptance import FILE, accepted_and_open, good_segments
from daemon.work.audit_events import named
from pipeline.catalog import patient_key
from pipeline.dicom_file import bounded_reading
from pipeline.dicom_file.bounded_reading import MALFORMED
from pipeline.dicom_file.text_values import text_of
from pipeline.records import Role
from pipeline.roi.describe import describe
from pipeline.roi.roles import role_of, side_of
from pipeline.roi.rules import load_rules

SAID_ALREADY = "what it says was said before"
OF_THE_REPORT = "it does not agree with the preliminary report, and does not say whether its regions are right"
NO_SEGMENT = OurSegment("", None)
NOT_TAKEN = "assessment-not-taken"
MOST_REFERENCES = 1000


@dataclass(frozen=True, slots=True)
class _Segment:
    label: str
    role: Role | None
    ours: OurSegment


@dataclass(frozen=True, slots=True)
class Decision:
    """`accepted`: numbers of segments. `rejected`: the whole proposal is. `open`: what is left undecided, in words."""

    accepted: tuple[int, ...] = ()
    rejected: bool = False
    open: str = ""


@dataclass(frozen=True, slots=True)
class Words:
    """Takes what reports of others say of proposed regions."""

    ledger: Ledger
    settings: Settings
    key: SiteKey

    def take(self, report: Path, row: InstanceRow, allowed: bool, now: float) -> None:
        """Decide on each proposal that the report is about."""
        ds = _read(report)
        if ds is None:
            return
        about = sorted({uid for keyword in REFERRING for uid in references(ds.get(keyword))})[:MOST_REFERENCES]
        with self.ledger.read() as connection:
            assessed = assessed_by(connection, about)
        for one in assessed:
            path = files_of(self.settings).get(one.row.id, FILE)
            decision = self._decision(ds, one, path) if path is not None else None
            if path is not None and decision is not None:
                self._act(ds, row, one.row, path, decision, allowed, now)

    def _decision(self, ds: Dataset, one: Assessed, path: Path) -> Decision | None:
        """What the report says of the proposal; None: nothing."""
        segments = _segments(path, self.settings)
        ours = {number: segment.ours for number, segment in segments.items()}
        if not one.reports:
            verdicts = verdicts_on(ds, one.row.sop_uid or "", ours)
            return decide(verdicts, segments) if verdicts else None
        of_report = {v for uid in one.reports for v in verdicts_on(ds, uid, dict.fromkeys(ours, NO_SEGMENT)).values()}
        if of_report == {"agree"}:
            return Decision(tuple(good_segments(path, self.settings)))
        return Decision(open=OF_THE_REPORT) if of_report else None

    def _act(
        self,
        ds: Dataset,
        row: InstanceRow,
        proposal: ProposalRow,
        path: Path,
        decision: Decision,
        allowed: bool,
        now: float,
    ) -> None:
        why = self._why_not(ds, row, proposal, path, decision) if allowed else MAY_NOT_SEND
        spool, who = Spool(self.settings.spool.path), f"assessment {row.sop_uid}"
        if not why and decision.rejected:
            readers_word.reject(self.ledger, spool, proposal, path, who, self.settings, self.key, now)
            self._tell("reject", row, proposal)
        elif not why and decision.accepted:
            readers_word.accept(self.ledger, spool, proposal, path, who, decision.accepted, self.key, now)
            self._tell("accept", row, proposal)
        words = why or decision.open
        if words and words != SAID_ALREADY:
            with self.ledger.write() as connection:
                note(connection, now, NOT_TAKEN, f"from {row.calling_ae}: {words}", proposal.study_id)

    def _tell(self, action: str, row: InstanceRow, proposal: ProposalRow) -> None:
        """Into the audit trail."""
        with self.ledger.read() as connection:
            study = the_row(connection, StudyRow, proposal.study_id)
        about = named(self.settings, self.ledger, audit.Study(study.study_uid, {}, study.id))
        audit.assessment_taken(self.settings, action, about, f"assessment {row.sop_uid} from {row.calling_ae}")

    def _why_not(self, ds: Dataset, row: InstanceRow, proposal: ProposalRow, path: Path, decision: Decision) -> str:
        """Why the report decides nothing, without names; empty if it does."""
        alone = patient_key(text_of(ds, "PatientID"), "")
        alone = self.key.keyed(alone) if row.key_id == self.key.id else alone
        with self.ledger.read() as connection:
            study = the_row(connection, StudyRow, proposal.study_id)
            same_patient = is_same_patient(connection, study, row.patient_key, alone)
        if row.study_uid != study.study_uid:
            return "it lies in another study"
        if not same_patient:
            return "it names another patient"
        if str(ds.get("CompletionFlag") or "COMPLETE") != "COMPLETE":
            return "it is not complete"
        if awaits_reader(proposal):
            return ""
        if decision.rejected and proposal.state == "rejected":
            return SAID_ALREADY
        if decision.accepted and proposal.state == "accepted":
            return self._beyond(proposal, path, decision.accepted)
        return f"no proposal waits for a reader's word: {in_words(proposal)}"

    def _beyond(self, proposal: ProposalRow, path: Path, numbers: tuple[int, ...]) -> str:
        """What is agreed with and was not accepted when the proposal was, which happens once."""
        _, left = accepted_and_open(path, proposal.sop_uid, self.ledger, (), self.settings)
        labels = {d.number: d.label for d in describe(pydicom.dcmread(path, stop_before_pixels=True), path)}
        more = [labels[number] for number in numbers if labels[number] in left]
        return f"the proposal was accepted before, without {', '.join(more)}" if more else SAID_ALREADY


def decide(verdicts: dict[int, Verdict], segments: dict[int, _Segment]) -> Decision:
    """Reject where every segment is disagreed with; accept those agreed with of each kind all of which are told."""
    if all(verdicts.get(number) == "disagree" for number in segments):
        return Decision(rejected=True)
    untold = [number for number in segments if verdicts.get(number) not in ("agree", "disagree")]
    unclear = {segments[number].role for number in untold}
    agreed = tuple(n for n, s in segments.items() if verdicts.get(n) == "agree" and s.role not in unclear)
    words = ", ".join(segments[number].label for number in untold)
    left = f"it does not say clearly whether these are right: {words}" if untold else ""
    return Decision(agreed, open=left)


def _segments(path: Path, settings: Settings) -> dict[int, _Segment]:
    rules = load_rules(settings.roi.rules)
    described = describe(pydicom.dcmread(path, stop_before_pixels=True), path)
    return {
        d.number: _Segment(d.label, role_of(d, rules).role, OurSegment(d.tracking_uid or "", side_of(d, rules)[0]))
        for d in described
    }


def _read(report: Path) -> Dataset | None:
    try:
        if report.stat().st_size > MAX_REPORT_BYTES:
            return None
        with warnings.catch_warnings():
            # pydicom's warnings quote values, which may be a patient's.
            warnings.simplefilter("ignore")
            return bounded_reading.read(report, force=True)
    except MALFORMED:
        return None
