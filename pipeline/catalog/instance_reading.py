"""One file's header to `InstanceFacts`. Pixels are not read, and a file that is no DICOM says why."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from pipeline.catalog.acceptance import acceptance_of
from pipeline.catalog.facts import (
    ACCEPTED,
    ACCESSION,
    OUR_MANUFACTURER,
    REGISTRATION_CLASS,
    REJECTED_PROPOSAL,
    RESULT_CLASS_ROOTS,
    RTSTRUCT_CLASS,
    SEGMENTATION_CLASSES,
    UNCONFIRMED,
    InstanceFacts,
    Value,
    accession_key,
    patient_key,
)
from pipeline.catalog.frames import frame_facts
from pipeline.catalog.header_tags import derived_values, stated_values
from pipeline.catalog.own_mark import has_mark, state_of
from pipeline.catalog.references import author_tags, reference_tags, references, segments
from pipeline.catalog.region_presence import region_tags
from pipeline.dicom_file import bounded_reading
from pipeline.dicom_file.bounded_reading import MALFORMED, reason_of
from pipeline.dicom_file.reading_marker import marked
from pipeline.dicom_file.text_values import text_of
from pipeline.dicom_file.value_repair import repair
from pipeline.errors import NotDicom
from pipeline.records import InstanceRef
from pipeline.vendor_headers.tiled_images import tile_facts

# PS3.16 CID 7005.
_ACQUISITION = ("109101", "DCM")

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
    faulty: dict[str, Value] = {"unreadable": sorted(faults.broken), "decimal_comma": sorted(faults.commas)}
    return replace(facts, tags={**facts.tags, **{name: words for name, words in faulty.items() if words}})


def _facts(dataset: Dataset, path: Path) -> InstanceFacts:
    uids = {k: text_of(dataset, k) for k in ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID")}
    for keyword, uid in uids.items():
        if len(uid) > 64 or not _UID.fullmatch(uid):
            raise NotDicom(f"{path} has {'no valid' if uid else 'no'} {keyword}, so it cannot be told apart")
    sop_class = uids["SOPClassUID"]
    is_roi = sop_class in (*SEGMENTATION_CLASSES, RTSTRUCT_CLASS)
    named = references(dataset) if is_roi or sop_class == REGISTRATION_CLASS else ()
    tags = stated_values(dataset) | frame_facts(dataset) | derived_values(dataset)
    tags |= tile_facts(dataset)
    patient_id, issuer = text_of(dataset, "PatientID"), text_of(dataset, "IssuerOfPatientID")
    if issuer:
        # Another system may know the patient without the issuer of the id.
        tags["patient_id_key"] = patient_key(patient_id, "")
    if number := accession_key(text_of(dataset, "AccessionNumber")):
        tags[ACCESSION] = number
    if is_roi:
        tags |= reference_tags(named) | author_tags(dataset) | region_tags(dataset, sop_class, path)
    mark = state_of(path) if sop_class in SEGMENTATION_CLASSES and has_mark(dataset) else "none"
    if mark != "none":
        tags["own_mark"] = mark
    described = segments(dataset) if is_roi else ()
    acceptance = acceptance_of(dataset) if mark == "ours" else None
    if acceptance is not None:
        # Ours it stays until somebody who has the site's key finds the seal to be ours too.
        tags[REJECTED_PROPOSAL if acceptance.word == "rejected" else ACCEPTED] = acceptance.origin
        if acceptance.word == "preliminary":
            tags[UNCONFIRMED] = True
        described = tuple(s for s in described if s.number in acceptance.numbers)
    frame_of_reference = text_of(dataset, "FrameOfReferenceUID")
    return InstanceFacts(
        ref=InstanceRef(*uids.values()),
        modality=text_of(dataset, "Modality"),
        transfer_syntax_uid=_transfer_syntax(dataset),
        patient_key=patient_key(patient_id, issuer),
        frame_of_reference_uid=frame_of_reference or None,
        frames=_frames(dataset, path),
        tags=tags,
        references=tuple(r.ref for r in named),
        segments=described,
        ours=mark == "ours" or _is_ours(dataset, sop_class),
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


def _is_ours(dataset: Dataset, sop_class: str) -> bool:
    if not any(sop_class == root or sop_class.startswith(root + ".") for root in RESULT_CLASS_ROOTS):
        return False
    contributors = dataset.get("ContributingEquipmentSequence") or []
    makers = [dataset, *(c for c in contributors if not _made_its_source(c))]
    return any(text_of(m, "Manufacturer").lower() == OUR_MANUFACTURER for m in makers)


def _made_its_source(contributor: Dataset) -> bool:
    """Whether it is named as what made the objects that this one is about, as highdicom names it."""
    purposes = contributor.get("PurposeOfReferenceCodeSequence") or []
    return any((text_of(p, "CodeValue"), text_of(p, "CodingSchemeDesignator")) == _ACQUISITION for p in purposes)
