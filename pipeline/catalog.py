"""What is known of each instance from its header alone, and instances grouped into series and an exam.

`InstanceFacts` is what the ledger keeps of an instance (as JSON) and what sequence matching and assembly reason
about, so that neither opens a file twice. It holds no names of people; `patient_key` is a digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.records import Code, InstanceRef

SEGMENTATION_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
RTSTRUCT_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
REGISTRATION_CLASS = "1.2.840.10008.5.1.4.1.1.66.1"
MR_CLASSES = ("1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.4")

Value = None | int | float | str | list[int] | list[float] | list[str]


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    number: int
    label: str
    property_category: Code | None = None
    property_type: Code | None = None
    anatomy: Code | None = None


@dataclass(frozen=True, slots=True)
class InstanceFacts:
    """One instance. `tags`: DICOM keywords (and our names of private values) to plain values, where present.

    `references`: the images that a SEG, RTSTRUCT or registration refers to. `ours`: the instance is a result of axrad.
    """

    ref: InstanceRef
    modality: str
    transfer_syntax_uid: str
    patient_key: str
    frame_of_reference_uid: str | None = None
    frames: int = 1
    tags: Mapping[str, Value] = field(default_factory=dict)
    references: tuple[InstanceRef, ...] = ()
    segments: tuple[SegmentFacts, ...] = ()
    ours: bool = False
    path: Path | None = None

    @property
    def is_image(self) -> bool:
        return self.ref.sop_class_uid in MR_CLASSES

    @property
    def is_roi(self) -> bool:
        return self.ref.sop_class_uid in (*SEGMENTATION_CLASSES, RTSTRUCT_CLASS)


@dataclass(frozen=True, slots=True)
class SeriesFacts:
    series_uid: str
    instances: tuple[InstanceFacts, ...]

    def tag(self, keyword: str) -> Value:
        """The value in the first instance that has one."""
        return next((i.tags[keyword] for i in self.instances if i.tags.get(keyword) is not None), None)


@dataclass(frozen=True, slots=True)
class Exam:
    """Everything of one study: image series, ROI objects, registrations."""

    study_uid: str
    series: tuple[SeriesFacts, ...]
    rois: tuple[InstanceFacts, ...] = ()
    registrations: tuple[InstanceFacts, ...] = ()


def patient_key(patient_id: str, issuer: str) -> str:
    """An opaque key that tells whether two objects claim the same patient."""
    return hashlib.sha256(f"{issuer}\0{patient_id}".encode()).hexdigest()[:16]


def group(instances: Iterable[InstanceFacts]) -> tuple[SeriesFacts, ...]:
    """Instances by Series Instance UID, series and instances in a stable order."""
    by_series: dict[str, list[InstanceFacts]] = {}
    for instance in instances:
        by_series.setdefault(instance.ref.series_uid, []).append(instance)
    return tuple(SeriesFacts(uid, tuple(sorted(by_series[uid], key=lambda i: i.ref))) for uid in sorted(by_series))


def exam_of(study_uid: str, instances: Sequence[InstanceFacts]) -> Exam:
    """Sort one study's instances into images, ROIs and registrations; our own results are left out."""
    theirs = [i for i in instances if not i.ours]
    return Exam(
        study_uid,
        group(i for i in theirs if i.is_image),
        tuple(sorted((i for i in theirs if i.is_roi), key=lambda i: i.ref)),
        tuple(sorted((i for i in theirs if i.ref.sop_class_uid == REGISTRATION_CLASS), key=lambda i: i.ref)),
    )
