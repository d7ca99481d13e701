"""What the steps hand to each other. All frozen; arrays in them are never written to.

`Sequence` keys are `t1c`, `t2`, `adc`; `Role` keys are `tumor`, `lymph_nodes`; sides are `L`, `R` or None (not told).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
from typing_extensions import TypeAliasType

from pipeline.geometry import Geometry, box_of

Sequence = Literal["t1c", "t2", "adc"]
Role = Literal["tumor", "lymph_nodes"]
Side = Literal["L", "R"]
# Who made a region: a reader's hand, software from a reader's measurements, a model, or software from images alone.
Origin = Literal["drawn", "measured", "model", "enhancement"]
SEQUENCES: tuple[Sequence, ...] = ("t1c", "t2", "adc")
ROLES: tuple[Role, ...] = ("tumor", "lymph_nodes")
# What a reader's hand made before what software did with a reader's help, and that before what it did alone.
ORIGINS: tuple[Origin, ...] = ("drawn", "measured", "model", "enhancement")
# What axrad itself proposes, and a reader has to confirm. What others' software drew came as a segmentation, as a
# reader's does: many viewers call SEMIAUTOMATIC what a hand drew.
PROPOSED: frozenset[Origin] = frozenset({"measured", "enhancement"})

# A named alias: pydantic follows a nameless recursive union without end.
Json = TypeAliasType("Json", "bool | int | float | str | list[Json] | dict[str, Json] | None")


@dataclass(frozen=True, slots=True, order=True)
class InstanceRef:
    """One SOP instance, as references in DICOM name it."""

    study_uid: str
    series_uid: str
    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class SliceSource:
    """Where one slice of a volume came from. `frame` is 1-based, None for a single-frame instance."""

    ref: InstanceRef
    frame: int | None = None


@dataclass(frozen=True, slots=True)
class Volume:
    """Voxels with their place. `voxels_zyx`: stored values with rescale applied; int16/int32 where exact, else float32.

    `unit` is "arbitrary" or "10-6 mm2/s". `sources_z` has one entry per slice, in z order, or is empty for a
    volume that was computed (then `derived_from` names all it came from).
    """

    voxels_zyx: npt.NDArray[np.generic]
    geometry: Geometry
    series_uid: str
    unit: str = "arbitrary"
    sources_z: tuple[SliceSource, ...] = ()
    derived_from: tuple[InstanceRef, ...] = ()

    def __post_init__(self) -> None:
        if self.voxels_zyx.shape != self.geometry.shape_zyx:
            raise ValueError(f"voxels {self.voxels_zyx.shape} do not fit the grid {self.geometry.shape_zyx}")

    @property
    def references(self) -> tuple[InstanceRef, ...]:
        """Every instance that this volume was made from, once."""
        return tuple(dict.fromkeys(s.ref for s in self.sources_z)) + self.derived_from


@dataclass(frozen=True, slots=True)
class Mask:
    """A binary region on a grid: bool, (z, y, x).

    `numbers_zyx`: where it is of several lymph nodes, the number of the node of each voxel of `box_zyx`.
    """

    voxels_zyx: npt.NDArray[np.bool_]
    geometry: Geometry
    numbers_zyx: npt.NDArray[np.uint16] | None = None

    def __post_init__(self) -> None:
        if self.voxels_zyx.dtype != np.bool_ or self.voxels_zyx.shape != self.geometry.shape_zyx:
            raise ValueError(f"mask {self.voxels_zyx.dtype} {self.voxels_zyx.shape} on grid {self.geometry.shape_zyx}")

    @property
    def voxels(self) -> int:
        return int(np.count_nonzero(self.voxels_zyx))

    @property
    def box_zyx(self) -> tuple[slice, slice, slice] | None:
        """The smallest box around the region; None where it is empty."""
        return box_of(self.voxels_zyx)

    @property
    def volume_mm3(self) -> float:
        return self.voxels * self.geometry.voxel_mm3


@dataclass(frozen=True, slots=True)
class Code:
    """A coded concept: value, scheme designator, meaning."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Contradiction:
    """What an object says of a segment's place, against the images that it names. `value` is measured against `limit`.

    `stops`: nobody can tell which of the two is right, so the exam is not evaluated unless a setting allows it.
    `harmless`: both can be right.
    """

    kind: Literal["position", "pixel_spacing", "orientation", "size"]
    value: float | str
    limit: float | str
    text: str
    stops: bool = False
    harmless: bool = False


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of a SEG, or one ROI of an RTSTRUCT, as its maker described it.

    `notes` say what was done to bring it onto the grid (resampled, parts outside). `algorithm`: the name of the
    software that made it, where its maker gives one. `confirmed_by`: who stands for a region that software made.
    """

    source: InstanceRef
    number: int
    label: str
    mask: Mask
    property_category: Code | None = None
    property_type: Code | None = None
    anatomy: Code | None = None
    laterality: Side | None = None
    tracking_id: str | None = None
    tracking_uid: str | None = None
    notes: tuple[str, ...] = ()
    contradictions: tuple[Contradiction, ...] = ()
    origin: Origin = "drawn"
    algorithm: str = ""
    confirmed_by: str | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """One lymph node: its number on page and in report, the segment of the SEG that holds it, and its size."""

    number: int
    segment: int
    source_uid: str
    volume_mm3: float
    long_axis_mm: float
    short_axis_mm: float


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A segment that joins no region, or with `segment` None a whole object, and why."""

    source_uid: str
    segment: int | None
    label: str
    why: str


