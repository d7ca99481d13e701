"""A marking as three directions and half axes in the patient, or why it is none."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.errors import InputRejected
from pipeline.geometry import Geometry
from pipeline.proposal.records import Axes, Marking, Outline, Point

Floats = npt.NDArray[np.float64]
# Shorter than this nothing was measured: a click. Longer is no lesion: pixels, or a length in another unit.
SHORTEST_MM, LONGEST_MM = 1.0, 250.0
# How far two lines, or the points of an outline, may lie from one plane, in spacings of the slices.
SAME_PLANE = 0.55
# In a bent lesion the longest line may run beside the longest one across it; hands add to that.
BESIDE_MM = 3.0
# The short axis of a lesion of which only the long one is known, as a share of it.
USUAL_SHORT = 0.75


@dataclass(frozen=True, slots=True)
class Frame:
    """`axes`: rows are unit vectors along the long axis, across it in the marked plane, and out of the plane.

    `half_mm` is half the extent along each; the third is not measured but the mean of the others.
    """

    centre_mm: Floats
    axes: Floats
    half_mm: tuple[float, float, float]
    short_measured: bool

    def local(self, points_mm: Floats) -> Floats:
        """Points (..., 3) of the patient as mm along the three directions from the centre."""
        return np.asarray((points_mm - self.centre_mm) @ self.axes.T)


def frame_of(marking: Marking, grid: Geometry) -> Frame:
    """The marking's place and size. `grid`: of the images, which it has to lie on.

    Raises InputRejected, with what is wrong: ends outside the images, no length, two planes, not millimetres.
    """
    axes = marking if isinstance(marking, Axes) else _axes_of(marking, grid)
    ends = np.array(axes.long + (axes.short or ()), dtype=np.float64)
    _check_points(ends, grid)
    long, short = ends[:2], ends[2:]
    if len(short):
        _check_length(short, "short")
        if np.linalg.norm(short[1] - short[0]) > np.linalg.norm(long[1] - long[0]):
            long, short = short, long
    _check_length(long, "long")
    u = _unit(long[1] - long[0])
    middle = long.mean(axis=0)
    if not len(short):
        w = _unit(_across(_slice_normal(u, grid), u))
        half = float(np.linalg.norm(long[1] - long[0])) / 2
        return _frame(middle, u, w, half, half * USUAL_SHORT, measured=False)
    across = _across(short[1] - short[0], u)
    if np.linalg.norm(across) < 0.5 * np.linalg.norm(short[1] - short[0]):
        raise InputRejected("The short axis runs along the long one: they are not two axes of one lesion.")
    v = _unit(across)
    w = np.cross(u, v)
    _check_crossing(long, short, u, v, w, grid)
    centre = middle + v * float((short.mean(axis=0) - middle) @ v)
    return _frame(centre, u, w, float(np.linalg.norm(long[1] - long[0])) / 2, float(np.linalg.norm(across)) / 2)


def _frame(centre: Floats, u: Floats, w: Floats, long: float, short: float, measured: bool = True) -> Frame:
    return Frame(centre, np.stack([u, np.cross(w, u), w]), (long, short, (long + short) / 2), measured)


def _axes_of(outline: Outline, grid: Geometry) -> Axes:
    """The longest line between two corners, and the extent across it in the outline's plane."""
    if len(outline.points) < 3:
        raise InputRejected(f"An outline has at least three points; this one has {len(outline.points)}.")
    points = np.array(outline.points, dtype=np.float64)
    _check_points(points, grid)
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    one, other = np.unravel_index(int(apart.argmax()), apart.shape)
    long = points[[one, other]]
    _check_length(long, "longest line within the outline")
    u = _unit(long[1] - long[0])
    w = np.linalg.svd(points - points.mean(axis=0))[2][2]
    off = float(np.abs((points - points.mean(axis=0)) @ w).max())
    if off > SAME_PLANE * max(grid.spacing_xyz_mm):
        raise InputRejected(f"The points of the outline do not lie in one plane: one is {off:.1f} mm off.")
    v = np.cross(w, u)
    reach = (points - long.mean(axis=0)) @ v
    middle = long.mean(axis=0)
    return Axes(
        (_point(long[0]), _point(long[1])), (_point(middle + v * reach.min()), _point(middle + v * reach.max()))
    )


def _check_points(points: Floats, grid: Geometry) -> None:
    if not np.isfinite(points).all():
        raise InputRejected("An end point is not a number of millimetres.")
    index = (np.linalg.inv(grid.affine) @ np.column_stack([points, np.ones(len(points))]).T)[:3].T
    sizes = np.array(grid.shape_zyx[::-1])
    outside = ((index < -0.5) | (index > sizes - 0.5)).any(axis=1)
    if outside.any():
        x, y, z = points[int(outside.argmax())]
        raise InputRejected(
            f"The end point ({x:.1f}, {y:.1f}, {z:.1f}) mm lies outside the images: it was measured on others, or "
            "is not in millimetres of the patient."
        )


def _check_length(line: Floats, name: str) -> None:
    length = float(np.linalg.norm(line[1] - line[0]))
    if length == 0:
        raise InputRejected(f"The {name} axis has length 0: both ends are one point.")
    if length < SHORTEST_MM:
        raise InputRejected(f"The {name} axis is {length:.2f} mm long, too short to be a lesion's.")
    if length > LONGEST_MM:
        raise InputRejected(f"The {name} axis would be {length:.0f} mm long: its points are not in millimetres.")


def _check_crossing(long: Floats, short: Floats, u: Floats, v: Floats, w: Floats, grid: Geometry) -> None:
    """Both axes in one plane, and the short one across the long one and not beside it."""
    apart = float(np.ptp(np.concatenate([long, short]) @ w))
    thickness = float(np.abs(_index_directions(grid) @ w) @ np.array(grid.spacing_xyz_mm))
    if apart > SAME_PLANE * thickness:
        raise InputRejected(f"The two axes lie in different slices, {apart:.1f} mm apart.")
    along = float(abs((short.mean(axis=0) - long.mean(axis=0)) @ u))
    aside = float(abs((long.mean(axis=0) - short.mean(axis=0)) @ v))
    reach = [float(np.linalg.norm(line[1] - line[0])) / 2 + BESIDE_MM for line in (long, short)]
    if along > reach[0] or aside > reach[1]:
        raise InputRejected("The two axes do not cross: they measure two things, not one lesion.")


def _slice_normal(u: Floats, grid: Geometry) -> Floats:
    """The direction in which a line is not: out of the slices where it lies in one, else the axis it follows least."""
    directions = _index_directions(grid)
    along = np.abs(directions @ u)
    return np.asarray(directions[2] if along[2] < 0.5 else directions[int(along.argmin())])


def _index_directions(grid: Geometry) -> Floats:
    """Rows are the unit vectors of i, j and k."""
    return np.asarray(grid.direction, dtype=np.float64).reshape(3, 3).T


def _across(vector: Floats, u: Floats) -> Floats:
    return np.asarray(vector - u * float(vector @ u))


def _unit(vector: Floats) -> Floats:
    return np.asarray(vector / math.sqrt(float(vector @ vector)))


def _point(values: Floats) -> Point:
    return float(values[0]), float(values[1]), float(values[2])
