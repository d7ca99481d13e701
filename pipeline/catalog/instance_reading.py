"""One file's header to `InstanceFacts`. Pixels are not read, and a file that is no DICOM says why."""

from __future__ import annotations

import math
import re
import struct
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.tag import Tag

from pipeline.catalog.facts import (
    OUR_MANUFACTURER,
    PARAMETRIC_MAP_CLASS,
    REGISTRATION_CLASS,
    RESULT_CLASS_ROOTS,
    RTSTRUCT_CLASS,
    SEGMENTATION_CLASSES,
    InstanceFacts,
    Value,
    patient_key,
)
from pipeline.catalog.frames import frame_facts
from pipeline.catalog.references import author_tags, reference_tags, references, segments
from pipeline.catalog.region_presence import region_tags
from pipeline.dicom_file import bounded_reading, fast_header, fast_values
from pipeline.dicom_file.bounded_reading import MALFORMED, reason_of
from pipeline.dicom_file.reading_marker import marked
from pipeline.dicom_file.text_values import clean, text_of
from pipeline.dicom_file.value_repair import repair
from pipeline.errors import NotDicom
from pipeline.records import InstanceRef
from pipeline.vendor_headers import b_values
from pipeline.vendor_headers.tiled_images import tile_facts

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
    "DerivationDescription",
    "PhotometricInterpretation",
    "AcquisitionContrast",
    "VolumetricProperties",
    "ComplexImageComponent",
    "SegmentationType",
    "SegmentationFractionalType",
    "ContentLabel",
    "ContentDescription",
    "StructureSetLabel",
    "StructureSetDate",
    "StructureSetTime",
    "ApprovalStatus",
    "PatientPosition",
]
_NUMBER_TAGS = [(fast_header.tag_of(k) or Tag(k), k) for k in NUMBERS]
_TEXT_TAGS = [(fast_header.tag_of(k) or Tag(k), k) for k in TEXTS]
# "Quantity" in SCT and in SRT.
QUANTITY = ("246205007", "G-C1C6")
MOST_FRAMES = 1_000_000
_UID = re.compile(r"[0-9]+(\.[0-9]+)+")


def read_facts(path: Path) -> InstanceFacts:
    """The facts of one file.

    Raises:
        NotDicom: the file cannot be read, is no DICOM, or does not say what it is. The reason holds no value that could
            identify a patient.
    """
    try:
        with marked(path), warnings.catch_warnings():
            # A value that breaks a rule of its VR is the sender's matter; what is needed from it is checked below.
            warnings.simplefilter("ignore")
            return _sound_facts(path)
    except NotDicom:
        raise
    except MALFORMED as error:
        raise NotDicom(f"{path} is no readable DICOM file: {reason_of(error)}") from error


def _sound_facts(path: Path) -> InstanceFacts:
    """The facts; where a value breaks a rule, those of the header without such values, which are named.

    `unreadable`: keywords of values left out. `decimal_comma`: keywords of numbers so written.
    """
    try:
        facts = _facts(bounded_reading.read(path, force=None), path)
        if "unreadable" not in facts.tags:
            return facts
    except (NotDicom, OSError, RecursionError, MemoryError, InvalidDicomError):
        raise
    except MALFORMED:
        pass
    dataset = bounded_reading.read(path, force=None)
    faults = repair(dataset)
    try:
        facts = _facts(dataset, path)
    except NotDicom as error:
        left_out = f"; unreadable: {faults.text}" if faults.broken else ""
        raise NotDicom(error.message + left_out, code=error.code, uid=error.uid) from error
    told: dict[str, Value] = {"unreadable": sorted(faults.broken), "decimal_comma": sorted(faults.commas)}
    return replace(facts, tags={**facts.tags, **{name: words for name, words in told.items() if words}})


def _facts(dataset: Dataset, path: Path) -> InstanceFacts:
    uids = {k: text_of(dataset, k) for k in ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID")}
    for keyword, uid in uids.items():
        if len(uid) > 64 or not _UID.fullmatch(uid):
            raise NotDicom(f"{path} has {'no valid' if uid else 'no'} {keyword}, so it cannot be told apart")
    sop_class = uids["SOPClassUID"]
    is_roi = sop_class in (*SEGMENTATION_CLASSES, RTSTRUCT_CLASS)
    found = references(dataset) if is_roi or sop_class == REGISTRATION_CLASS else ()
    tags = _tags(dataset) | frame_facts(dataset) | _diffusion(dataset) | _contrast(dataset) | _real_world(dataset)
    tags |= tile_facts(dataset)
    patient_id, issuer = text_of(dataset, "PatientID"), text_of(dataset, "IssuerOfPatientID")
    if issuer:
        # Not everyone who knows a patient tells whose id it is.
        tags["patient_id_key"] = patient_key(patient_id, "")
    if is_roi:
        tags |= reference_tags(found) | author_tags(dataset) | region_tags(dataset, sop_class, path)
    frame_of_reference = text_of(dataset, "FrameOfReferenceUID")
    return InstanceFacts(
        ref=InstanceRef(*uids.values()),
        modality=text_of(dataset, "Modality"),
        transfer_syntax_uid=_transfer_syntax(dataset),
        patient_key=patient_key(patient_id, issuer),
        frame_of_reference_uid=frame_of_reference or None,
        frames=_frames(dataset, path),
        tags=tags,
        references=tuple(r.ref for r in found),
        segments=segments(dataset) if is_roi else (),
        ours=_is_ours(dataset, sop_class),
        path=path,
    )


def _frames(dataset: Dataset, path: Path) -> int:
    frames = int(dataset.get("NumberOfFrames") or 1)
    described = len(dataset.get("PerFrameFunctionalGroupsSequence") or [])
    if not 0 < frames <= MOST_FRAMES or (described and described != frames):
        raise NotDicom(f"{path} says that it has {frames} frames and describes {described}")
    return frames


def _transfer_syntax(dataset: Dataset) -> str:
    named = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
    if named:
        return str(named)
    # Without file meta information it is what the bytes showed themselves to be.
    implicit, _little = dataset.original_encoding
    return "1.2.840.10008.1.2" if implicit else "1.2.840.10008.1.2.1"


def _tags(dataset: Dataset) -> dict[str, Value]:
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


def _diffusion(dataset: Dataset) -> dict[str, Value]:
    """`b_value`, `b_value_source`, `diffusion_kind`, `diffusion_direction` of a single-frame image."""
    tags: dict[str, Value] = {}
    told = b_values.kind(dataset)
    if told is not None:
        tags["diffusion_kind"] = told
    if dataset.get("PerFrameFunctionalGroupsSequence"):
        return tags
    found = b_values.b_value(dataset)
    if found is not None:
        tags["b_value"], tags["b_value_source"] = found.value, found.source
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


def _is_ours(dataset: Dataset, sop_class: str) -> bool:
    if not any(sop_class == root or sop_class.startswith(root + ".") for root in RESULT_CLASS_ROOTS):
        return False
    makers = [dataset, *(dataset.get("ContributingEquipmentSequence") or [])]
    return any(text_of(m, "Manufacturer").lower() == OUR_MANUFACTURER for m in makers)
