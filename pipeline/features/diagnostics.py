"""The diagnostics of image and mask, by PyRadiomics' names. They say where a ROI lay and on what grid: provenance.

Of the image: Spacing, Size, Mean, Minimum, Maximum. Of the mask: Spacing, Size, BoundingBox, VoxelNum, VolumeNum,
CenterOfMassIndex, CenterOfMass.
"""

from __future__ import annotations

from typing import Any  # Any: numbers of any type

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage

from pipeline.features.region import Region
from pipeline.geometry import Geometry
from pipeline.records import Json, Volume

BUFFER = 8192
# What stays in a processor's cache.
_CHUNK = 16 * BUFFER


def of_image(volume: Volume) -> dict[str, Json]:
    """Five entries. Order of axes x, y, z; spacing in mm. Statistics that are not finite are None."""
    voxels: npt.NDArray[Any] = volume.voxels_zyx
    statistics = dict(zip(("Mean", "Minimum", "Maximum"), mean_and_extremes(voxels), strict=True))
    diagnostics: dict[str, Json] = dict(_grid("Image", volume.geometry))
    for name, value in statistics.items():
        diagnostics[f"diagnostics_Image-original_{name}"] = float(value) if np.isfinite(value) else None
    return diagnostics


def mean_and_extremes(voxels: npt.NDArray[Any]) -> tuple[float, Any, Any]:
    """`np.mean` in float64, minimum and maximum, read from memory once instead of three times.

    NumPy casts and adds `BUFFER` elements at a time; the same here gives the same bits.
    """
    if voxels.dtype == np.float64 or not voxels.flags.c_contiguous or voxels.size < _CHUNK:
        return float(np.mean(voxels, dtype=np.float64)), voxels.min(), voxels.max()
    flat = voxels.reshape(-1)
    total, extremes = 0.0, []
    cast = np.empty(_CHUNK)
    for start in range(0, flat.size, _CHUNK):
        chunk = flat[start : start + _CHUNK]
        wide = cast[: chunk.size]
        np.copyto(wide, chunk)
        whole = chunk.size // BUFFER * BUFFER
        for part in (*wide[:whole].reshape(-1, BUFFER).sum(axis=1).tolist(), float(wide[whole:].sum())):
            total += part
        extremes.append((chunk.min(), chunk.max()))
    lows, highs = np.array(extremes).T
    return total / flat.size, lows.min(), highs.max()


def of_mask(region: Region, geometry: Geometry) -> dict[str, Json]:
    """Seven entries. BoundingBox: x, y, z of the first voxel, then size; CenterOfMass in LPS mm."""
    box = region.box
    _, components = ndimage.label(region.mask_zyx, np.ones((3, 3, 3)))
    coordinates = np.array(np.nonzero(region.mask_zyx)) + np.array(box.lo_zyx)[:, None]
    center = tuple(float(c) for c in coordinates.mean(axis=1)[::-1])
    grid = sitk.Image(1, 1, 1, sitk.sitkUInt8)
    grid.SetSpacing(geometry.spacing_xyz_mm)
    grid.SetOrigin(geometry.origin_xyz_mm)
    grid.SetDirection(geometry.direction)
    diagnostics: dict[str, Json] = dict(_grid("Mask", geometry))
    diagnostics["diagnostics_Mask-original_BoundingBox"] = [*box.lo_zyx[::-1], *box.shape_zyx[::-1]]
    diagnostics["diagnostics_Mask-original_VoxelNum"] = region.voxels
    diagnostics["diagnostics_Mask-original_VolumeNum"] = int(components)
    diagnostics["diagnostics_Mask-original_CenterOfMassIndex"] = list(center)
    diagnostics["diagnostics_Mask-original_CenterOfMass"] = list(grid.TransformContinuousIndexToPhysicalPoint(center))
    return diagnostics


def _grid(prefix: str, geometry: Geometry) -> dict[str, Json]:
    return {
        f"diagnostics_{prefix}-original_Spacing": list(geometry.spacing_xyz_mm),
        f"diagnostics_{prefix}-original_Size": list(geometry.shape_zyx[::-1]),
    }
