"""Resampling as the Image Biomarker Standardisation Initiative defines it, where PyRadiomics differs.

IBSI reference manual (Zwanenburg et al., arXiv:1612.07003), section 2.4 (interpolation): the centres of both grids
coincide and the new one has as many voxels as cover the old one; intensities of an image of integers are rounded to
the nearest; the mask is interpolated linearly, and a voxel of which at least half lies inside is inside. PyRadiomics
aligns the corners of the first voxels, cuts integers off towards zero, and takes the nearest voxel of the mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any  # Any: images and interpolators of SimpleITK, which have no types

import numpy as np
import SimpleITK as sitk

from pipeline.features.region import Box

# Half of a voxel, rounding aside.
HALF = 0.5 - 1e-6


def resampled(
    image: Any, labels: Any, box: Box, spacing_xyz_mm: Sequence[float], interpolator: Any, pad: int
) -> tuple[Any, Any]:
    """Image (float64) and mask (0 and 1) on IBSI's grid: its part around the region's box, `pad` voxels more.

    `image`, `labels`: of one grid. A spacing of 0, and an axis of one voxel, stay as they are.
    """
    size, old = np.array(image.GetSize()), np.array(image.GetSpacing())
    new = np.array(spacing_xyz_mm, dtype=np.float64)
    new = np.where((new == 0) | (size == 1), old, new)
    count = np.ceil(np.round(size * old / new, 6))
    first = (size - 1) / 2 - (count - 1) / 2 * new / old  # the new grid's first voxel as an index of the old one
    low = np.floor((np.array(box.lo_zyx[::-1]) - first) * old / new) - pad
    high = np.ceil((np.array(box.hi_zyx[::-1]) - 1 - first) * old / new) + pad + 1
    low, high = np.maximum(low, 0), np.minimum(high, count)
    grid = sitk.ResampleImageFilter()
    grid.SetSize([int(n) for n in high - low])
    grid.SetOutputSpacing(new.tolist())
    grid.SetOutputDirection(image.GetDirection())
    grid.SetOutputOrigin(image.TransformContinuousIndexToPhysicalPoint((first + low * new / old).tolist()))
    grid.SetOutputPixelType(sitk.sitkFloat64)
    grid.SetInterpolator(interpolator)
    intensities = grid.Execute(image)
    grid.SetInterpolator(sitk.sitkLinear)
    inside = grid.Execute(sitk.Cast(labels, sitk.sitkFloat64))
    return intensities, sitk.Cast(inside >= HALF, sitk.sitkUInt8)
