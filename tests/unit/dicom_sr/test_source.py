from __future__ import annotations

import warnings
from datetime import datetime
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from dicom_sr import ReportSource, render
from dicom_sr.source import patient_study
from pipeline.errors import NotDicom, ReportRejected
from tests.support.reports import BEGAN, case, image, segmentation, write


def test_headers_are_read_from_files(tmp_path: Path) -> None:
    paths = write(tmp_path, (image("t1c", 0), segmentation(1)))
    source = ReportSource.from_files(paths[0], paths[1:], began=BEGAN)
    assert source.study_uid == "2.25.1001"
    assert str(source.patient_study.PatientName) == "Doe^Jane"
    assert source.segmented_series == {"2.25.1200.1": "2.25.1010"}
    assert [r.sop_instance_uid for r in source.rois] == ["2.25.1200.1"]


@pytest.mark.parametrize("content", [b"", b"no dicom at all", b"\0" * 128 + b"DICM"])
def test_a_file_that_is_no_dicom_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(NotDicom):
        ReportSource.from_files(tmp_path / "x", began=BEGAN)


def test_a_time_without_its_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        ReportSource.from_datasets(image("t1c", 0), began=datetime(2026, 1, 1))


def test_absent_type_2_attributes_stay_empty_and_nothing_is_invented() -> None:
    bare = Dataset()
    bare.StudyInstanceUID = "2.25.1"
    copied = patient_study(bare)
    assert {e.keyword: e.value for e in copied if e.keyword != "StudyInstanceUID"} == {
        "PatientName": None,
        "PatientID": None,
        "PatientBirthDate": None,
        "PatientSex": None,
        "StudyDate": None,
        "StudyTime": None,
        "ReferringPhysicianName": None,
        "StudyID": None,
        "AccessionNumber": None,
    } or {e.keyword for e in copied if not e.is_empty} == {"StudyInstanceUID"}


def test_invalid_values_of_the_source_are_left_out() -> None:
    ds = image("t1c", 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds.PatientSex = "W"
        ds.StudyDate = "3. March"
        ds.PatientAge = "about 50"
        ds.AccessionNumber = "X" * 17
    copied = patient_study(ds)
    assert not copied.PatientSex
    assert not copied.StudyDate
    assert not copied.AccessionNumber
    assert "PatientAge" not in copied
    assert copied.PatientID == "P-001"


def test_sequences_with_private_elements_are_not_copied() -> None:
    ds = image("t1c", 0)
    item = Dataset()
    item.PatientID = "other"
    item.private_block(0x0011, "SOMEBODY", create=True).add_new(1, "LO", "secret")
    ds.OtherPatientIDsSequence = [item]
    assert "OtherPatientIDsSequence" not in patient_study(ds)


@pytest.mark.cases
@pytest.mark.parametrize(
    ("name", "wanted"),
    [("chrGB2312.dcm", "张^小东"), ("chrX1.dcm", None), ("chrX2.dcm", None), ("chrKoreanMulti.dcm", None)],
)
def test_names_in_other_scripts_survive_into_the_report(cases: Path, name: str, wanted: str | None) -> None:
    original = pydicom.dcmread(cases / "charset" / name, stop_before_pixels=True, force=True)
    example = case("high")
    source = ReportSource.from_datasets(_moved(original, example.result.study_uid), began=BEGAN)
    read = pydicom.dcmread(pydicom.filebase.DicomBytesIO(render(example.result, source, ()).objects["sr"]))
    again = str(patient_study(read).PatientName)
    assert "\x1b" not in again
    assert again == str(source.patient_study.PatientName)
    assert wanted is None or again.endswith(wanted)


def _moved(ds: Dataset, study_uid: str) -> Dataset:
    """The patient of one file in the study of another."""
    moved = image("t1c", 0)
    ds.decode()
    moved.SpecificCharacterSet = ds.SpecificCharacterSet
    moved.PatientName = ds.PatientName
    moved.StudyInstanceUID = study_uid
    return moved


def test_a_source_of_another_study_is_refused() -> None:
    example = case("high")
    source = ReportSource.from_datasets(image("t1c", 0, study="2.25.5"), began=BEGAN)
    with pytest.raises(ReportRejected):
        render(example.result, source, ())
