"""The result of sequence matching: labels, the choice for each sequence, and why one is missing or ambiguous."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.catalog import Selection
from pipeline.needs import Absence
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
class SeriesLabel:
    """What one series was taken for. `confidence` is in 0..1; `why` names the evidence."""

    series_uid: str
    label: Label
    confidence: float
    why: str


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
    decides, which headers do not tell. `absent`: why a sequence was not chosen.
    """

    labels: tuple[SeriesLabel, ...]
    chosen: Mapping[Sequence, Selection] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    contenders: Mapping[Sequence, tuple[Selection, ...]] = field(default_factory=dict)
    absent: Mapping[Sequence, Absence] = field(default_factory=dict)
