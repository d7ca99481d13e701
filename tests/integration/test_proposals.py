"""Measurements and no region: a proposal in the archive, a reader's word, a report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from config.schema import Settings
from daemon.cli.accept import accept, reject
from daemon.cli.ledger import cancel, retry
from daemon.ledger import proposals
from daemon.ledger.tables import instances
from daemon.work.context import Context
from daemon.work.sweep import assemble
from tests.support.measured_house import SENT, House, a_house, order, proposed, saved_again


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with a_house(tmp_path) as one:
        yield one


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


def test_a_copy_with_our_mark_and_other_voxels_is_drawn_whatever_algorithm_it_names(
    house: House, tmp_path: Path
) -> None:
    proposed(house)
    (path,) = house.context.settings.spool.path.glob("results/*/proposal.dcm")
    ds = pydicom.dcmread(path)
    bits = bytearray(ds.PixelData)
    bits[bits.index(255)] = 254
    ds.PixelData = bytes(bits)
    assert {s.SegmentAlgorithmType for s in ds.SegmentSequence} == {"SEMIAUTOMATIC"}
    ds.save_as(tmp_path / "edited.dcm", enforce_file_format=True)
    house.ingest(tmp_path / "edited.dcm")
    house.pass_time(1000)
    assert house.judge().state == "ready"
    rois = house.report().rois
    assert (rois["tumor"].origin, rois["lymph_nodes"].origin) == ("drawn", "measured")
    with house.context.ledger.read() as connection:
        assert proposals.counts(connection) == {"edited": 1}


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


@pytest.mark.parametrize(("first", "then"), [("tumor", "lymph_nodes"), ("lymph_nodes", "tumor")])
def test_one_kind_is_accepted_now_and_the_other_later_and_the_report_uses_both(
    house: House, first: str, then: str
) -> None:
    proposed(house)
    assert "\naccepted: " in order(house, accept, "--roi", first).output
    trail = (house.config.parent / "audit.jsonl").read_bytes()
    assert "accepted already: " in order(house, accept, "--roi", first).output
    assert (house.config.parent / "audit.jsonl").read_bytes() == trail
    assert "a region that the reader draws takes its place" in str(order(house, reject, "--roi", first).exception)
    house.pass_time(100000)
    reason = house.judge().reason
    tumour = "the tumour was accepted, the lymph nodes wait for confirmation"
    nodes = "the tumour waits for confirmation, the lymph nodes were accepted"
    assert reason.startswith(f"measurements are here, {tumour if first == 'tumor' else nodes}; still missing: ")
    assert "\naccepted: " + ("Tumor" if then == "tumor" else "Lymph node 1") in order(house, accept).output
    house.pass_time(1000)
    assert house.judge().state == "ready"
    assert set(house.report().rois) == {"tumor", "lymph_nodes"}
    assert "accepted already: Tumor, left, Lymph node 1, left" in order(house, accept).output
    assert "was accepted; a region that the reader draws" in str(order(house, reject).exception)


def test_one_kind_is_accepted_and_the_other_drawn(house: House) -> None:
    proposed(house)
    edited = house.copy_of_proposal("edited", changed=True)
    order(house, accept, "--roi", "lymph_nodes")
    house.ingest(edited)
    house.pass_time(1000)
    assert house.judge().state == "ready"
    assert "drawn" in {r.origin for r in house.report().rois.values()}
    with house.context.ledger.read() as connection:
        assert proposals.counts(connection) == {"edited": 1}


def test_one_kind_is_rejected_after_the_other_was_accepted_and_is_not_proposed_again(house: House) -> None:
    proposed(house)
    order(house, accept, "--roi", "tumor")
    assert "rejected: Lymph node 1, left" in order(house, reject).output
    assert "rejected already: Lymph node 1, left" in order(house, reject, "--roi", "lymph_nodes").output
    assert "the lymph nodes were rejected" in str(order(house, accept, "--roi", "lymph_nodes").exception)
    house.pass_time(1000)
    reason = house.judge().reason
    assert reason.startswith("not evaluated: rejected by the reader; still missing: the axillary lymph node ROI")
    house.ingest(saved_again(house, "again"))
    house.pass_time(1000)
    assert house.judge().reason.startswith("not evaluated: rejected by the reader")
    assert len(house.proposals()) == 1


def test_one_kind_is_accepted_after_the_other_was_rejected(house: House) -> None:
    proposed(house)
    assert "rejected: Lymph node 1, left" in order(house, reject, "--roi", "lymph_nodes").output
    words = "measurements are here, the tumour waits for confirmation, the lymph nodes were rejected by the reader"
    assert house.judge().reason.startswith(words)
    assert order(house, accept).output.endswith("\naccepted: Tumor, left\n")
    house.pass_time(1000)
    reason = house.judge().reason
    assert reason.startswith("not evaluated: rejected by the reader; still missing: the axillary lymph node ROI")


def test_a_rejected_proposal_is_told_and_not_made_again_but_a_reader_may_draw(house: House) -> None:
    proposed(house)
    edited = house.copy_of_proposal("edited", changed=True)
    assert "rejected: Tumor, left, Lymph node 1, left" in order(house, reject).output
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
    from daemon.work.acceptance import copy_with_word

    proposed(house)
    with house.context.ledger.read() as connection:
        row = proposals.newest(connection, house.study_id())
    assert row is not None
    forged = tmp_path / "forged.dcm"
    path = house.context.result_folder(row.id) / "proposal.dcm"
    copy_with_word(path, forged, {1: "somebody", 2: "somebody"}, b"another key")
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
        # Read for what a reader says of a report, and for nothing else.
        assert set(counts.scalars()) == {"feedback"}


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
