"""Measurement objects as other writers shape them, about tiny images made here."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from highdicom.sr import (
    CodedConcept,
    Comprehensive3DSR,
    CoordinatesForMeasurement,
    CoordinatesForMeasurement3D,
    FindingSite,
    ImageRegion,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    PersonObserverIdentifyingAttributes,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    SourceImageForRegion,
    TrackingIdentifier,
)
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from pipeline.phantom import PhantomSpec
from pipeline.phantom.headers import patient_and_study

SPEC = PhantomSpec(7)
Points = Sequence[tuple[float, ...]]


def image(
    number: int = 1,
    spacing_yx: tuple[float, float] = (1.0, 1.0),
    origin: tuple[float, float, float] = (-50.0, -40.0, 10.0),
    orientation: Sequence[float] = (1, 0, 0, 0, 1, 0),
    series: str = "t1c",
    size_yx: tuple[int, int] = (100, 120),
    spec: PhantomSpec = SPEC,
    frame_of_reference: str | None = "1.2.3.4",
) -> Dataset:
    """The header of one MR image, with every attribute that tools ask for."""
    ds = patient_and_study(spec)
    ds.SOPClassUID, ds.SOPInstanceUID = MRImageStorage, spec.uid("image", series, number)
    ds.SeriesInstanceUID, ds.Modality = spec.uid("series", series), "MR"
    ds.SeriesNumber, ds.InstanceNumber = 5, number
    if frame_of_reference is not None:
        ds.FrameOfReferenceUID = frame_of_reference
    ds.PositionReferenceIndicator = ""
    ds.Rows, ds.Columns = size_yx
    ds.PixelSpacing = [repr(round(float(v), 9)) for v in spacing_yx]
    ds.ImagePositionPatient = [repr(round(float(v), 9)) for v in origin]
    ds.ImageOrientationPatient = [repr(round(float(v), 12)) for v in orientation]
    ds.SliceThickness = 2
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation = 15, 0
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


def stored(ds: Dataset) -> Dataset:
    """The data set as a reader gets it: written and read again."""
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    buffer = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds.save_as(buffer, enforce_file_format=True)
        return dcmread(BytesIO(buffer.getvalue()))


def store(ds: Dataset, path: Path) -> Path:
    again = stored(ds)
    again.save_as(path, enforce_file_format=True)
    return path


def _concept(value: str, scheme: str, meaning: str) -> CodedConcept:
    return CodedConcept(value, scheme, meaning)


def _highdicom(group: object, images: Sequence[Dataset], reader: str) -> Dataset:
    observer = ObserverContext(codes.DCM.Person, PersonObserverIdentifyingAttributes(name=reader))
    report = MeasurementReport(
        observation_context=ObservationContext(observer_person_context=observer),
        procedure_reported=CodedConcept("36625-2", "LN", "MG Breast Views"),
        imaging_measurements=[group],
    )
    return Comprehensive3DSR(
        evidence=list(images),
        content=report,
        series_number=9,
        series_instance_uid=SPEC.uid("highdicom series"),
        sop_instance_uid=SPEC.uid("highdicom"),
        instance_number=1,
        manufacturer="Another",
    )


def _tracking(name: str) -> TrackingIdentifier:
    return TrackingIdentifier(uid=SPEC.uid("tracking", name), identifier=name)


def highdicom_axes(
    of: Dataset, long: Points, short: Points, name: str, finding: tuple[str, str, str] | None = None,
    site: tuple[str, str, str] | None = None, side: tuple[str, str, str] | None = None, *, in_patient: bool = False,
    reader: str = "Reader^One",
) -> Dataset:  # fmt: skip
    """Long and short axis as measurements of TID 1501, SCOORD or SCOORD3D."""
    measurements = []
    for concept, ends in ((codes.SCT.LongAxis, long), (codes.SCT.ShortAxis, short)):
        data = np.array(ends, float)
        coordinates = (
            CoordinatesForMeasurement3D("POLYLINE", data, of.FrameOfReferenceUID)
            if in_patient
            else CoordinatesForMeasurement("POLYLINE", data, SourceImageForRegion.from_source_image(of))
        )
        measurements.append(
            Measurement(
                name=concept,
                value=float(np.linalg.norm(data[0] - data[1])),
                unit=codes.UCUM.Millimeter,
                referenced_coordinates=[coordinates],
            )
        )
    sites = [FindingSite(_concept(*site), laterality=_concept(*side) if side else None)] if site else None
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(name),
        finding_type=_concept(*finding) if finding else None,
        finding_sites=sites,
        measurements=measurements,
    )
    return _highdicom(group, [of], reader)


def highdicom_region(of: Dataset, graphic: str, points: Points, name: str) -> Dataset:
    """A planar region of TID 1410 on one image."""
    region = ImageRegion(graphic, np.array(points, float), SourceImageForRegion.from_source_image(of))
    area = Measurement(name=codes.SCT.Area, value=12.0, unit=codes.UCUM.SquareMillimeter)
    group = PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(name), referenced_region=region, measurements=[area]
    )
    return _highdicom(group, [of], "Reader^One")


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def node(value_type: str, name: tuple[str, str, str] | None = None, *content: Dataset, **values: object) -> Dataset:
    """A content item by hand; `values` are its further attributes, a `code` its value."""
    item = Dataset()
    item.ValueType, item.RelationshipType = value_type, "CONTAINS"
    if name is not None:
        item.ConceptNameCodeSequence = [_code(*name)]
    if "code" in values:
        item.ConceptCodeSequence = [_code(*values.pop("code"))]  # type: ignore[misc]
    for keyword, value in values.items():
        setattr(item, keyword, value)
    if content:
        item.ContentSequence = list(content)
    return item


def image_node(of: Dataset, frame: int | list[int] | None = None) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = of.SOPClassUID, of.SOPInstanceUID
    if frame is not None:
        reference.ReferencedFrameNumber = frame
    return node("IMAGE", None, ReferencedSOPSequence=[reference])


def flat(points: Points) -> list[float]:
    return [float(v) for point in points for v in point]


GROUP = ("125007", "DCM", "Measurement Group")
LENGTH = ("410668003", "SCT", "Length")
TRACKING = ("112039", "DCM", "Tracking Identifier")
COMMENT = ("121106", "DCM", "Comment")
FINDING = ("121071", "DCM", "Finding")
SITE = ("363698007", "SCT", "Finding Site")


def number(name: tuple[str, str, str], coordinates: Dataset | None, value: str = "", unit: str = "mm") -> Dataset:
    measured = Dataset()
    measured.NumericValue = value or "1"
    measured.MeasurementUnitsCodeSequence = [_code(unit, "UCUM", unit)]
    return node("NUM", name, *([coordinates] if coordinates else []), MeasuredValueSequence=[measured] if value else [])


def line(of: Dataset, points: Points) -> Dataset:
    return node("SCOORD", None, image_node(of), GraphicType="POLYLINE", GraphicData=flat(points))


def slicer_line(points: Points, name: str, frame_of_reference: str) -> Dataset:
    """A line in the patient, as 3D Slicer's reports have it: SCOORD3D, the finding as a code."""
    scoord = node(
        "SCOORD3D", None, GraphicType="POLYLINE", GraphicData=flat(points),
        ReferencedFrameOfReferenceUID=frame_of_reference,
    )  # fmt: skip
    return node(
        "CONTAINER",
        GROUP,
        node("TEXT", TRACKING, TextValue=name),
        node("NUM", LENGTH, scoord, MeasuredValueSequence=[]),
    )


