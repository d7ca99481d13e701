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


def of_image(volume: Volume) -> dict[str, Json]:
    """Five entries. Order of axes x, y, z; spacing in mm. Statistics that are not finite are None."""
    voxels: npt.NDArray[Any] = volume.voxels_zyx
    statistics = {
        "Mean": np.mean(voxels, dtype=np.float64),
        "Minimum": voxels.min(),
        "Maximum": voxels.max(),
    }
    diagnostics: dict[str, Json] = dict(_grid("Image", volume.geometry))
    for name, value in statistics.items():
        diagnostics[f"diagnostics_Image-original_{name}"] = float(value) if np.isfinite(value) else None
    return diagnostics


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
