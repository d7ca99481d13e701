"""Small images with regions for the tests of features."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.geometry import Geometry
from pipeline.records import Mask, Volume

Slices = tuple[slice, slice, slice]


def grid(shape_zyx: tuple[int, int, int], spacing_xyz_mm: tuple[float, float, float] = (0.8, 0.8, 1.2)) -> Geometry:
    return Geometry(shape_zyx, spacing_xyz_mm, (-30.0, 12.5, 4.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))


def noise(
    shape_zyx: tuple[int, int, int], dtype: npt.DTypeLike = np.int16, scale: float = 120.0, seed: int = 0
) -> npt.NDArray[Any]:
    values = np.random.default_rng(seed).standard_normal(shape_zyx) * scale + 4 * scale
    return values.clip(0).astype(dtype)


def volume(voxels_zyx: npt.NDArray[Any], spacing_xyz_mm: tuple[float, float, float] = (0.8, 0.8, 1.2)) -> Volume:
    return Volume(voxels_zyx, grid(voxels_zyx.shape, spacing_xyz_mm), "1.2.3")


def region(on: Volume, *boxes: Slices, holes: float = 0.0, seed: int = 1) -> Mask:
    """The union of boxes, with a share of `holes` taken out at random."""
    inside = np.zeros(on.voxels_zyx.shape, bool)
    for box in boxes:
        inside[box] = True
    if holes:
        inside &= np.random.default_rng(seed).random(inside.shape) >= holes
    return Mask(inside, on.geometry)
