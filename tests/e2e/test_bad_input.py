"""Exams that are wrong in some way: each gets a state with a reason a person understands, and others go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from daemon.export.association import Address, associated
from pipeline.phantom import PhantomExam, PhantomSpec, write_exam
from tests.support.daemon import Daemon, running, storescu

pytestmark = pytest.mark.peer("storescu")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("house")) as house:
        yield house


def exam_with(folder: Path, seed: int, change: Callable[[PhantomExam], None]) -> PhantomExam:
    exam = write_exam(folder, PhantomSpec(seed=seed, preset="small"))
    change(exam)
    return exam


def rewrite(path: Path, change: Callable[[Dataset], None]) -> None:
    data_set = dcmread(path)
    change(data_set)
    data_set.save_as(path)


def pixels(value: Callable[[np.ndarray], np.ndarray]) -> Callable[[Dataset], None]:
    """Change the frames of a BINARY SEG, as (frames, rows, columns) of 0 and 1."""

    def change(seg: Dataset) -> None:
        frames = np.asarray(seg.pixel_array, dtype=np.uint8)
        seg.PixelData = np.packbits(value(frames).ravel(), bitorder="little").tobytes()

    return change


def test_a_patient_id_that_changes_inside_a_study_holds_it_until_an_operator_accepts(
    daemon: Daemon, tmp_path: Path
) -> None:
    def other_patient(exam: PhantomExam) -> None:
        rewrite(exam.series[1].paths[0], lambda d: setattr(d, "PatientID", "SOMEBODY-ELSE"))

    exam = exam_with(tmp_path, 21, other_patient)
    storescu(daemon.port, exam.folder)
    found = daemon.wait_for(exam.study_uid, "held")
    assert "2 different patients" in found["reason"]
    assert "SOMEBODY" not in str(found)
    refused = daemon.axrad("retry", exam.study_uid)
    assert refused.returncode == 1
    assert "--accept-identity" in refused.stderr
    assert daemon.axrad("retry", exam.study_uid, "--accept-identity").returncode == 0
    daemon.wait_for(exam.study_uid, "delivered")


def test_an_empty_roi_is_not_evaluated_and_says_so(daemon: Daemon, tmp_path: Path) -> None:
    def no_voxels(exam: PhantomExam) -> None:
        assert exam.seg_path is not None
        rewrite(exam.seg_path, pixels(np.zeros_like))

    exam = exam_with(tmp_path, 22, no_voxels)
    storescu(daemon.port, exam.folder)
    found = daemon.wait_for(exam.study_uid, "not_evaluated")
    assert "empty" in found["reason"]


def test_a_roi_outside_the_images_is_not_evaluated_and_says_so(daemon: Daemon, tmp_path: Path) -> None:
    def far_away(seg: Dataset) -> None:
        for frame in seg.PerFrameFunctionalGroupsSequence:
            place = frame.PlanePositionSequence[0]
            place.ImagePositionPatient = [float(v) + 900.0 for v in place.ImagePositionPatient]

    def moved(exam: PhantomExam) -> None:
        assert exam.seg_path is not None
        rewrite(exam.seg_path, far_away)

    exam = exam_with(tmp_path, 23, moved)
    storescu(daemon.port, exam.folder)
    found = daemon.wait_for(exam.study_uid, "not_evaluated")
    assert "outside" in found["reason"]


def test_a_t2_in_another_frame_of_reference_is_not_read_and_the_result_says_so(daemon: Daemon, tmp_path: Path) -> None:
    def elsewhere(exam: PhantomExam) -> None:
        for path in next(s for s in exam.series if s.label == "t2").paths:
            rewrite(path, lambda d: setattr(d, "FrameOfReferenceUID", "1.2.3.4.5.6"))

    exam = exam_with(tmp_path, 24, elsewhere)
    storescu(daemon.port, exam.folder)
    daemon.wait_for(exam.study_uid, "delivered")
    found = daemon.result(exam.study_uid)
    assert found.prediction is not None
    assert found.prediction.signature == "demonstration.t1c@1"
    assert "frame" in found.absent["t2.tumor"].lower()


def test_a_seg_whose_images_never_came_waits_and_says_how_many(daemon: Daemon, tmp_path: Path) -> None:
    exam = write_exam(tmp_path, PhantomSpec(seed=25, preset="small"))
    assert exam.seg_path is not None
    storescu(daemon.port, exam.seg_path)
    found = daemon.wait_for(dcmread(exam.seg_path, stop_before_pixels=True).StudyInstanceUID, "waiting")
    assert "images that the ROIs refer to" in found["reason"]


def test_a_truncated_image_is_set_aside_and_the_study_waits_for_a_whole_one(daemon: Daemon, tmp_path: Path) -> None:
    exam = write_exam(tmp_path, PhantomSpec(seed=26, preset="small"))
    t2 = next(s for s in exam.series if s.label == "t2").paths[3]
    whole = t2.read_bytes()
    t2.write_bytes(whole[: len(whole) // 2])
    address = Address("the listener", "AXRAD", "127.0.0.1", daemon.port, "SCANNER")
    header = dcmread(t2, stop_before_pixels=True)
    with associated(address, [(str(header.SOPClassUID), [str(header.file_meta.TransferSyntaxUID)])]) as association:
        association.send_c_store(t2)
    t2.unlink()
    storescu(daemon.port, exam.folder)
    found = daemon.wait_for(exam.study_uid, "not_evaluated", "waiting")
    assert found["reason"]


def test_another_exam_is_evaluated_all_the_same(daemon: Daemon, tmp_path: Path) -> None:
    exam = write_exam(tmp_path, PhantomSpec(seed=27, preset="small", vendor="ge"))
    storescu(daemon.port, exam.folder)
    daemon.wait_for(exam.study_uid, "delivered")
    assert daemon.result(exam.study_uid).status == "evaluated"
