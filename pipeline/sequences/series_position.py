"""Where a series lies in the patient, from its headers: enough to tell a left breast from a right one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.sequences.evidence import Evidence
from pipeline.sequences.records import Region
from pipeline.sequences.slices import Slice, position_of

Box = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]


def box_of(evidence: Evidence, slices: Sequence[Slice] | None = None) -> Box | None:
    """The smallest box along the patient's axes around `slices` of the series, or all, in mm.

    None where positions are missing.
    """
    spacing = evidence.series.tag("PixelSpacing")
    rows, columns = evidence.number("Rows"), evidence.number("Columns")
    if not isinstance(spacing, list) or rows is None or columns is None:
        return None
    dy, dx = (float(v) for v in spacing[:2])
    width, height = (columns - 1) * dx, (rows - 1) * dy
    low, high = [math.inf] * 3, [-math.inf] * 3
    for one in evidence.slices if slices is None else slices:
        position = one.tile_mm or position_of(one.frame)
        if position is None or one.orientation is None:
            return None
        for k in range(3):
            across, down = width * one.orientation[k], height * one.orientation[3 + k]
            low[k] = min(low[k], position[k] + min(0.0, across) + min(0.0, down))
            high[k] = max(high[k], position[k] + max(0.0, across) + max(0.0, down))
    return (low[0], high[0]), (low[1], high[1]), (low[2], high[2])


def coverage(candidate: Evidence, target: Evidence) -> float | None:
    """The part of the target's box that the candidate's covers, 0..1; None where either is not known."""
    one, other = box_of(candidate), box_of(target)
    if one is None or other is None:
        return None
    return _shared(one, other, other)


def covered(candidate: Evidence, slices: Sequence[Slice], region: Region) -> float | None:
    """The part of the worst covered region that lies within these slices, as thick as they are apart; 0..1.

    None where the slices have no positions, lie in several planes, or in another frame of reference than the region.
    """
    frame = candidate.series.instances[0].frame_of_reference_uid
    spacing, rows, columns = candidate.series.tag("PixelSpacing"), candidate.number("Rows"), candidate.number("Columns")
    plane = slices[0].orientation if slices else None
    places = sorted({s.position_mm for s in slices if s.position_mm is not None})
    corner = position_of(slices[0].frame) if slices else None
    if (
        not isinstance(spacing, list)
        or rows is None
        or columns is None
        or plane is None
        or corner is None
        or not places
        or len({s.orientation for s in slices}) > 1
        or (frame or None) != (region.frame_of_reference_uid or None)
        or not region.points_mm
    ):
        return None
    dy, dx = (float(v) for v in spacing[:2])
    gaps = np.diff(places)
    thickness = float(np.median(gaps)) if gaps.size else candidate.number("SliceThickness") or 0.0
    row, column = np.array(plane[:3]), np.array(plane[3:])

    def part(points: npt.NDArray[np.float64]) -> float:
        offset = points - np.array(corner)
        x, y, along = offset @ row / dx, offset @ column / dy, points @ np.cross(row, column)
        inside = (x >= -0.5) & (x <= columns - 0.5) & (y >= -0.5) & (y <= rows - 0.5)
        inside &= (along >= places[0] - thickness / 2) & (along <= places[-1] + thickness / 2)
        return float(inside.mean())

    return min(part(points) for points in region.points_mm)


def same_place(one: Box | None, other: Box | None) -> bool:
    """Whether two boxes lie in one place: they share half of the smaller one, or where one lies is not known."""
    if one is None or other is None:
        return True
    return max(_shared(one, other, one), _shared(one, other, other)) >= 0.5


def _shared(one: Box, other: Box, whole: Box) -> float:
    """The part of `whole` that lies in both boxes."""
    part = 1.0
    for (low, high), (start, stop), (first, last) in zip(one, other, whole, strict=True):
        if last - first > 1e-6:
            part *= max(0.0, min(high, stop) - max(low, start)) / (last - first)
        elif min(high, stop) < max(low, start):
            return 0.0
    return min(1.0, part)