@dataclass(frozen=True, slots=True)
class Roi:
    """One of the two regions the signature reads, on the grid that it was drawn on: the union of `segments`.

    `count` is of separate lymph nodes, or of lesions of a tumour; `nodes` are the lymph nodes one by one, none for a
    tumour. `why` says how the segments were recognised.
    """

    role: Role
    side: Side | None
    mask: Mask
    segments: tuple[Segment, ...]
    count: int
    why: str
    nodes: tuple[Node, ...] = ()
    drawn_on: Sequence = "t1c"

    @property
    def frame_of_reference_uid(self) -> str | None:
        return self.mask.geometry.frame_of_reference_uid

    @property
    def origin(self) -> Origin:
        """That of the segment that a reader had the least part in."""
        return max((s.origin for s in self.segments), key=ORIGINS.index, default="drawn")

    @property
    def confirmed_by(self) -> str | None:
        """Who confirmed what of it software made; None where nobody did, or not all of it."""
        made = [s.confirmed_by for s in self.segments if s.origin != "drawn"]
        return "; ".join(dict.fromkeys(by for by in made if by)) if made and all(made) else None


@dataclass(frozen=True, slots=True)
class AlignedRoi:
    """A ROI carried onto another sequence's grid. `kept_volume` = volume there / volume on the grid it was drawn on."""

    mask: Mask
    kept_volume: float


@dataclass(frozen=True, slots=True)
class AlignmentEvidence:
    """How the grid that regions were drawn on, mostly T1+C, was related to one other sequence.

    `transform` maps points of that grid to the sequence's points: LPS mm, 4x4, row by row.
    """

    method: Literal["same_grid", "frame_of_reference", "spatial_registration", "rigid"]
    transform: tuple[float, ...] | None = None
    shift_mm: float = 0.0
    rotation_deg: float = 0.0
    details: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """Values by full name `{sequence}.{roi}.{pyradiomics name}`, what is missing and why, and provenance.

    `diagnostics` are PyRadiomics' diagnostics of image and mask by the same kind of name (numbers or lists of numbers).
    `grey_levels` is the number of grey-level bins per `{sequence}.{roi}`.
    """

    values: Mapping[str, float]
    missing: Mapping[str, str] = field(default_factory=dict)
    diagnostics: Mapping[str, Json] = field(default_factory=dict)
    grey_levels: Mapping[str, int] = field(default_factory=dict)
