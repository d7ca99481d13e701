"""Masks from one grid to another, nearest neighbour: a voxel is in if the source voxel around its centre is in.

Only the part of the target that the mask can reach is computed, slice by slice, so that memory stays small.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.geometry import Geometry, box_of
from pipeline.records import Mask

Bools = npt.NDArray[np.bool_]
Matrix = npt.NDArray[np.float64]


def nearest(voxels_zyx: Bools, source: Geometry, target: Geometry, transform: Matrix | None = None) -> Bools:
    """The mask on `target`. `transform`: 4x4, from points of the source's patient space to the target's, LPS mm."""
    out = np.zeros(target.shape_zyx, bool)
    nearest_into(out, voxels_zyx, source, target, transform)
    return out


def nearest_into(
    out: Bools, voxels_zyx: Bools, source: Geometry, target: Geometry, transform: Matrix | None = None
) -> None:
    """As `nearest`, adding to `out` (z, y, x on the target grid)."""
    box = bounds(voxels_zyx)
    if box is None:
        return
    target_to_source = np.linalg.inv(target.affine) @ (np.eye(4) if transform is None else transform) @ source.affine
    back = np.linalg.inv(target_to_source)
    low, high = _reach(box, target_to_source, target.shape_zyx)
    if (low > high).any():
        return
    x, y = np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1)
    limits = np.array(source.shape_zyx[::-1])
    for z in range(low[2], high[2] + 1):
        at = back[:3, :3] @ _plane_points(x, y, z) + back[:3, 3:]
        index = np.floor(at + 0.5).astype(np.int64)
        inside = ((index >= 0) & (index < limits[:, None])).all(axis=0)
        hit = np.zeros(index.shape[1], bool)
        i, j, k = index[:, inside]
        hit[inside] = voxels_zyx[k, j, i]
        out[z, low[1] : high[1] + 1, low[0] : high[0] + 1] |= hit.reshape(len(y), len(x))


def numbers_on(carried: Mask, original: Mask, transform: Matrix) -> npt.NDArray[np.uint16] | None:
    """The node of every voxel of a mask that `nearest` carried, in its box: that of the voxel that it came from."""
    box, own = carried.box_zyx, original.box_zyx
    if box is None or own is None or original.numbers_zyx is None:
        return None
    back = np.linalg.inv(np.linalg.inv(carried.geometry.affine) @ transform @ original.geometry.affine)
    inside = np.nonzero(carried.voxels_zyx[box])
    at = back[:3, :3] @ np.stack([i + s.start for i, s in zip(inside, box, strict=True)])[::-1] + back[:3, 3:]
    index = np.floor(at + 0.5).astype(np.int64)[::-1]
    numbers = np.zeros(tuple(s.stop - s.start for s in box), np.uint16)
    numbers[inside] = original.numbers_zyx[tuple(i - s.start for i, s in zip(index, own, strict=True))]
    return numbers


def bounds(voxels_zyx: Bools) -> Matrix | None:
    """First and last index of the mask along x, y, z (2 x 3, inclusive); None if it is empty."""
    box = box_of(voxels_zyx)
    return None if box is None else np.array([(s.start, s.stop - 1) for s in reversed(box)], dtype=np.float64).T


def _reach(box: Matrix, target_to_source: Matrix, shape_zyx: tuple[int, int, int]) -> tuple[npt.NDArray[np.int64], ...]:
    """The target's index range (x, y, z order) that the outer corners of the source's box span."""
    low, high = box[0] - 0.5, box[1] + 0.5
    corners = np.array(
        [[x, y, z, 1] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])]
    ).T
    spanned = (target_to_source @ corners)[:3]
    top = np.array(shape_zyx[::-1]) - 1
    return (
        np.maximum(np.floor(spanned.min(axis=1)), 0).astype(np.int64),
        np.minimum(np.ceil(spanned.max(axis=1)), top).astype(np.int64),
    )


def _plane_points(x: npt.NDArray[np.int64], y: npt.NDArray[np.int64], z: int) -> Matrix:
    xx, yy = np.meshgrid(x, y)
    return np.stack([xx.ravel(), yy.ravel(), np.full(xx.size, z)]).astype(np.float64)
