"""Which phases of a dynamic functional tumour volume is read from, and when there are none."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread

from config.schema import Sequences
from pipeline.catalog import Exam, exam_in
from pipeline.errors import SequenceRejected
from pipeline.phantom import PhantomExam, PhantomSpec, write_exam
from pipeline.sequences import TimedPhases, enhancement_phases, match


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> PhantomExam:
    folder = tmp_path_factory.mktemp("phases") / "exam"
    return write_exam(folder, PhantomSpec(seed=4, preset="small", vendor="siemens", with_seg=False))


def phases(exam: Exam, early_s: float = 150.0, late_s: float = 450.0) -> TimedPhases:
    return enhancement_phases(exam, Sequences(), match(exam, Sequences()).chosen["t1c"], early_s, late_s)


def without(phantom: PhantomExam, tmp_path: Path, *numbers: int) -> Exam:
    """The exam without these phases (0 is before contrast), by Series Number."""
    for n, path in enumerate(phantom.paths):
        if dcmread(path, stop_before_pixels=True).SeriesNumber not in [400 + p for p in numbers]:
            (tmp_path / f"{n}.dcm").hardlink_to(path)
    return exam_in(tmp_path)


def test_the_phases_nearest_to_the_times_are_taken_by_the_middle_of_their_acquisition(phantom: PhantomExam) -> None:
    timed = phases(exam_in(phantom.folder))
    assert (timed.before.phase, timed.early.phase, timed.late.phase) == ("pre", "post 2 of 4", "post 4 of 4")
    assert (timed.early_s, timed.late_s) == (135.0, 315.0)
    assert phases(exam_in(phantom.folder), early_s=60.0, late_s=200.0).early_s == 45.0


def test_no_phase_near_the_early_time_is_no_phase(phantom: PhantomExam) -> None:
    with pytest.raises(SequenceRejected, match="within 90 s of 600 s") as error:
        phases(exam_in(phantom.folder), early_s=600.0, late_s=900.0)
    assert error.value.code == "no-early-phase"


def test_without_a_volume_before_contrast_there_are_none(phantom: PhantomExam, tmp_path: Path) -> None:
    with pytest.raises(SequenceRejected) as error:
        phases(without(phantom, tmp_path, 0))
    assert error.value.code == "no-before-contrast"


def test_with_one_phase_after_contrast_there_are_none(phantom: PhantomExam, tmp_path: Path) -> None:
    with pytest.raises(SequenceRejected, match="only one phase") as error:
        phases(without(phantom, tmp_path, 2, 3, 4))
    assert error.value.code == "one-phase"
