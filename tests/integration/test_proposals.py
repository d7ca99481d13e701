"""Measurements and no region: a proposal in the archive, a reader's word, a report."""

from __future__ import annotations

import contextlib
import io
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from config.schema import Ledger, Settings
from daemon.cli.accept import accept, reject
from daemon.cli.ledger import cancel, retry
from daemon.indexing.indexer import index_once
from daemon.indexing.reconcile import reconcile
from daemon.ledger import open_ledger, proposals, studies
from daemon.ledger.site_key import key_for
from daemon.ledger.tables import instances, revisions
from daemon.spool import JournalWriter, Spool
from daemon.work import analyse, propose, report
from daemon.work.context import Context
from daemon.work.failure import TaskFailed
from daemon.work.sweep import announce_due, assemble
from pipeline.catalog.own_mark import has_mark
from pipeline.errors import InputRejected
from pipeline.phantom import PhantomExam, PhantomSpec, write_exam
from pipeline.phantom.measurements import write_measurements
from pipeline.result import StudyResult
from tests.support.archives import COMPREHENSIVE_SR, SECONDARY_CAPTURE, Archive
from tests.support.archives import archive as running_archive

QUIET_S = 300.0
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
CLASSES = (COMPREHENSIVE_SR, SECONDARY_CAPTURE)
SETTINGS = """
[spool]
path = "{folder}/spool"
[audit]
path = "{folder}/audit.jsonl"
[proposal]
enabled = true
[features]
set = "signature"
[bias]
sequences = []
[signature]
allow_origins = ["measured"]
max_outside = 1.0
max_distance = 1e9
[[destination]]
name = "pacs"
ae_title = "ARCHIVE"
host = "127.0.0.1"
port = {port}
what = ["sr", "proposal"]
"""
SENT = "measurements are here, proposal sent, waits for confirmation"


