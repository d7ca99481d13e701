"""The values of one header that the catalog keeps: numbers, texts, diffusion, contrast and real world values."""

from __future__ import annotations

import math
import struct
from typing import Any  # Any: DICOM values, of any type until they are checked

from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.multival import MultiValue
from pydicom.tag import Tag

from pipeline.catalog.facts import PARAMETRIC_MAP_CLASS, Value
from pipeline.dicom_file import fast_header, fast_values
from pipeline.dicom_file.text_values import clean, text_of
from pipeline.vendor_headers import b_values

NUMBERS = [
    "SeriesNumber",
    "AcquisitionNumber",
    "InstanceNumber",
    "RepetitionTime",
    "EchoTime",
    "InversionTime",
    "FlipAngle",
    "EchoTrainLength",
    "EchoNumbers",
    "TemporalPositionIdentifier",
    "NumberOfTemporalPositions",
    "TemporalResolution",
    "TriggerTime",
    "ContrastBolusVolume",
    "ContrastFlowRate",
    "Rows",
    "Columns",
    "SliceThickness",
    "SpacingBetweenSlices",
    "SliceLocation",
    "ImagesInAcquisition",
    "RescaleSlope",
    "RescaleIntercept",
    "MagneticFieldStrength",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "SamplesPerPixel",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "MaximumFractionalValue",
]
TEXTS = [
    "SpecificCharacterSet",
    "StudyDate",
    "StudyTime",
    "StudyDescription",
    "RequestedProcedureDescription",
    "PerformedProcedureStepDescription",
    "ReceiveCoilName",
    "SeriesDate",
    "SeriesTime",
    "SeriesDescription",
    "ProtocolName",
    "SequenceName",
    "PulseSequenceName",
    "ImageType",
    "ScanningSequence",
    "SequenceVariant",
    "ScanOptions",
    "MRAcquisitionType",
    "ContrastBolusAgent",
    "ContrastBolusStartTime",
    "AcquisitionDate",
    "AcquisitionTime",
    "AcquisitionDateTime",
    "ContentDate",
    "ContentTime",
    "InstanceCreationDate",
    "InstanceCreationTime",
    "BodyPartExamined",
    "Laterality",
    "ImageLaterality",
    "Manufacturer",
    "ManufacturerModelName",
    "SoftwareVersions",
    "StationName",
    "InstitutionalDepartmentName",
    "RequestingService",
    "RescaleType",
    "Units",
    "LossyImageCompression",
    "PhotometricInterpretation",
    "AcquisitionContrast",
    "VolumetricProperties",
    "ComplexImageComponent",
    "SegmentationType",
    "SegmentationFractionalType",
    "StructureSetDate",
    "StructureSetTime",
    "PatientPosition",
]
_NUMBER_TAGS = [(fast_header.tag_of(k) or Tag(k), k) for k in NUMBERS]
_TEXT_TAGS = [(fast_header.tag_of(k) or Tag(k), k) for k in TEXTS]
# "Quantity" in SCT and in SRT.
QUANTITY = ("246205007", "G-C1C6")


def stated_values(dataset: Dataset) -> dict[str, Value]:
    """Numbers and texts by keyword. `unreadable`: keywords of those that break a rule of their VR."""
    tags: dict[str, Value] = {}
    unreadable: list[str] = []
    present = dataset.keys()
    for keywords, read, convert in (
        (_NUMBER_TAGS, fast_values.number, _numbers),
        (_TEXT_TAGS, fast_values.text, _texts),
    ):
        for tag, keyword in keywords:
            if tag not in present:
                continue
            value = read(dataset.get_item(tag))
            if value is not fast_values.UNSURE:
                tags[keyword] = value
                continue
            try:
                value = convert(dataset[tag].value)
            except (ValueError, TypeError, LookupError, struct.error, BytesLengthException):
                unreadable.append(keyword)
                continue
            if value is not None:
                tags[keyword] = value
    if unreadable:
        tags["unreadable"] = unreadable
    return tags


def _numbers(value: Any) -> Value:
    if value is None or value == "":
        return None
    if isinstance(value, (MultiValue, list)):
        return [_number(v) for v in value] or None
    return _number(value)


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not finite")
    return int(number) if number.is_integer() and isinstance(value, int) else number


def _texts(value: Any) -> Value:
    if value is None:
        return None
    if isinstance(value, (MultiValue, list)):
        return [clean(v) for v in value] or None
    return clean(value) or None


def derived_values(dataset: Dataset) -> dict[str, Value]:
    """Diffusion, contrast agent and real world value mapping, wherever the header states them."""
    return _diffusion(dataset) | _contrast(dataset) | _real_world(dataset)


def _diffusion(dataset: Dataset) -> dict[str, Value]:
    """`b_value`, `b_value_source`, `diffusion_kind`, `diffusion_direction` of a single-frame image."""
    tags: dict[str, Value] = {}
    kind = b_values.kind(dataset)
    if kind is not None:
        tags["diffusion_kind"] = kind
    if dataset.get("PerFrameFunctionalGroupsSequence"):
        return tags
    b_value = b_values.b_value(dataset)
    if b_value is not None:
        tags["b_value"], tags["b_value_source"] = b_value.value, b_value.source
    vector = b_values.direction(dataset)
    if vector is not None:
        tags["diffusion_direction"] = list(vector)
    return tags


def _contrast(dataset: Dataset) -> dict[str, Value]:
    """An agent named only inside the Contrast/Bolus Agent Sequence (enhanced objects) counts as named."""
    if text_of(dataset, "ContrastBolusAgent"):
        return {}
    for item in dataset.get("ContrastBolusAgentSequence") or []:
        return {"ContrastBolusAgent": text_of(item, "CodeMeaning") or "contrast agent"}
    return {}


def _real_world(dataset: Dataset) -> dict[str, Value]:
    """Slope, intercept and unit (UCUM) of the first real world value mapping, PS3.3 C.7.6.16.2.11."""
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [])[:1]
    first = (dataset.get("PerFrameFunctionalGroupsSequence") or [])[:1]
    # The mapping of a Parametric Map is applied frame by frame where its voxels are read.
    applied = text_of(dataset, "SOPClassUID") == PARAMETRIC_MAP_CLASS
    for place in (dataset, *shared, *first):
        for item in (place.get("RealWorldValueMappingSequence") or [])[:1]:
            units = (item.get("MeasurementUnitsCodeSequence") or [Dataset()])[0]
            slope, intercept = item.get("RealWorldValueSlope"), item.get("RealWorldValueIntercept")
            if slope is not None and text_of(units, "CodeValue"):
                return {
                    "real_world_unit": text_of(units, "CodeValue"),
                    "real_world_slope": 1.0 if applied else _number(slope),
                    "real_world_intercept": 0.0 if applied else _number(intercept or 0.0),
                    "real_world_quantity": _quantity(item) or None,
                }
    return {}


def _quantity(mapping: Dataset) -> str:
    """The code of what a real world value measures, as VALUE:SCHEME."""
    for item in mapping.get("QuantityDefinitionSequence") or []:
        name = (item.get("ConceptNameCodeSequence") or [Dataset()])[0]
        code = (item.get("ConceptCodeSequence") or [Dataset()])[0]
        if text_of(name, "CodeValue") in QUANTITY and text_of(code, "CodeValue"):
            return f"{text_of(code, 'CodeValue')}:{text_of(code, 'CodingSchemeDesignator')}"
    return ""
