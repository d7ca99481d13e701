"""The side of the body from where a mask lies, told only where it cannot be otherwise."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pipeline.errors import RoiRejected
from pipeline.geometry import Geometry
from pipeline.records import Segment, Side

# A field of view this wide from left to right holds both breasts, so its middle is near the body's.
BILATERAL_MM = 280.0
# Nothing nearer to that middle than this is told a side.
MIDLINE_MM = 40.0


def side_by_position(segment: Segment) -> Side | None:
    """L or R if the image spans both breasts and the whole segment lies well to one side of its middle; else None.

    Raises RoiRejected if parts of one segment lie for certain on either side: sides are never pooled.
    """
    grid = segment.mask.geometry
    middle = _middle_mm(grid)
    whole = segment.mask.box_zyx
    if middle is None or whole is None:
        return None
    labels, _ = ndimage.label(segment.mask.voxels_zyx[whole], np.ones((3, 3, 3), bool))
    start = np.array([s.start for s in whole])
    sides = {
        _side(np.argwhere(labels[box] == n) + [s.start for s in box] + start, grid, middle)
        for n, box in enumerate(ndimage.find_objects(labels), 1)
    }
    if {"L", "R"} <= sides:
        raise RoiRejected(
            f"segment {segment.number} ({segment.label}) of {segment.source.sop_instance_uid} lies on both sides "
            "of the body; draw one segment per side",
            code="roi-ambiguous",
            uid=segment.source.sop_instance_uid,
        )
    return next(iter(sides)) if len(sides) == 1 else None


def _middle_mm(grid: Geometry) -> float | None:
    """Patient x (towards the left) of the middle of a grid that spans both breasts."""
    z, y, x = grid.shape_zyx
    corners = np.array([[i, j, k, 1] for i in (-0.5, x - 0.5) for j in (-0.5, y - 0.5) for k in (-0.5, z - 0.5)]).T
    across = (grid.affine @ corners)[0]
    return float((across.min() + across.max()) / 2) if np.ptp(across) >= BILATERAL_MM else None


def _side(index_zyx: npt.NDArray[np.int64], grid: Geometry, middle: float) -> Side | None:
    x = index_zyx[:, ::-1] @ grid.affine[0, :3] + grid.affine[0, 3]
    if x.min() > middle + MIDLINE_MM:
        return "L"
    return "R" if x.max() < middle - MIDLINE_MM else None