def report(*groups: Dataset, spec: PhantomSpec = SPEC, number: int = 1, **values: object) -> Dataset:
    """A report by hand around measurement groups."""
    ds = patient_and_study(spec)
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.33", spec.uid("by hand", number)
    ds.SeriesInstanceUID, ds.Modality = spec.uid("by hand series"), "SR"
    ds.ContentDate, ds.ContentTime = spec.study_date, "120000"
    ds.ValueType, ds.ConceptNameCodeSequence = "CONTAINER", [_code("126000", "DCM", "Imaging Measurement Report")]
    ds.ContentSequence = [node("CONTAINER", ("126010", "DCM", "Imaging Measurements"), *groups)]
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def group(*content: Dataset) -> Dataset:
    return node("CONTAINER", GROUP, *content)


def graphic(kind: str, points: Points, units: str = "PIXEL", linked: int | None = None) -> Dataset:
    item = Dataset()
    item.GraphicAnnotationUnits, item.GraphicDimensions = units, 2
    item.NumberOfGraphicPoints, item.GraphicData, item.GraphicType = len(points), flat(points), kind
    if linked is not None:
        item.GraphicGroupID = linked
    return item


def text(words: str, anchor: tuple[float, float] | None = None, linked: int | None = None) -> Dataset:
    item = Dataset()
    item.UnformattedTextValue = words
    if anchor is not None:
        item.AnchorPointAnnotationUnits, item.AnchorPoint, item.AnchorPointVisibility = "PIXEL", list(anchor), "Y"
    if linked is not None:
        item.GraphicGroupID = linked
    return item


def state(of: Dataset, graphics: Sequence[Dataset], texts: Sequence[Dataset]) -> Dataset:
    """A presentation state with one annotation on one image."""
    ds = patient_and_study(SPEC)
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.11.1", SPEC.uid("state")
    ds.SeriesInstanceUID, ds.Modality = SPEC.uid("state series"), "PR"
    ds.PresentationCreationDate, ds.PresentationCreationTime = SPEC.study_date, "120000"
    reference = image_node(of).ReferencedSOPSequence[0]
    series = Dataset()
    series.SeriesInstanceUID, series.ReferencedImageSequence = of.SeriesInstanceUID, [reference]
    ds.ReferencedSeriesSequence = [series]
    annotation = Dataset()
    annotation.ReferencedImageSequence, annotation.GraphicLayer = [reference], "LAYER"
    annotation.GraphicObjectSequence, annotation.TextObjectSequence = list(graphics), list(texts)
    ds.GraphicAnnotationSequence = [annotation]
    return ds
