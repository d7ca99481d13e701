"""The page as DICOM objects: a Secondary Capture image, and an Encapsulated PDF."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from config.schema import Settings
from dicom_sr import codes, common_attributes
from dicom_sr.language import words_of
from dicom_sr.report_source import ReportSource
from dicom_sr.sop_classes import ENCAPSULATED_PDF, SECONDARY_CAPTURE
from pipeline.result import StudyResult


def secondary_capture(
    pixels_yxc: npt.NDArray[np.uint8], result: StudyResult, source: ReportSource, settings: Settings
) -> bytes:
    """PS3.3 A.8.1: the page as an RGB image."""
    ds = common_attributes.start(result, source, settings, "page", SECONDARY_CAPTURE, "OT")
    ds.SeriesDescription = common_attributes.described(result, "what_page", settings)
    ds.ConversionType = "WSD"
    ds.BodyPartExamined = "BREAST"
    if result.laterality in ("L", "R"):
        ds.Laterality = result.laterality
    elif result.laterality == "B":
        ds.ImageLaterality = "B"
    else:
        ds.BodyPartExamined = "CHEST"
    ds.PatientOrientation = None
    ds.BurnedInAnnotation = "YES"
    ds.ImageType = ["DERIVED", "SECONDARY"]
    ds.DerivationDescription = words_of(settings)("derivation")
    if source.report in source.objects:
        report = common_attributes.sop_item(source.objects[source.report])
        report.PurposeOfReferenceCodeSequence = [common_attributes.code_item(codes.SOURCE_REPORT)]
        ds.SourceInstanceSequence = [report]
    rows, columns, samples = pixels_yxc.shape
    ds.SamplesPerPixel = samples
    ds.PhotometricInterpretation = "RGB"
    ds.PlanarConfiguration = 0
    ds.Rows, ds.Columns = rows, columns
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit = 7
    ds.PixelRepresentation = 0
    ds.PixelData = pixels_yxc.tobytes()
    return common_attributes.to_bytes(ds, source)


def encapsulated_pdf(pdf: bytes, result: StudyResult, source: ReportSource, settings: Settings) -> bytes:
    """PS3.3 A.45.1: the page as PDF."""
    ds = common_attributes.start(result, source, settings, "pdf", ENCAPSULATED_PDF, "DOC")
    ds.SeriesDescription = common_attributes.described(result, "what_pdf", settings)
    ds.ConversionType = "WSD"
    ds.AcquisitionDateTime = None
    ds.BurnedInAnnotation = "YES"
    ds.DocumentTitle = common_attributes.document_title(result, settings)
    ds.ConceptNameCodeSequence = [common_attributes.code_item(codes.TITLE)]
    ds.VerificationFlag = "UNVERIFIED"
    ds.SourceInstanceSequence = _sources(result, source)
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf"
    ds.EncapsulatedDocumentLength = len(pdf)
    ds.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    return common_attributes.to_bytes(ds, source)


def _sources(result: StudyResult, source: ReportSource) -> list[Dataset]:
    report = [source.objects[source.report]] if source.report in source.objects else []
    return [common_attributes.sop_item(ref) for ref in (*report, *common_attributes.used(result, source))]