@dataclass
class House:
    """One exam in a ledger, whose work is done step by step at a time of the test's own."""

    context: Context
    archive: Archive
    exam: PhantomExam
    measurements: Path
    config: Path
    later_s: float = 0.0
    announced: list[tuple[str, str]] = field(default_factory=list)

    def ingest(self, *paths: Path, ae: str = "VIEWER") -> None:
        settings, spool = self.context.settings, Spool(self.context.settings.spool.path)
        journal = JournalWriter(spool.journal, ae, "127.0.0.1")
        outcomes = [outcome for _, outcome in spool.ingest(paths, journal)]
        journal.close("released")
        assert not [o for o in outcomes if isinstance(o, Exception)]
        key = key_for(settings, self.context.ledger, self.context.clock())
        index_once(self.context.ledger, spool, self.context.clock(), settings, key)

    def pass_time(self, seconds: float) -> None:
        self.later_s += seconds

    def judge(self) -> Any:
        """Judge, do what is queued, and judge again; the study's row."""
        for _ in range(3):
            assemble(self.context)
            announce_due(self.context)
            for task, row in self.announced:
                if task == "axrad.propose":
                    with contextlib.suppress(TaskFailed):
                        propose.run(self.context, row)
            self.announced.clear()
        with self.context.ledger.read() as connection:
            return studies.find(connection, self.exam.study_uid)

    def report(self) -> StudyResult:
        """Of the newest revision."""
        with self.context.ledger.read() as connection:
            newest = sa.select(revisions.c.id).order_by(revisions.c.number.desc()).limit(1)
            revision = str(connection.execute(newest).scalar_one())
        analyse.run(self.context, revision)
        report.run(self.context, revision)
        return StudyResult.from_json((self.context.result_folder(revision) / "result.json").read_bytes())

    def proposals(self) -> list[pydicom.Dataset]:
        """What the archive was sent, in order."""
        sent = [pydicom.dcmread(io.BytesIO(data), force=True) for _, data in self.archive.received]
        return [ds for ds in sent if ds.Modality == "SEG" and has_mark(ds)]

    def copy_of_proposal(self, name: str, changed: bool = False) -> Path:
        """As a viewer saves it: other UIDs and maker, labels kept, nothing else that says what it was."""
        ds = pydicom.dcmread(io.BytesIO(self.archive.received[0][1]), force=True)
        with self.context.ledger.read() as connection:
            row = proposals.newest(connection, self.study_id())
        assert row is not None
        ds = pydicom.dcmread(self.context.result_folder(row.id) / "proposal.dcm")
        ds.remove_private_tags()
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"2.25.77{len(name)}"
        ds.SeriesInstanceUID, ds.Manufacturer = f"2.25.78{len(name)}", "Viewer"
        for segment in ds.SegmentSequence:
            for keyword in ("SegmentationAlgorithmIdentificationSequence", "TrackingID", "TrackingUID"):
                segment.pop(keyword, None)
            segment.SegmentAlgorithmType = "MANUAL"
        if changed:
            bits = np.frombuffer(ds.PixelData, np.uint8).copy()
            bits[: len(bits) // 2][bits[: len(bits) // 2] == 255] = 254
            assert bits.tobytes() != ds.PixelData
            ds.PixelData = bits.tobytes()
        path = self.measurements.with_name(f"{name}.dcm")
        ds.save_as(path, enforce_file_format=True)
        return path

    def study_id(self) -> str:
        with self.context.ledger.read() as connection:
            row = studies.find(connection, self.exam.study_uid)
        assert row is not None
        return row.id


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    exam = write_exam(tmp_path / "exam", PhantomSpec(seed=23, preset="small", laterality="L", with_seg=False))
    measurements = write_measurements(exam)
    with running_archive(classes=(*CLASSES, SEGMENTATION)) as archive:
        config = tmp_path / "axrad.toml"
        config.write_text(SETTINGS.format(folder=tmp_path, port=archive.port))
        document = tomllib.loads(config.read_text())
        settings = Settings.model_validate(document)
        made: list[House] = []
        context = Context(
            settings,
            open_ledger(settings),
            lambda: time.time() + made[0].later_s,
            lambda task, row: made[0].announced.append((task, row)) or True,
        )
        made.append(House(context, archive, exam, measurements, config))
        yield made[0]
        context.ledger.close()


def proposed(house: House) -> Any:
    house.ingest(*house.exam.paths, house.measurements)
    house.pass_time(200)
    assert house.judge().reason.startswith("measurements are here, regions are proposed when nothing has been measured")
    assert not house.archive.received
    house.pass_time(QUIET_S)
    return house.judge()


def test_a_proposal_is_sent_after_the_quiet_time_and_the_exam_waits_for_a_reader(house: House) -> None:
    study = proposed(house)
    assert (study.state, study.reason_code) == ("waiting", "measured")
    assert study.reason.startswith(SENT)
    (seg,) = house.proposals()
    assert {s.SegmentAlgorithmType for s in seg.SegmentSequence} == {"SEMIAUTOMATIC"}
    assert seg.SegmentSequence[0].SegmentLabel == "Tumor, left"
    assert "not verified" in seg.SeriesDescription


def test_measurements_that_are_saved_again_send_no_new_proposal(house: House) -> None:
    proposed(house)
    again = pydicom.dcmread(house.measurements)
    again.SOPInstanceUID = again.file_meta.MediaStorageSOPInstanceUID = "2.25.991"
    again.save_as(house.measurements.with_name("again.dcm"), enforce_file_format=True)
    house.ingest(house.measurements.with_name("again.dcm"))
    house.pass_time(1000)
    assert house.judge().reason.startswith(SENT)
    assert len(house.proposals()) == 1


def test_our_proposal_that_the_archive_sends_back_counts_for_nothing(house: House, tmp_path: Path) -> None:
    proposed(house)
    with house.context.ledger.read() as connection:
        row = proposals.newest(connection, house.study_id())
    assert row is not None
    stripped = pydicom.dcmread(house.context.result_folder(row.id) / "proposal.dcm")
    stripped.remove_private_tags()
    for segment in stripped.SegmentSequence:
        del segment.SegmentationAlgorithmIdentificationSequence
    stripped.save_as(tmp_path / "back.dcm", enforce_file_format=True)
    house.ingest(house.context.result_folder(row.id) / "proposal.dcm", tmp_path / "back.dcm", ae="ARCHIVE")
    house.pass_time(1000)
    assert house.judge().reason.startswith(SENT)


def test_an_operator_accepts_and_the_report_says_who(house: House) -> None:
    study = proposed(house)
    outcome = CliRunner().invoke(accept, ["--config", str(house.config), study.id], catch_exceptions=False)
    assert "accepted: Tumor, left, Lymph node 1, left" in outcome.output
    house.pass_time(1000)
    assert house.judge().state == "ready"
    result = house.report()
    assert result.status == "evaluated", result.reasons
    assert {(r.origin, r.unconfirmed) for r in result.rois.values()} == {("measured", False)}
    assert result.prediction is not None
    assert any("these are measured: the settings allow it" in note for note in result.prediction.notes)
    assert "accept" in (house.config.parent / "audit.jsonl").read_text()


def order(house: House, command: Any, *arguments: str) -> Any:
    """What an operator types about the study of the house."""
    return CliRunner().invoke(command, ["--config", str(house.config), house.study_id(), *arguments])


def saved_again(house: House, name: str, off: float = 0.0) -> Path:
    """The measurements under a new UID, as OHIF saves them; the tumour's axes moved by `off` pixels."""
    again = pydicom.dcmread(house.measurements)
    again.SOPInstanceUID = again.file_meta.MediaStorageSOPInstanceUID = f"2.25.99{len(name)}"
    for value in again.ContentSequence[-1].ContentSequence[0].ContentSequence if off else ():
        for drawn in value.get("ContentSequence", ()):
            drawn.GraphicData = [number + off for number in drawn.GraphicData]
    path = house.measurements.with_name(f"{name}.dcm")
    again.save_as(path, enforce_file_format=True)
    return path


def test_accepting_twice_changes_nothing_and_accepts_no_more(house: House) -> None:
    proposed(house)
    assert "accepted: Tumor, left" in order(house, accept, "--roi", "tumor").output
    trail = (house.config.parent / "audit.jsonl").read_bytes()
    assert order(house, accept, "--roi", "tumor").output.endswith("accepted already: Tumor, left\n")
    more = order(house, accept)
    assert isinstance(more.exception, InputRejected)
    assert "only Tumor, left was accepted" in str(more.exception)
    assert "can draw Lymph node 1, left" in str(more.exception)
    with house.context.ledger.read() as connection:
        copies = connection.execute(sa.select(instances.c.id).where(instances.c.sop_class == SEGMENTATION)).all()
    assert len(copies) == 1
    assert (house.config.parent / "audit.jsonl").read_bytes() == trail
    assert "was accepted; a segmentation that the reader draws" in str(order(house, reject).exception)


def test_a_rejected_proposal_is_told_and_not_made_again_but_a_reader_may_draw(house: House) -> None:
    proposed(house)
    edited = house.copy_of_proposal("edited", changed=True)
    assert "rejected: what was proposed" in order(house, reject).output
    trail = (house.config.parent / "audit.jsonl").read_bytes()
    assert b'"reject"' in trail
    assert "rejected already" in order(house, reject).output
    assert (house.config.parent / "audit.jsonl").read_bytes() == trail
    row = house.judge()
    assert (row.state, row.reason_code) == ("waiting", "rejected")
    assert row.reason.startswith("not evaluated: rejected by the reader; still missing: the tumour ROI")
    assert "rejected by the reader" in str(order(house, accept).exception)
    house.ingest(saved_again(house, "again"))
    house.pass_time(1000)
    assert house.judge().reason.startswith("not evaluated: rejected by the reader")
    assert len(house.proposals()) == 1
    house.ingest(edited)
    house.pass_time(1000)
    assert house.judge().state == "ready"
    assert "drawn" in {r.origin for r in house.report().rois.values()}


def test_a_study_that_was_cancelled_and_is_resumed_is_proposed_for_again(house: House) -> None:
    house.ingest(*house.exam.paths, house.measurements)
    house.pass_time(1000)
    assemble(house.context)
    assert "a proposal" in order(house, cancel).output
    assert house.judge().state == "cancelled"
    assert house.proposals() == []
    order(house, retry)
    house.pass_time(1000)
    assert house.judge().reason.startswith(SENT)
    assert len(house.proposals()) == 1


def test_what_is_measured_anew_after_a_rejection_is_proposed_alone(house: House) -> None:
    proposed(house)
    order(house, reject)
    house.ingest(saved_again(house, "anew", off=2.0))
    house.pass_time(1000)
    assert house.judge().reason.startswith(SENT)
    first, second = house.proposals()
    assert [s.SegmentLabel for s in second.SegmentSequence] == ["Tumor, left"]
    assert len(first.SegmentSequence) > 1


def test_a_viewers_copy_with_the_same_voxels_accepts_and_an_edited_one_is_drawn(house: House) -> None:
    proposed(house)
    house.ingest(house.copy_of_proposal("same"))
    house.pass_time(1000)
    assert house.judge().state == "ready"
    result = house.report()
    assert {r.origin for r in result.rois.values()} == {"measured"}
    assert {r.confirmed_by for r in result.rois.values()} == {"segmentation 2.25.774"}
    house.ingest(house.copy_of_proposal("edited", changed=True))
    house.pass_time(1000)
    house.judge()
    edited = house.report()
    assert edited.revision == 2
    assert "drawn" in {r.origin for r in edited.rois.values()}


def test_an_acceptance_that_somebody_else_sealed_counts_for_nothing(house: House, tmp_path: Path) -> None:
    from daemon.work.acceptance import accepted_copy

    proposed(house)
    with house.context.ledger.read() as connection:
        row = proposals.newest(connection, house.study_id())
    assert row is not None
    forged = tmp_path / "forged.dcm"
    path = house.context.result_folder(row.id) / "proposal.dcm"
    accepted_copy(path, forged, "somebody", (), house.context.settings, b"another key")
    house.ingest(forged)
    house.pass_time(1000)
    assert house.judge().state == "waiting"


def test_measurements_count_for_nothing_where_proposals_are_off(house: House) -> None:
    off = house.context.settings.model_copy(update={"proposal": Settings().proposal})
    house.context = Context(off, house.context.ledger, house.context.clock, house.context.announce)
    house.ingest(*house.exam.paths, house.measurements)
    house.pass_time(1000)
    assert house.judge().reason_code == "incomplete"
    with house.context.ledger.read() as connection:
        counts = connection.execute(sa.select(instances.c.counts_as).where(instances.c.sop_class.like("%.88.%")))
        assert set(counts.scalars()) == {"others"}


def test_only_what_nobody_drew_is_proposed(house: House, tmp_path: Path) -> None:
    proposed(house)
    drawn = pydicom.dcmread(house.copy_of_proposal("same"))
    drawn.SegmentSequence = list(drawn.SegmentSequence)[:1]
    shown = [g.SegmentIdentificationSequence[0].ReferencedSegmentNumber for g in drawn.PerFrameFunctionalGroupsSequence]
    first = shown.index(2)
    drawn.PerFrameFunctionalGroupsSequence = list(drawn.PerFrameFunctionalGroupsSequence)[:first]
    drawn.NumberOfFrames = first
    bits = np.unpackbits(np.frombuffer(drawn.PixelData, np.uint8), bitorder="little")
    drawn.PixelData = np.packbits(bits[: first * drawn.Rows * drawn.Columns], bitorder="little").tobytes()
    drawn.save_as(tmp_path / "tumor.dcm", enforce_file_format=True)
    moved = pydicom.dcmread(house.measurements)
    moved.SOPInstanceUID = moved.file_meta.MediaStorageSOPInstanceUID = "2.25.992"
    moved.save_as(tmp_path / "more.dcm", enforce_file_format=True)
    house.ingest(tmp_path / "tumor.dcm", tmp_path / "more.dcm")
    house.pass_time(1000)
    assert house.judge().reason.startswith(SENT)
    first_labels = [seg.SegmentSequence[0].SegmentLabel for seg in house.proposals()]
    assert first_labels == ["Tumor, left", "Lymph node 1, left"]


def test_measurements_and_an_acceptance_survive_the_loss_of_the_ledger(house: House, tmp_path: Path) -> None:
    study = proposed(house)
    CliRunner().invoke(accept, ["--config", str(house.config), study.id, "--roi", "tumor"], catch_exceptions=False)
    settings = house.context.settings.model_copy(update={"ledger": Ledger(url=f"sqlite:///{tmp_path / 'new.sqlite'}")})
    house.context = replace(house.context, settings=settings, ledger=open_ledger(settings))
    key = key_for(settings, house.context.ledger, time.time())
    spool = Spool(settings.spool.path)
    reconcile(house.context.ledger, spool, time.time(), key=key, measurements=True)
    house.pass_time(1000)
    row = house.judge()
    assert row.reason_code == "measured"
    assert "the axillary lymph node ROI" in row.reason
    assert "tumour ROI" not in row.reason
    house.context.ledger.close()
