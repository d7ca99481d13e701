"""What a reader measured, and the region that is proposed for it. Loads no science, so that anybody may use it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

# Patient coordinates, LPS, mm: x, y, z.
Point = tuple[float, float, float]
Method = Literal["grown", "ellipsoid"]
Verdict = Literal["good", "doubtful"]


@dataclass(frozen=True, slots=True)
class Axes:
    """The two ends of the long axis and, where it was measured, of the short one."""

    long: tuple[Point, Point]
    short: tuple[Point, Point] | None = None


@dataclass(frozen=True, slots=True)
class Outline:
    """A closed line in one plane: the corners of a freehand contour, a rectangle, or an ellipse as a polygon."""

    points: tuple[Point, ...]


Marking = Axes | Outline


@dataclass(frozen=True, slots=True)
class Quality:
    """What the verdict was made from; None where there is nothing to measure.

    `contrast`: how well the brightness in the region and in the shell around it can be told apart, as the area under
    the ROC curve (1 apart, 0.5 alike). `open_border`: share of the border where brightness does not fall outwards.
    `long_ratio`, `short_ratio`: extent of the region along the marked axes over the marked length. `agreement`: Dice
    of the regions of two settings of the parameters.
    """

    contrast: float | None = None
    open_border: float | None = None
    long_ratio: float | None = None
    short_ratio: float | None = None
    agreement: float | None = None


@dataclass(frozen=True, slots=True)
class Proposal:
    """A region for one marking. `mask`: bool (z, y, x) on the grid of T1+C; `why`: sentences for a reader."""

    mask: npt.NDArray[np.bool_]
    method: Method
    verdict: Verdict
    quality: Quality
    why: tuple[str, ...]
