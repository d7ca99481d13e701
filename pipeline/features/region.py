"""Where a ROI lies, whether PyRadiomics would take it, and the smallest box that gives the same numbers.

A level-1 coif1 transform reads two voxels before and three after each voxel, and PyWavelets wraps around at the ends
of its input. So per axis the voxels [lo-3, hi+3) are enough as long as they lie inside the image; at a border the
whole axis has to stay, because what wraps in comes from the other end, and gathering just those voxels changes the
order of the sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MARGIN = 3

Slices = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True)
class Box:
    """Voxels [lo, hi) per axis, in z, y, x order."""

    lo_zyx: tuple[int, int, int]
    hi_zyx: tuple[int, int, int]

    @property
    def slices(self) -> Slices:
        z, y, x = (slice(lo, hi) for lo, hi in zip(self.lo_zyx, self.hi_zyx, strict=True))
        return z, y, x

    @property
    def shape_zyx(self) -> tuple[int, ...]:
        return tuple(hi - lo for lo, hi in zip(self.lo_zyx, self.hi_zyx, strict=True))

    @property
    def voxels(self) -> int:
        return int(np.prod(self.shape_zyx))

    def within(self, outer: Box) -> Slices:
        """This box in the coordinates of an outer one."""
        z, y, x = (
            slice(lo - start, hi - start) for lo, hi, start in zip(self.lo_zyx, self.hi_zyx, outer.lo_zyx, strict=True)
        )
        return z, y, x

    def with_margin(self, shape_zyx: Sequence[int]) -> Box:
        """The voxels a wavelet needs for this box: `MARGIN` more on both sides, or the whole axis at a border."""
        pairs = [
            (lo - MARGIN, hi + MARGIN) if lo >= MARGIN and hi + MARGIN <= size else (0, size)
            for lo, hi, size in zip(self.lo_zyx, self.hi_zyx, shape_zyx, strict=True)
        ]
        return _box(pairs)

    def grown(self, voxels: int, shape_zyx: Sequence[int]) -> Box:
        """The box with so many voxels more on every side, as far as there are any."""
        ends = zip(self.lo_zyx, self.hi_zyx, shape_zyx, strict=True)
        return _box([(max(0, lo - voxels), min(size, hi + voxels)) for lo, hi, size in ends])

    def union(self, other: Box) -> Box:
        lows = [min(a, b) for a, b in zip(self.lo_zyx, other.lo_zyx, strict=True)]
        highs = [max(a, b) for a, b in zip(self.hi_zyx, other.hi_zyx, strict=True)]
        return _box(list(zip(lows, highs, strict=True)))


def _box(pairs: Sequence[tuple[int, int]]) -> Box:
    (z0, z1), (y0, y1), (x0, x1) = pairs
    return Box((z0, y0, x0), (z1, y1, x1))


def bounding_box(mask_zyx: npt.NDArray[np.bool_]) -> Box | None:
    """The box of the True voxels; None if there is none. Each axis is searched only in what the one before left."""
    pairs: list[tuple[int, int]] = []
    inside: npt.NDArray[np.generic] = mask_zyx
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        hits = np.flatnonzero(inside.any(axis=others))
        if hits.size == 0:
            return None
        lo, hi = int(hits[0]), int(hits[-1]) + 1
        pairs.append((lo, hi))
        inside = inside[(slice(None),) * axis + (slice(lo, hi),)]
    return _box(pairs)


@dataclass(frozen=True, slots=True)
class Region:
    """A ROI that PyRadiomics takes: its box and the mask inside the box, bool (z, y, x)."""

    box: Box
    mask_zyx: npt.NDArray[np.bool_]

    @property
    def voxels(self) -> int:
        return int(np.count_nonzero(self.mask_zyx))


class Refusal(ValueError):
    """PyRadiomics refuses this ROI; says why in its words."""


def find(mask_zyx: npt.NDArray[np.bool_], min_dimensions: int = 2, min_voxels: int | None = None) -> Region:
    """The region of a mask.

    Raises: Refusal where PyRadiomics' `getMask` and `checkMask` refuse: an empty mask, one that covers everything (no
    background is left to tell it from), a single voxel, fewer dimensions or voxels than required.
    """
    box = bounding_box(mask_zyx)
    if box is None:
        raise Refusal("No labels found in this mask (i.e. nothing is segmented)!")
    inside = np.ascontiguousarray(mask_zyx[box.slices])
    voxels = int(np.count_nonzero(inside))
    if voxels == mask_zyx.size:
        raise Refusal("the mask covers the whole image, so no background tells the region apart")
    dimensions = sum(size > 1 for size in box.shape_zyx)
    if dimensions == 0:
        raise Refusal("mask only contains 1 segmented voxel! Cannot extract features for a single voxel.")
    if dimensions < min_dimensions:
        raise Refusal(
            f"mask has too few dimensions (number of dimensions {dimensions}, minimum required {min_dimensions})"
        )
    if min_voxels is not None and voxels <= min_voxels:
        raise Refusal(f"Size of the ROI is too small (minimum size: {min_voxels}, ROI size: {voxels}")
    return Region(box, inside)
