from __future__ import annotations

import copy
import io
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from dicom_sr import ReportSource, render
from dicom_sr.checks.identity import check_identity
from dicom_sr.copied_identity import patient_study
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


def with_value(keyword: str, value: object) -> Dataset:
    """An image whose header says this, valid or not, as a file would bring it."""
    ds = image("t1c", 0, study=case("high").result.study_uid)
    with pydicom.config.disable_value_validation():
        setattr(ds, keyword, value)
        buffer = io.BytesIO()
        ds.save_as(buffer, implicit_vr=False, little_endian=True)
    return pydicom.dcmread(io.BytesIO(buffer.getvalue()), force=True)


@pytest.mark.parametrize(
    ("keyword", "value", "written"),
    [
        ("AccessionNumber", "ACC-2026-000000017", "ACC-2026-000000017"),
        ("AccessionNumber", "A\\B", "A\\B"),
        ("PatientID", "P" * 80, "P" * 80),
        ("PatientName", "N" * 70 + "^Given", "N" * 70 + "^Given"),
        ("StudyID", "S" * 17, "S" * 17),
        ("IssuerOfPatientID", "I" * 70, "I" * 70),
        ("PatientBirthDate", "1961", "1961"),
        ("PatientBirthDate", "1961.02.03", "19610203"),
        ("StudyDate", "2026.11.27", "20261127"),
        ("StudyDate", "3. March", "3. March"),
        ("StudyTime", "10:11:12", "101112"),
        ("StudyTime", "10:11", "1011"),
        ("PatientSex", "f", "F"),
        ("PatientSex", "W", "W"),
        ("StudyDescription", "D" * 90, "D" * 90),
        ("PatientAge", "about 50", "about 50"),
        ("ReferringPhysicianName", "R" * 100, "R" * 100),
    ],
)
def test_what_says_whose_the_exam_is_is_never_lost(keyword: str, value: str, written: str) -> None:
    """In every object: an archive, or a reader, could need the value to match it, valid or not."""
    example = case("high")
    header = with_value(keyword, value)
    source = ReportSource.from_datasets(header, began=BEGAN)
    for kind, data in render(example.result, source, example.panels).objects.items():
        read = pydicom.dcmread(io.BytesIO(data))
        with pydicom.config.disable_value_validation():
            found = read.get(keyword)
        found = "\\".join(found) if isinstance(found, MultiValue) else str(found)
        assert (kind, found) == (kind, written)
        assert check_identity(data, header) == []


def test_an_object_that_says_otherwise_whose_it_is_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    example = case("high")
    copied = copy.deepcopy(example.source.patient_study)
    copied.PatientID = "SOMEBODY ELSE"
    assert [f.code for f in check_identity(render(example.result, example.source, ()).objects["sr"], copied)] == [
        "identity"
    ]
    copied.AccessionNumber = "x" * 70_000
    with pytest.raises(ReportRejected, match="AccessionNumber of the source is longer") as told:
        render(example.result, replace(example.source, patient_study=copied), ())
    assert "SOMEBODY" not in str(told.value)


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
