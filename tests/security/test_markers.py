"""A marker in every text attribute of an exam: no log, metric, audit message, file name or overview holds one.

Report, page and result are about the patient and go back to his archive; they are not looked at here, but for the
metadata of the PDF, which programs show without opening it.
"""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from pipeline.phantom import PhantomSpec, write_exam
from tests.support.daemon import running, storescu
from tests.support.postgres import free_port

pytestmark = [pytest.mark.peer("storescu"), pytest.mark.timeout(1200)]
# What somebody may write a name into. Of those that sequence rules read, the marker follows what is there.
WRITTEN = (
    "PatientName", "PatientID", "OtherPatientNames", "PatientAddress", "PatientComments", "PatientBirthName",
    "PatientTelephoneNumbers", "Occupation", "AdditionalPatientHistory", "ReferringPhysicianName",
    "PerformingPhysicianName", "OperatorsName", "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy",
    "InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName", "StationName", "AccessionNumber",
    "StudyID", "StudyDescription", "SeriesDescription", "ProtocolName", "RequestedProcedureDescription",
    "PerformedProcedureStepDescription", "RequestingService", "RequestingPhysician", "ImageComments",
    "DerivationDescription", "DeviceSerialNumber", "Manufacturer", "ManufacturerModelName", "SoftwareVersions",
    "ReceiveCoilName", "ContrastBolusAgent", "IssuerOfPatientID", "ContentLabel", "ContentDescription",
    "ContentCreatorName",
)  # fmt: skip
FOLLOWS = ("StudyDescription", "SeriesDescription", "ProtocolName", "Manufacturer", "ManufacturerModelName")
MARKER = re.compile(rb"ZQ\d\dQZ", re.IGNORECASE)


def mark(dataset: Dataset) -> None:
    for number, keyword in enumerate(WRITTEN):
        old = f"{dataset.get(keyword) or ''} " if keyword in FOLLOWS else ""
        setattr(dataset, keyword, f"{old}ZQ{number:02d}QZ".strip())
    for segment in dataset.get("SegmentSequence") or ():
        segment.SegmentDescription = "ZQ98QZ"
        segment.SegmentLabel = f"{segment.SegmentLabel} ZQ99QZ"


def metadata_of_pdfs(folder: Path) -> Iterator[bytes]:
    """What stands in the information dictionaries of every PDF, also of those inside DICOM."""
    for path in folder.rglob("*"):
        if path.is_file() and b"%PDF-" in (data := path.read_bytes()):
            yield b" ".join(
                re.findall(rb"/(?:Title|Author|Subject|Keywords|Creator|Producer)\s*(\(.*?\)|<.*?>)", data, re.DOTALL)
            )


def test_no_output_holds_what_a_header_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AXRAD_LOG__LEVEL", "debug")
    exam = write_exam(tmp_path / "exam", PhantomSpec(seed=11, preset="small"))
    for path in exam.folder.rglob("*.dcm"):
        dataset = dcmread(path)
        mark(dataset)
        dataset.save_as(path)
    port = free_port()
    with running(tmp_path / "house", metrics=f"port = {port}") as daemon:
        storescu(daemon.port, exam.folder)
        daemon.wait_for(exam.study_uid, "reported", "delivered", "not_evaluated")
        outputs = {
            command: daemon.axrad(*command.split(), "--json").stdout.encode()
            for command in ("status", "studies", "doctor")
        }
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            outputs["metrics"] = answer.read()
        house, spool = daemon.folder, daemon.settings.spool.path
    outputs["log"] = "".join(capfd.readouterr()).encode()
    outputs["audit"] = (spool.parent / "audit.jsonl").read_bytes()
    outputs["file names"] = "\n".join(str(path) for path in house.rglob("*")).encode()
    outputs["metadata of PDFs"] = b"\n".join(metadata_of_pdfs(spool / "results"))
    for path in [*spool.rglob("*.jsonl"), *(spool / "journal").glob("*"), *house.rglob("*.db")]:
        outputs[path.name] = path.read_bytes()
    assert outputs["audit"].count(exam.study_uid.encode()) >= 3, "received, used and made"
    assert outputs["metadata of PDFs"]
    assert b"axrad_" in outputs["metrics"]
    assert outputs["log"].count(b"\n") > 3
    found = {name: sorted(set(MARKER.findall(text))) for name, text in outputs.items()}
    assert {name: markers for name, markers in found.items() if markers} == {}
