from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pydicom
import pytest
from matplotlib.text import Text

from config.schema import Report, Settings
from dicom_sr import render
from dicom_sr.page import drawn
from dicom_sr.page.sheet import Sheet
from pipeline.records import InstanceRef
from tests.support.reports import STUDY, Case, case
from tests.support.validators import dciodvfy, dsrdump

REJECTING = Settings(report=Report(what=("sr",), reject_superseded=True))
PAGE = InstanceRef(STUDY, "2.25.1400", "1.2.840.10008.5.1.4.1.1.7", "2.25.1401")


def test_a_correction_rejects_every_object_that_was_delivered_before() -> None:
    example = case("revision_2")
    assert example.source.predecessor is not None
    source = dataclasses.replace(example.source, superseded=(example.source.predecessor, PAGE))
    ds = pydicom.dcmread(io.BytesIO(render(example.result, source, (), REJECTING).objects["rejection"]))
    assert ds.Modality == "KO"
    assert ds.ConceptNameCodeSequence[0].CodeValue == "113001"
    rejected = {
        i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for i in ds.ContentSequence if i.ValueType == "COMPOSITE"
    }
    listed = {
        sop.ReferencedSOPInstanceUID
        for study in ds.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for sop in series.ReferencedSOPSequence
    }
    assert rejected == listed == {"2.25.1301", "2.25.1401"}


def test_a_first_revision_and_the_default_reject_nothing() -> None:
    assert "rejection" not in render(case("high").result, case("high").source, (), REJECTING).objects
    assert "rejection" not in render(case("revision_2").result, case("revision_2").source, ()).objects


@pytest.mark.peer("dciodvfy")
@pytest.mark.peer("dsrdump")
def test_validators_find_nothing_in_a_rejection_note(tmp_path: Path) -> None:
    example = case("revision_2")
    path = tmp_path / "ko.dcm"
    path.write_bytes(render(example.result, example.source, (), REJECTING).objects["rejection"])
    assert dciodvfy(path) == []
    assert dsrdump(path) == []


@pytest.mark.peer("dciodvfy")
@pytest.mark.peer("dsrdump")
def test_a_report_for_a_corrected_patient_says_so_and_names_the_one_before(tmp_path: Path) -> None:
    example = case("revision_2")
    source = dataclasses.replace(example.source, corrected_patient=True)
    objects = render(example.result, source, (), REJECTING).objects
    report = pydicom.dcmread(io.BytesIO(objects["sr"]))
    before = report.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert source.predecessor is not None
    assert before.ReferencedSOPInstanceUID == source.predecessor.sop_instance_uid
    assert any("issued under another Patient ID" in text for text in texts(report))
    note = pydicom.dcmread(io.BytesIO(objects["rejection"]))
    assert any("Issued under another Patient ID" in text for text in texts(note))
    (tmp_path / "sr.dcm").write_bytes(objects["sr"])
    assert dciodvfy(tmp_path / "sr.dcm") == dciodvfy_of(example, tmp_path)
    assert dsrdump(tmp_path / "sr.dcm") == []


def test_page_and_document_of_a_corrected_patient_say_so_too() -> None:
    example = case("revision_2")
    source = dataclasses.replace(example.source, corrected_patient=True)
    drawing = drawn(example.result, source, (), Settings())
    assert "revision 2, Patient ID corrected" in written(drawing.sheet)
    assert "issued under another Patient ID" in " ".join(written(sheet) for sheet in drawing.more)
    assert "Patient ID corrected" not in written(drawn(example.result, example.source, (), Settings()).sheet)


def written(sheet: Sheet) -> str:
    return " ".join(text.get_text() for text in sheet.figure.findobj(Text))


def texts(item: pydicom.Dataset) -> list[str]:
    """Every text of a content tree."""
    below = [text for child in item.get("ContentSequence", []) for text in texts(child)]
    return [str(item.TextValue), *below] if "TextValue" in item else below


def dciodvfy_of(example: Case, folder: Path) -> list[str]:
    """What it finds in the same report without the correction."""
    (folder / "plain.dcm").write_bytes(render(example.result, example.source, (), REJECTING).objects["sr"])
    return dciodvfy(folder / "plain.dcm")
