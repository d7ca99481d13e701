"""What a reader measured, and the region that is proposed for it. Loads no science, so that anybody may use it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.records import Origin, Role, Side

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


class Labelled(Protocol):
    """A proposed region with what a segmentation says of it. `words`: how sure, and how it was made.

    `algorithm`: name and version of what made it, where that has a name of its own.
    """

    @property
    def mask(self) -> npt.NDArray[np.bool_]: ...
    @property
    def role(self) -> Role: ...
    @property
    def side(self) -> Side | None: ...
    @property
    def label(self) -> str: ...
    @property
    def words(self) -> str: ...
    @property
    def origin(self) -> Origin: ...
    @property
    def algorithm(self) -> tuple[str, str] | None: ...


_SIDES: dict[Side, str] = {"L": "left", "R": "right"}


def label_of(role: Role, side: Side | None, number: int | None = None) -> str:
    """`Tumor, left`, `Lymph node 2, left`: our vocabulary, by which a copy is understood again."""
    name = "Tumor" if role == "tumor" else "Lymph node"
    place = f", {_SIDES[side]}" if side else ""
    return f"{name} {number}{place}" if number else f"{name}{place}"


@dataclass(frozen=True, slots=True)
class ImageRegion:
    """A region that was proposed from the images alone: always doubtful, whatever its figures.

    `mask`: bool (z, y, x) on the grid of T1+C. `maker`, `version`: of the algorithm or model. `why`: sentences for a
    reader. `figures`: by name, with the unit in the name. `demonstration`: by a model that only shows the way.
    """

    mask: npt.NDArray[np.bool_]
    role: Role
    side: Side | None
    origin: Origin
    maker: str
    version: str
    why: tuple[str, ...]
    figures: Mapping[str, float] = field(default_factory=dict)
    number: int | None = None
    demonstration: bool = False

    @property
    def label(self) -> str:
        return label_of(self.role, self.side, self.number)

    @property
    def verdict(self) -> Verdict:
        return "doubtful"

    @property
    def words(self) -> str:
        made = "from enhancement" if self.origin == "enhancement" else "by a model"
        return f"doubtful, {made}, from the images alone{', demonstration' if self.demonstration else ''}"

    @property
    def algorithm(self) -> tuple[str, str]:
        return self.maker, self.version
