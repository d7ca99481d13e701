"""A reader's word on proposed regions in a report of another system: it counts like `axrad accept` and `axrad reject`.

The report must be of the same study and patient, and say of each region of a kind whether it is right. What it leaves
open is an event of the study, which `axrad show` lists, and changes nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
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
from daemon.ledger.proposal_words import NAMES, KindAnswer
from daemon.ledger.proposals import Assessed, assessed_by, awaits_reader, in_words, is_open
from daemon.ledger.rows import InstanceRow, ProposalRow, StudyRow, the_row
from daemon.ledger.site_key import SiteKey
from daemon.ledger.spools import home_in
from daemon.ledger.states import ANSWERED_BY_WORD
from daemon.share.spool_files import files_of
from daemon.spool import Spool
from daemon.work import readers_word
from daemon.work.acceptance import FILE, good_segments, kinds_of
from daemon.work.audit_events import named
from pipeline.catalog import patient_key
from pipeline.dicom_file import bounded_reading
from pipeline.dicom_file.bounded_reading import MALFORMED
from pipeline.dicom_file.text_values import text_of
from pipeline.records import Role
from pipeline.roi.describe import describe
from pipeline.roi.roles import role_of, side_of
from pipeline.roi.rules import load_rules

NOTHING_WAITS = "no proposal waits for a reader's word"
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
    """`accepted`, `rejected`: numbers of segments, of kinds all of whose segments the report speaks of. `open`: what is
    left undecided, in words. `unclear`: labels of segments of kinds that it speaks of and does not tell whole.
    """

    accepted: tuple[int, ...] = ()
    rejected: tuple[int, ...] = ()
    unclear: Mapping[int, str] = field(default_factory=dict)
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
            path = files_of(self.settings, home_in(self.ledger), patient=False).get(one.row.id, FILE)
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
        """Take what was not said before of each kind of region; list what is left open, or was said otherwise."""
        listed = [self._why_not(ds, row, proposal) if allowed else MAY_NOT_SEND]
        if not listed[0]:
            before = readers_word.answers_on(self.ledger, proposal, kinds_of(path, self.settings))
            word = readers_word.Word(
                f"assessment {row.sop_uid}", frozenset(decision.accepted), frozenset(decision.rejected)
            )
            spool = Spool(self.settings.spool.path)
            taken = readers_word.give(self.ledger, spool, proposal, path, word, self.settings, self.key, now)
            if not taken:
                # Somebody else may have been quicker.
                with self.ledger.read() as connection:
                    proposal = the_row(connection, ProposalRow, proposal.id)
                before = readers_word.answers_on(self.ledger, proposal, kinds_of(path, self.settings))
            listed = [left_open(decision, before), contradicted(decision, before, proposal)]
            for answer in dict.fromkeys(taken.values()):
                self._tell("accept" if answer == "accepted" else "reject", row, proposal)
        for why in filter(None, listed):
            with self.ledger.write() as connection:
                note(connection, now, NOT_TAKEN, f"from {row.calling_ae}: {why}", proposal.study_id)

    def _tell(self, action: str, row: InstanceRow, proposal: ProposalRow) -> None:
        """Into the audit trail."""
        with self.ledger.read() as connection:
            study = the_row(connection, StudyRow, proposal.study_id)
        about = named(self.settings, self.ledger, audit.Study(study.study_uid, {}, study.id))
        audit.assessment_taken(self.settings, action, about, f"assessment {row.sop_uid} from {row.calling_ae}")

    def _why_not(self, ds: Dataset, row: InstanceRow, proposal: ProposalRow) -> str:
        """Why the report decides nothing, without names; empty if it may."""
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
        if awaits_reader(proposal) or proposal.state in ANSWERED_BY_WORD:
            return ""
        return f"{NOTHING_WAITS}: {in_words(proposal)}"


def decide(verdicts: dict[int, Verdict], segments: dict[int, _Segment]) -> Decision:
    """Of each kind all of whose segments are told: accept those agreed with; reject it where none is."""
    roles = {segment.role for segment in segments.values()}
    of_role = {role: {n: verdicts.get(n) for n, s in segments.items() if s.role == role} for role in roles}
    clear = {role for role, those in of_role.items() if set(those.values()) <= {"agree", "disagree"}}
    agreed = tuple(n for n, s in segments.items() if s.role in clear and verdicts[n] == "agree")
    against = {role for role in clear if "agree" not in of_role[role].values()}
    # A kind that it does not speak of waits for another word.
    half = [
        n
        for n, s in segments.items()
        if s.role not in clear and any(of_role[s.role].values()) and verdicts.get(n) not in ("agree", "disagree")
    ]
    return Decision(
        agreed,
        tuple(n for n, s in segments.items() if s.role in against),
        {n: segments[n].label for n in half},
    )


def left_open(decision: Decision, before: Mapping[str, KindAnswer]) -> str:
    """What it leaves open of the kinds of which nothing was said before, in words."""
    answered = {n for one in before.values() if one["answer"] for n in one["segments"]}
    labels = ", ".join(label for n, label in decision.unclear.items() if n not in answered)
    return decision.open or (f"it does not say clearly whether these are right: {labels}" if labels else "")


def contradicted(decision: Decision, before: Mapping[str, KindAnswer], proposal: ProposalRow) -> str:
    """In words, of which kinds it says something else than what was said before; empty: of none."""
    agreed, against = set(decision.accepted), set(decision.rejected)
    others = []
    for kind, one in before.items():
        now = set(one["segments"]) & agreed
        spoken = bool(now) or set(one["segments"]) <= against
        if one["answer"] and spoken and now != set(one["accepted"]):
            others.append(NAMES[kind])
    if not others:
        return ""
    return NOTHING_WAITS + (f" on {' and '.join(others)}" if is_open(proposal) else "") + f": {in_words(proposal)}"


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
