"""What the maker of a SEG or RTSTRUCT says of each segment: its words and codes, no pixels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from pydicom import Dataset

from pipeline.catalog.acceptance import Acceptance, acceptance_of
from pipeline.catalog.facts import InstanceFacts, SegmentFacts
from pipeline.catalog.own_mark import has_mark
from pipeline.dicom_file.text_values import text_of
from pipeline.errors import RoiRejected
from pipeline.records import Code, InstanceRef, Origin
from pipeline.volumes.frames import SEGMENTATIONS

RTSTRUCT_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
BACKGROUND = ("125040", "DCM")
MANUAL, AUTOMATIC = "MANUAL", "AUTOMATIC"
# The algorithm of regions that are proposed by functional tumour volume; no model may be called so.
ENHANCEMENT = "axrad functional tumour volume"


@dataclass(frozen=True, slots=True)
class Description:
    """One segment, or one ROI of an RTSTRUCT. `anatomies` and `modifiers`: every region and modifier code given.

    `algorithm_type`: MANUAL, SEMIAUTOMATIC, AUTOMATIC, or empty where it is not told; `algorithm`: the software's name.
    `accepted`: of a proposal of ours that somebody stands for, who. `edited`: the object holds our mark; what is
    read of it as a region was changed by somebody since, whatever algorithm it still names.
    """

    path: Path
    source: InstanceRef
    number: int
    label: str
    text: str = ""
    category: Code | None = None
    type: Code | None = None
    anatomies: tuple[Code, ...] = ()
    modifiers: tuple[Code, ...] = ()
    tracking_id: str | None = None
    tracking_uid: str | None = None
    algorithm_type: str = ""
    algorithm: str = ""
    accepted: Acceptance | None = None
    edited: bool = False

    @property
    def origin(self) -> Origin:
        """Who made it: a reader, where the object does not say that software did."""
        if self.accepted is not None:
            return self.accepted.origin
        return "drawn" if self.edited or self.algorithm_type in ("", MANUAL) else "model"

    @property
    def proposed_origin(self) -> Origin:
        """Of a segment that we proposed: from measurements, from enhancement, or by a site's model."""
        if self.algorithm_type != AUTOMATIC:
            return "measured"
        return "enhancement" if self.algorithm == ENHANCEMENT else "model"

    @property
    def name(self) -> str:
        """How messages call this segment."""
        meaning = f", {self.type.meaning}" if self.type else ""
        return f"segment {self.number} ({self.label or 'no label'}{meaning}) of {self.source.sop_instance_uid}"


def of_facts(roi: InstanceFacts, segment: SegmentFacts) -> Description:
    """What the catalogue knows of a segment, where the object itself is not at hand."""
    return Description(
        path=roi.path or Path(),
        source=roi.ref,
        number=segment.number,
        label=segment.label,
        category=segment.property_category,
        type=segment.property_type,
        anatomies=(segment.anatomy,) if segment.anatomy else (),
        algorithm_type=segment.algorithm_type,
        edited=roi.tags.get("own_mark") == "changed",
    )


def describe(ds: Dataset, path: Path) -> tuple[Description, ...]:
    """Every segment of the object, background left out. Raises RoiRejected if it is neither SEG nor RTSTRUCT."""
    uid = str(ds.get("SOPInstanceUID", ""))
    kind = str(ds.get("SOPClassUID", ""))
    ref = InstanceRef(str(ds.get("StudyInstanceUID", "")), str(ds.get("SeriesInstanceUID", "")), kind, uid)
    if kind in SEGMENTATIONS:
        items = ds.get("SegmentSequence") or []
        drawn = tuple(_segment(item, ref, path) for item in items if not _is_background(item))
        accepted = acceptance_of(ds)
        if accepted is None:
            return tuple(replace(s, edited=True) for s in drawn) if has_mark(ds) else drawn
        return tuple(replace(s, accepted=accepted) for s in drawn if s.number in accepted.numbers)
    if kind == RTSTRUCT_CLASS:
        return _structures(ds, ref, path)
    raise RoiRejected(f"{path.name} is neither a segmentation nor a structure set", uid=uid)


def _is_background(item: Dataset) -> bool:
    type_ = _code(item, "SegmentedPropertyTypeCodeSequence")
    return int(item.SegmentNumber) == 0 or (type_ is not None and (type_.value, type_.scheme) == BACKGROUND)


def _segment(item: Dataset, ref: InstanceRef, path: Path) -> Description:
    type_items = item.get("SegmentedPropertyTypeCodeSequence") or []
    regions = item.get("AnatomicRegionSequence") or []
    modifiers = [
        *(m for t in type_items for m in t.get("SegmentedPropertyTypeModifierCodeSequence") or []),
        *(item.get("SegmentedPropertyTypeModifierCodeSequence") or []),
        *(m for r in regions for m in r.get("AnatomicRegionModifierSequence") or []),
    ]
    return Description(
        path,
        ref,
        int(item.SegmentNumber),
        text_of(item, "SegmentLabel"),
        text_of(item, "SegmentDescription"),
        _code(item, "SegmentedPropertyCategoryCodeSequence"),
        _code(item, "SegmentedPropertyTypeCodeSequence"),
        _codes([*regions, *(item.get("PrimaryAnatomicStructureSequence") or [])]),
        _codes(modifiers),
        text_of(item, "TrackingID") or None,
        text_of(item, "TrackingUID") or None,
        text_of(item, "SegmentAlgorithmType").upper(),
        text_of(item, "SegmentAlgorithmName"),
    )


def _structures(ds: Dataset, ref: InstanceRef, path: Path) -> tuple[Description, ...]:
    observed = {int(o.ReferencedROINumber): o for o in ds.get("RTROIObservationsSequence") or []}
    segments = []
    for item in ds.get("StructureSetROISequence") or []:
        number = int(item.ROINumber)
        observation = observed.get(number, Dataset())
        segments.append(
            Description(
                path,
                ref,
                number,
                text_of(item, "ROIName") or text_of(observation, "ROIObservationLabel"),
                text_of(item, "ROIDescription"),
                None,
                _code(observation, "RTROIIdentificationCodeSequence"),
                _codes(observation.get("AnatomicRegionSequence") or []),
                algorithm_type=text_of(item, "ROIGenerationAlgorithm").upper(),
            )
        )
    return tuple(segments)


def _code(item: Dataset, keyword: str) -> Code | None:
    return next(iter(_codes(item.get(keyword) or [])), None)


def _codes(items: Iterable[Dataset]) -> tuple[Code, ...]:
    codes = []
    for item in items:
        value = text_of(item, "CodeValue") or text_of(item, "LongCodeValue") or text_of(item, "URNCodeValue")
        if value:
            codes.append(Code(value, text_of(item, "CodingSchemeDesignator"), text_of(item, "CodeMeaning")))
    return tuple(codes)
