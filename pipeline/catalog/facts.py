"""What is known of each instance from its header alone, and instances grouped into series and an exam.

`InstanceFacts` is what the ledger keeps of an instance (as JSON) and what sequence matching and assembly reason
about, so that neither opens a file twice. It holds no names of people; `patient_key` is a digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.records import Code, InstanceRef
from pipeline.records import Sequence as SequenceName

SEGMENTATION_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
RTSTRUCT_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
REGISTRATION_CLASS = "1.2.840.10008.5.1.4.1.1.66.1"
PARAMETRIC_MAP_CLASS = "1.2.840.10008.5.1.4.1.1.30"
MR_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.4",
    "1.2.840.10008.5.1.4.1.1.4.1",
    "1.2.840.10008.5.1.4.1.1.4.4",
    PARAMETRIC_MAP_CLASS,
)

# Classes in which readers' measurements are read: Enhanced, Comprehensive, Comprehensive 3D and Extensible SR;
# grayscale, color and pseudo-color presentation states.
MEASUREMENT_REPORT_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.88.22",
    "1.2.840.10008.5.1.4.1.1.88.33",
    "1.2.840.10008.5.1.4.1.1.88.34",
    "1.2.840.10008.5.1.4.1.1.88.35",
)
MEASUREMENT_STATE_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.11.1",
    "1.2.840.10008.5.1.4.1.1.11.2",
    "1.2.840.10008.5.1.4.1.1.11.3",
)
# Tag of a report or presentation state of others in which something is measured: on how many images.
MEASURES = "measures"
# Tag of a proposal of ours that somebody accepted, or that a preliminary result may be made of; its origin.
ACCEPTED = "accepted"
# Tag of an image that has an accession number: its digest. The ledger keeps it beside the exam, not with each image.
ACCESSION = "accession_key"
# Tag beside it: that nobody stands for it.
UNCONFIRMED = "unconfirmed"
# Tag of a proposal of ours that a reader rejected; its origin.
REJECTED_PROPOSAL = "rejected_proposal"
OUR_MANUFACTURER = "axrad"
# What axrad writes is one of these: structured reports, Secondary Captures, Encapsulated PDF, key objects,
# presentation states. An MR image or a SEG is never taken for a result of ours.
RESULT_CLASS_ROOTS = (
    "1.2.840.10008.5.1.4.1.1.88",
    "1.2.840.10008.5.1.4.1.1.7",
    "1.2.840.10008.5.1.4.1.1.104",
    "1.2.840.10008.5.1.4.1.1.11",
)

# Has the files of instances in their places before they are read. Where an exam's files are far away, only what is used
# comes; what is not to be had it raises.
Bring = Callable[[Iterable["InstanceFacts"]], None]


def all_here(instances: Iterable[InstanceFacts]) -> None:
    """Bring nothing: every file is in its place."""


Value = None | int | float | str | list[int] | list[float] | list[str]


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """`algorithm_type`: as the object says it; empty where it does not, and of facts of an earlier version."""

    number: int
    label: str
    property_category: Code | None = None
    property_type: Code | None = None
    anatomy: Code | None = None
    algorithm_type: str = ""


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

    def per_frame(self, name: str) -> list[float | str | None]:
        """A per-frame fact (`frame_...`) for every frame, in order; kept once where it is the same in all frames."""
        values = self.tags.get(name)
        if not isinstance(values, list) or not values:
            return [None] * self.frames
        each: list[float | str | None] = [v for v in values if isinstance(v, (int, float, str))]
        return each * self.frames if len(each) == 1 else each

    @property
    def is_image(self) -> bool:
        return self.ref.sop_class_uid in MR_CLASSES

    @property
    def is_roi(self) -> bool:
        return self.ref.sop_class_uid in (*SEGMENTATION_CLASSES, RTSTRUCT_CLASS)

    @property
    def unconfirmed(self) -> bool:
        """Whether it is a proposal of ours that nobody stands for, and that a preliminary result may be made of."""
        return UNCONFIRMED in self.tags

    @property
    def measures(self) -> bool:
        """Whether it holds measurements of a reader that count."""
        return MEASURES in self.tags


@dataclass(frozen=True, slots=True)
class SeriesFacts:
    series_uid: str
    instances: tuple[InstanceFacts, ...]

    def tag(self, keyword: str) -> Value:
        """The value in the first instance that has one."""
        return next((i.tags[keyword] for i in self.instances if i.tags.get(keyword) is not None), None)


@dataclass(frozen=True, slots=True)
class Exam:
    """Everything of one study: image series, ROI objects, registrations, readers' measurements.

    `proposals`: segmentations of ours that were proposed for it; they count for nothing, and a copy that a reader saved
    is known by them. `rejected`: a reader rejected the newest of them. `choices`: Series Instance UIDs that an operator
    chose, by sequence; they come before every rule.
    """

    study_uid: str
    series: tuple[SeriesFacts, ...]
    rois: tuple[InstanceFacts, ...] = ()
    registrations: tuple[InstanceFacts, ...] = ()
    measurements: tuple[InstanceFacts, ...] = ()
    proposals: tuple[InstanceFacts, ...] = ()
    rejected: bool = False
    choices: Mapping[SequenceName, str] = field(default_factory=dict)

    @property
    def images(self) -> tuple[InstanceFacts, ...]:
        """Every image, series by series."""
        return tuple(image for series in self.series for image in series.instances)


def patient_key(patient_id: str, issuer: str) -> str:
    """An opaque key that tells whether two objects claim the same patient."""
    return hashlib.sha256(f"{issuer}\0{patient_id}".encode()).hexdigest()[:16]


def accession_key(number: str) -> str:
    """An opaque key of an accession number; empty where there is none."""
    text = number.strip()
    return hashlib.sha256(f"accession\0{text}".encode()).hexdigest()[:16] if text else ""


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
        tuple(sorted((i for i in theirs if i.measures), key=lambda i: i.ref)),
    )


def exams(instances: Iterable[InstanceFacts]) -> list[Exam]:
    """One exam per study of images.

    A SEG, RTSTRUCT or registration belongs to the study of the images it refers to, even when its maker put it in a
    study of its own: first where those images lie among `instances`, then the study that its references name, then its
    own.
    """
    instances = [i for i in instances if not i.ours]
    study_of: dict[str, str] = {}
    for instance in instances:
        if instance.is_image:
            study_of[instance.ref.sop_instance_uid] = instance.ref.study_uid
            study_of[instance.ref.series_uid] = instance.ref.study_uid
    by_study: dict[str, list[InstanceFacts]] = {}
    for instance in instances:
        by_study.setdefault(_exam_key(instance, study_of), []).append(instance)
    return [exam_of(study, by_study[study]) for study in sorted(by_study)]


def _exam_key(instance: InstanceFacts, study_of: Mapping[str, str]) -> str:
    if instance.is_image:
        return instance.ref.study_uid
    for reference in instance.references:
        for uid in (reference.sop_instance_uid, reference.series_uid):
            if uid and uid in study_of:
                return study_of[uid]
    return next((r.study_uid for r in instance.references if r.study_uid), instance.ref.study_uid)
