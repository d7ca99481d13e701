"""What an exam is made of, as its page shows it: series and what they were taken for, regions, the newest result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import sqlalchemy as sa
import structlog

from config.schema import Settings
from daemon.ledger import Ledger, proposals
from daemon.ledger.rows import ProposalRow, StudyRow
from daemon.ledger.spools import home_in
from daemon.ledger.studies import find
from daemon.ledger.tables import instances, revisions
from daemon.ledger.verdicts import TooLarge, stored_of
from daemon.share.spool_files import files_of
from daemon.work.acceptance import FILE
from pipeline.catalog import Exam, Selection, exam_of
from pipeline.errors import ExamRejected, InputRejected
from pipeline.records import SEQUENCES
from pipeline.result import StudyResult
from pipeline.sequences import match
from pipeline.sequences.evidence import Evidence
from pipeline.sequences.slices import Slice

log = structlog.get_logger("axrad.console")


@dataclass(frozen=True)
class ShownSeries:
    """One series. `number`: its place in the contact sheet, from 1; `chosen`: as which sequence, "": as none."""

    number: int
    uid: str
    series_number: str
    name: str
    label: str
    confidence: float
    why: str
    chosen: str
    phase: str
    slices: tuple[Slice, ...]
    selection: Selection | None


@dataclass(frozen=True)
class ExamContent:
    """`reasons`: why a sequence was not chosen. `too_large`: the exam has more than may be looked at."""

    exam: Exam
    series: tuple[ShownSeries, ...]
    reasons: tuple[str, ...] = ()
    too_large: str = ""

    def numbered(self, number: int) -> ShownSeries:
        """Raises InputRejected where there is no such series."""
        if not 1 <= number <= len(self.series):
            raise InputRejected(f"this exam has {len(self.series)} series", code="no-such-series")
        return self.series[number - 1]


def study_named(ledger: Ledger, name: str) -> StudyRow:
    """Raises InputRejected where the ledger does not know it."""
    with ledger.read() as connection:
        row = find(connection, name)
    if row is None:
        raise InputRejected("the ledger knows no such exam", code="no-such-study")
    return row


def content_of(settings: Settings, ledger: Ledger, study: StudyRow) -> ExamContent:
    """From the facts in the ledger; no file is opened."""
    try:
        with ledger.read() as connection:
            stored = stored_of(connection, study.study_uid, settings.assembly.max_instances)
            paths: dict[int, str] = {
                row.id: row.path
                for row in connection.execute(
                    sa.select(instances.c.id, instances.c.path).where(
                        instances.c.exam_uid == study.study_uid, instances.c.state == "stored"
                    )
                )
            }
    except TooLarge as error:
        return ExamContent(Exam(study.study_uid, ()), (), too_large=error.what)
    root = settings.spool.path
    facts = [replace(s.facts, path=root / paths[s.id] if s.id in paths else None) for s in stored]
    exam = replace(exam_of(study.study_uid, facts), choices=study.chosen_series or {})
    try:
        matched = match(exam, settings.sequences, lambda _: 0.0)
    except ExamRejected as error:
        return ExamContent(exam, (), (error.message,))
    chosen = {selection.series_uid: (name, selection) for name, selection in matched.chosen.items()}
    labels = {label.series_uid: label for label in matched.labels}
    ordered = sorted(exam.series, key=lambda s: (Evidence(s).series_number, s.series_uid))
    shown = []
    for number, series in enumerate(ordered, 1):
        evidence, label = Evidence(series), labels[series.series_uid]
        name, selection = chosen.get(series.series_uid, ("", None))
        slices = tuple(sorted(_wanted(evidence.slices, selection), key=_place))
        shown.append(
            ShownSeries(
                number, series.series_uid, f"{evidence.series_number:g}", evidence.name, label.label,
                label.confidence, label.why, name, (selection.phase or "") if selection else "", slices, selection,
            )
        )  # fmt: skip
    return ExamContent(exam, tuple(shown), matched.reasons)


def _wanted(slices: tuple[Slice, ...], selection: Selection | None) -> tuple[Slice, ...]:
    """Of a series that was chosen, the images that were; of another all."""
    if selection is None or not selection.frames:
        return slices
    wanted = {(f.instance.ref.sop_instance_uid, f.frame) for f in selection.frames}
    return tuple(s for s in slices if (s.frame.instance.ref.sop_instance_uid, s.frame.frame) in wanted) or slices


def _place(one: Slice) -> tuple[float, float]:
    return one.position_mm if one.position_mm is not None else 0.0, one.number


@dataclass(frozen=True)
class Results:
    """The newest result: its revision, what is in it, and its files by name. Nothing where there is none."""

    revision_id: str
    number: int
    result: StudyResult
    files: Mapping[str, Path]


RESULT_NAMES = ("result.json", "page.png", "page.pdf", "sr.dcm")


def results_of(settings: Settings, ledger: Ledger, study: StudyRow, number: int | None = None) -> Results | None:
    """Of the revision of this number; without one of the newest that has any."""
    which = revisions.c.study_id == study.id
    if number is not None:
        which &= revisions.c.number == number
    with ledger.read() as connection:
        rows = connection.execute(
            sa.select(revisions.c.id, revisions.c.number).where(which).order_by(revisions.c.number.desc())
        ).all()
    files = files_of(settings, home_in(ledger))
    for row in rows:
        path = files.get(row.id, "result.json")
        if path is not None:
            there = {name: file for name in RESULT_NAMES if (file := files.get(row.id, name)) is not None}
            try:
                return Results(row.id, row.number, StudyResult.from_json(path.read_bytes()), there)
            except (OSError, ValueError) as error:  # damaged, or of a later axrad: the exam's page is shown without it
                log.error("result-not-read", revision=row.id, error=type(error).__name__)
    return None


@dataclass(frozen=True)
class Waiting:
    """The newest proposal of regions. `open`: it, or one kind of region of it, waits for a reader; `path`: of its
    segmentation, where it is here.
    """

    row: ProposalRow
    words: str
    open: bool
    path: Path | None


def proposal_of(settings: Settings, ledger: Ledger, study: StudyRow) -> Waiting | None:
    with ledger.read() as connection:
        row = proposals.newest(connection, study.id)
    if row is None:
        return None
    path = files_of(settings, home_in(ledger)).get(row.id, FILE)
    return Waiting(row, proposals.in_words(row), proposals.is_open(row), path)


def first_region_series(content: ExamContent, results: Results | None) -> ShownSeries | None:
    """On which series regions are looked at: T1+C, else the first sequence that was chosen."""
    choices = {} if results is None else results.result.sequences
    wanted = [choices[name].series_uid for name in SEQUENCES if name in choices]
    by_uid = {series.uid: series for series in content.series if series.selection is not None}
    by_name = {series.chosen: series for series in by_uid.values()}
    of_result = next((by_uid[uid] for uid in wanted if uid in by_uid), None)
    return of_result or next((by_name[name] for name in SEQUENCES if name in by_name), None)
