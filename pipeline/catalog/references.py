"""What a SEG, RTSTRUCT or registration refers to, and the segments of a SEG or the ROIs of an RTSTRUCT."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

from pydicom.dataset import Dataset
from pydicom.tag import Tag

from pipeline.catalog.facts import SegmentFacts, Value
from pipeline.dicom_file.text_values import text_of
from pipeline.records import Code, InstanceRef

DERIVATION = Tag("DerivationImageSequence")


class Reference(NamedTuple):
    """`precise`: named as the very source of a contour or frame, not only as part of a series."""

    ref: InstanceRef
    frames: tuple[int, ...] = ()
    precise: bool = False


def references(dataset: Dataset) -> tuple[Reference, ...]:
    """Every image referred to, once. A reference that names no series or study has an empty UID there."""
    own_study = text_of(dataset, "StudyInstanceUID")
    named = [
        *_by_series(dataset, own_study),
        *_by_frames(dataset),
        *_by_structures(dataset),
        *_by_registration(dataset),
    ]
    merged: dict[str, Reference] = {}
    frames: dict[str, set[int]] = {}
    for reference in named:
        uid = reference.ref.sop_instance_uid or reference.ref.series_uid
        known = merged.setdefault(uid, reference)
        # Collected before they are sorted: thousands of frames of one image may come one by one.
        frames.setdefault(uid, set()).update(reference.frames)
        ref = known.ref if known.ref.series_uid else reference.ref
        merged[uid] = Reference(ref, (), known.precise or reference.precise)
    return tuple(r._replace(frames=tuple(sorted(frames[uid]))) for uid, r in merged.items())


def reference_tags(named: tuple[Reference, ...]) -> dict[str, Value]:
    """`drawn_on`: instances named as the very source; `drawn_on_frames`: "UID#frame" where frames are named too."""
    tags: dict[str, Value] = {}
    precise = [r for r in named if r.precise]
    if precise:
        tags["drawn_on"] = [r.ref.sop_instance_uid for r in precise]
    frames = [f"{r.ref.sop_instance_uid}#{n}" for r in precise for n in r.frames]
    if frames:
        tags["drawn_on_frames"] = frames
    return tags


def segments(dataset: Dataset) -> tuple[SegmentFacts, ...]:
    """Segments of a SEG by number, or ROIs of an RTSTRUCT."""
    described = [
        SegmentFacts(
            int(item.get("SegmentNumber") or 0),
            text_of(item, "SegmentLabel"),
            _code(item, "SegmentedPropertyCategoryCodeSequence"),
            _code(item, "SegmentedPropertyTypeCodeSequence"),
            _code(item, "AnatomicRegionSequence"),
            text_of(item, "SegmentAlgorithmType").upper(),
        )
        for item in dataset.get("SegmentSequence") or []
    ]
    observed = {int(o.get("ReferencedROINumber") or 0): o for o in dataset.get("RTROIObservationsSequence") or []}
    for item in dataset.get("StructureSetROISequence") or []:
        number = int(item.get("ROINumber") or 0)
        observation = observed.get(number, Dataset())
        property_type = _code(observation, "RTROIIdentificationCodeSequence")
        label = text_of(item, "ROIName") or text_of(observation, "ROIObservationLabel")
        made = text_of(item, "ROIGenerationAlgorithm").upper()
        described.append(SegmentFacts(number, label, None, property_type, None, made))
    return tuple(sorted(described, key=lambda s: s.number))


def author_tags(dataset: Dataset) -> dict[str, Value]:
    """A digest that tells whether two objects have the same author, so that no person's name is kept."""
    for keyword in ("ContentCreatorName", "OperatorsName"):
        name = text_of(dataset, keyword)
        if name:
            return {"author_key": hashlib.sha256(name.casefold().encode()).hexdigest()[:16]}
    return {}


def _code(dataset: Dataset, sequence: str) -> Code | None:
    for item in (dataset.get(sequence) or [])[:1]:
        value = text_of(item, "CodeValue") or text_of(item, "LongCodeValue") or text_of(item, "URNCodeValue")
        return Code(value, text_of(item, "CodingSchemeDesignator"), text_of(item, "CodeMeaning"))
    return None


def _reference(item: Dataset, study: str, series: str, precise: bool) -> Reference | None:
    uid = text_of(item, "ReferencedSOPInstanceUID")
    if not uid:
        return None
    frames = item.get("ReferencedFrameNumber")
    numbers = [] if frames is None or frames == "" else frames if hasattr(frames, "__len__") else [frames]
    ref = InstanceRef(study, series, text_of(item, "ReferencedSOPClassUID"), uid)
    return Reference(ref, tuple(sorted({int(n) for n in numbers})), precise)


def _of_series(dataset: Dataset, study: str) -> Iterator[Reference]:
    for series in dataset.get("ReferencedSeriesSequence") or []:
        uid = text_of(series, "SeriesInstanceUID")
        items = series.get("ReferencedInstanceSequence") or series.get("ReferencedSOPSequence") or []
        named = [r for r in (_reference(i, study, uid, False) for i in items) if r is not None]
        yield from named or [Reference(InstanceRef(study, uid, "", ""))]


def _by_series(dataset: Dataset, own_study: str) -> Iterator[Reference]:
    yield from _of_series(dataset, own_study)
    for study in dataset.get("StudiesContainingOtherReferencedInstancesSequence") or []:
        yield from _of_series(study, text_of(study, "StudyInstanceUID"))


def _by_frames(dataset: Dataset) -> Iterator[Reference]:
    groups = [
        *(dataset.get("SharedFunctionalGroupsSequence") or []),
        *(dataset.get("PerFrameFunctionalGroupsSequence") or []),
    ]
    seen: set[bytes] = set()
    for group in groups:
        # Thousands of frames may say the same, byte for byte, and are then not taken apart each.
        raw = getattr(group.get_item(DERIVATION), "value", None) if DERIVATION in group else None
        if isinstance(raw, bytes):
            if raw in seen:
                continue
            seen.add(raw)
        for derivation in group.get("DerivationImageSequence") or []:
            for item in derivation.get("SourceImageSequence") or []:
                reference = _reference(item, "", "", True)
                if reference is not None:
                    yield reference
    for item in dataset.get("SourceImageSequence") or []:
        reference = _reference(item, "", "", False)
        if reference is not None:
            yield reference


def _by_structures(dataset: Dataset) -> Iterator[Reference]:
    for frame in dataset.get("ReferencedFrameOfReferenceSequence") or []:
        for study in frame.get("RTReferencedStudySequence") or []:
            study_uid = text_of(study, "ReferencedSOPInstanceUID")
            for series in study.get("RTReferencedSeriesSequence") or []:
                uid = text_of(series, "SeriesInstanceUID")
                items = series.get("ContourImageSequence") or []
                named = [r for r in (_reference(i, study_uid, uid, False) for i in items) if r is not None]
                yield from named or [Reference(InstanceRef(study_uid, uid, "", ""))]
    for roi in dataset.get("ROIContourSequence") or []:
        for contour in roi.get("ContourSequence") or []:
            for item in contour.get("ContourImageSequence") or []:
                reference = _reference(item, "", "", True)
                if reference is not None:
                    yield reference


def _by_registration(dataset: Dataset) -> Iterator[Reference]:
    for registration in dataset.get("RegistrationSequence") or []:
        for item in registration.get("ReferencedImageSequence") or []:
            reference = _reference(item, "", "", False)
            if reference is not None:
                yield reference
