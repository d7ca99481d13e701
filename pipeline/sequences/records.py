"""What sequence matching hands on: labels, and precisely which instances and frames make up a volume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.catalog import InstanceFacts
from pipeline.records import Sequence

Label = Literal[
    "t1_pre",
    "t1_post",
    "t1_dynamic",
    "t1_static",
    "subtraction",
    "mip",
    "t2",
    "t2_stir",
    "dwi",
    "adc",
    "localizer",
    "reformat",
    "parametric_map",
    "other",
]
T1C_LABELS: tuple[Label, ...] = ("t1_post", "t1_dynamic")


@dataclass(frozen=True, slots=True)
class FrameRef:
    """One slice: an instance, and for a multi-frame instance the 1-based number of the frame."""

    instance: InstanceFacts
    frame: int | None = None


@dataclass(frozen=True, slots=True)
class SeriesLabel:
    """What one series was taken for. `confidence` is in 0..1; `why` names the evidence."""

    series_uid: str
    label: Label
    confidence: float
    why: str


@dataclass(frozen=True, slots=True)
class Selection:
    """One sequence's choice.

    `frames` are exactly the slices of one volume (in no order: volumes are sorted by position). For an ADC that
    has to be computed, `frames` is empty and `frames_by_b` holds per b-value (s/mm2) the slices of one volume;
    where a b-value was measured in several directions or repetitions, `repeats_by_b` holds one tuple of slices
    per measurement, to be averaged geometrically. `unit_scale` brings an ADC map's values to 10-6 mm2/s where known.
    """

    series_uid: str
    why: str
    confidence: float = 1.0
    phase: str | None = None
    description: str = ""
    frames: tuple[FrameRef, ...] = ()
    frames_by_b: Mapping[float, tuple[FrameRef, ...]] = field(default_factory=dict)
    repeats_by_b: Mapping[float, tuple[tuple[FrameRef, ...], ...]] = field(default_factory=dict)
    unit_scale: float | None = None

    def of(self, frames: tuple[FrameRef, ...]) -> Selection:
        """The same choice narrowed to one volume, for a loader."""
        return replace(self, frames=frames, frames_by_b={}, repeats_by_b={})


@dataclass(frozen=True)
class Region:
    """Where the exam's regions lie, in one frame of reference.

    `points_mm`: per region (n, 3) patient coordinates of voxel centres, n > 0.
    """

    frame_of_reference_uid: str | None
    points_mm: tuple[npt.NDArray[np.float64], ...]


@dataclass(frozen=True, slots=True)
class Match:
    """Every series' label, the chosen ones, and why something is missing or ambiguous.

    `codes` are machine-readable and parallel to `reasons`; with no reason every sequence was chosen. `notes` are worth
    knowing and stop nothing. `contenders`: per sequence the candidates between which only the place of the regions
    decides, which headers do not tell.
    """

    labels: tuple[SeriesLabel, ...]
    chosen: Mapping[Sequence, Selection] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    contenders: Mapping[Sequence, tuple[Selection, ...]] = field(default_factory=dict)


def same_images(one: Selection, other: Selection) -> bool:
    """Whether two selections read the same slices in the same way, whatever led to them."""
    return (one.frames, one.frames_by_b, one.repeats_by_b, one.unit_scale) == (
        other.frames,
        other.frames_by_b,
        other.repeats_by_b,
        other.unit_scale,
    )
