"""Another system, whose reader assesses proposals of ours in Structured Reports."""

from __future__ import annotations

from typing import Any

import pydicom
import sqlalchemy as sa
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from daemon.ledger import proposals
from daemon.ledger.tables import events
from tests.support.archives import COMPREHENSIVE_SR
from tests.support.measured_house import SEGMENTATION, House

AGREE = ("122775", "DCM", "Agreement with prior findings")
DISAGREE = ("122776", "DCM", "Disagreement with prior findings")
FINDING = ("121071", "DCM", "Finding")
GROUP = ("125007", "DCM", "Measurement Group")
SEGMENT = ("121191", "DCM", "Referenced Segment")


def coded(value: tuple[str, str, str]) -> list[Dataset]:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value
    return [code]


def item(kind: str, name: tuple[str, str, str], *children: Dataset) -> Dataset:
    made = Dataset()
    made.RelationshipType, made.ValueType, made.ConceptNameCodeSequence = "CONTAINS", kind, coded(name)
    if children:
        made.ContentSequence = list(children)
    return made


def says(value: tuple[str, str, str], name: tuple[str, str, str] = FINDING) -> Dataset:
    made = item("CODE", name)
    made.ConceptCodeSequence = coded(value)
    return made


def refers_to(uid: str, *numbers: int, sop_class: str = SEGMENTATION) -> Dataset:
    made, named = item("IMAGE", SEGMENT), Dataset()
    named.ReferencedSOPClassUID, named.ReferencedSOPInstanceUID = sop_class, uid
    if numbers:
        named.ReferencedSegmentNumber = list(numbers)
    made.ReferencedSOPSequence = [named]
    return made


def group(*children: Dataset) -> Dataset:
    return item("CONTAINER", GROUP, *children)


class Reader:
    """Another system, which writes reports about what it is told of."""

    def __init__(self, house: House) -> None:
        self.house = house
        (self.proposal,) = house.proposals()
        self.uid = str(self.proposal.SOPInstanceUID)
        self.written = 0

    def sends(self, *content: Dataset, **changed: Any) -> str:
        self.written += 1
        source = pydicom.dcmread(self.house.exam.paths[0], stop_before_pixels=True)
        ds = Dataset()
        for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate"):
            setattr(ds, keyword, source.get(keyword))
        ds.SOPClassUID, ds.SOPInstanceUID = COMPREHENSIVE_SR, f"2.25.5551{self.written}"
        ds.SeriesInstanceUID, ds.Modality, ds.Manufacturer = "2.25.5550", "SR", "Viewer"
        ds.CompletionFlag, ds.VerificationFlag = "COMPLETE", "UNVERIFIED"
        ds.ValueType, ds.ConceptNameCodeSequence = "CONTAINER", coded(("126000", "DCM", "Imaging Measurement Report"))
        ds.ContentSequence = list(content)
        for keyword, value in changed.items():
            setattr(ds, keyword, value)
        return self.sent(ds)

    def sent(self, ds: Dataset) -> str:
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        path = self.house.measurements.with_name(f"{ds.SOPInstanceUID}.dcm")
        ds.save_as(path, enforce_file_format=True)
        self.house.ingest(path)
        return str(ds.SOPInstanceUID)

    def state(self) -> str:
        with self.house.context.ledger.read() as connection:
            row = proposals.newest(connection, self.house.study_id())
        assert row is not None
        return row.state

    def listed(self) -> list[str]:
        with self.house.context.ledger.read() as connection:
            query = sa.select(events.c.detail).where(events.c.kind == "assessment-not-taken").order_by(events.c.id)
            return list(connection.execute(query).scalars())
