"""What N4 is given: a mask of the bright voxels, and image and mask on a coarser grid.

As Slicer's N4ITK does it: the mask is Otsu's, found at full resolution, and every `shrink`-th voxel of each axis is
kept of image and mask. Both engines start from here, so they see the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from config.schema import Bias
from pipeline.bias import otsu
from pipeline.errors import GeometryRejected, PixelsRejected
from pipeline.geometry import Geometry
from pipeline.records import Volume

MIN_SAMPLES = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """`image_zyx` float32 and `mask_zyx` bool on the shrunk `grid`; `whole` is the grid of the volume."""

    image_zyx: npt.NDArray[np.float32]
    mask_zyx: npt.NDArray[np.bool_]
    grid: Geometry
    shrink_xyz: tuple[int, int, int]
    whole: Geometry
    deviations: tuple[str, ...]

    @property
    def mask_voxels(self) -> int:
        return int(np.count_nonzero(self.mask_zyx))


def pose(volume: Volume, settings: Bias) -> Problem:
    """Mask and shrink `volume`.

    Raises:
        GeometryRejected: an axis has a single sample, so no field can be told along it.
        PixelsRejected: NaN or infinite voxels, one value everywhere, or too little left in the shrunk mask.
    """
    uid = volume.series_uid
    voxels = volume.voxels_zyx
    _check(voxels, uid)
    shrink_xyz, deviations = shrink_factors(volume.geometry.shape_zyx, settings.shrink)
    coarse, grid = _shrink(volume, shrink_xyz)
    mask = np.greater(coarse, otsu.threshold(voxels))
    image = coarse.astype(np.float32)
    inside = image[mask]
    if inside.size < MIN_SAMPLES or inside.min() == inside.max():
        raise PixelsRejected(
            f"Series {uid}: {inside.size} voxels are left in the Otsu mask after shrinking by {settings.shrink}, and "
            "no bias field can be fitted to them; lower bias.shrink or leave this sequence out of bias.sequences",
            code="bias-mask-empty",
            uid=uid,
        )
    return Problem(image, mask, grid, shrink_xyz, volume.geometry, deviations)


def shrink_factors(shape_zyx: tuple[int, int, int], shrink: int) -> tuple[tuple[int, int, int], tuple[str, ...]]:
    """The factor of each axis (x, y, z) and a sentence for each axis that is shrunk less than asked.

    ITK's spline needs two samples along each axis; a thin axis is shrunk only as far as they remain.
    """
    factors, deviations = [], []
    for axis, n in zip("xyz", reversed(shape_zyx), strict=True):
        factor = max(1, min(shrink, n // MIN_SAMPLES))
        if factor < shrink:
            deviations.append(f"axis {axis} has {n} samples and was shrunk by {factor} instead of {shrink}")
        factors.append(factor)
    return (factors[0], factors[1], factors[2]), tuple(deviations)


def as_image(voxels_zyx: npt.NDArray[np.generic], geometry: Geometry | None = None) -> sitk.Image:
    """A SimpleITK image of a copy of `voxels_zyx`, in place if `geometry` is given."""
    image = sitk.GetImageFromArray(voxels_zyx)
    if geometry is not None:
        image.SetSpacing(geometry.spacing_xyz_mm)
        image.SetOrigin(geometry.origin_xyz_mm)
        image.SetDirection(geometry.direction)
    return image


def _shrink(volume: Volume, factors_xyz: tuple[int, int, int]) -> tuple[npt.NDArray[np.generic], Geometry]:
    """Every so many voxels, those that ITK's ShrinkImageFilter picks, without a copy of the volume for ITK.

    With an even factor the middle of a block lies between two voxels, and which one ITK takes hangs on how the
    physical coordinates happen to round. They are therefore left to ITK, on images of one voxel: the centre of the
    coarse grid is put where that of the fine one is, then the first coarse voxel is looked up on the fine grid.
    """
    where = volume.geometry
    fine = _one_voxel(where.spacing_xyz_mm, where.origin_xyz_mm, where.direction)
    x, y, z = (s * f for s, f in zip(where.spacing_xyz_mm, factors_xyz, strict=True))
    coarse = _one_voxel((x, y, z), where.origin_xyz_mm, where.direction)
    sizes = where.shape_zyx[::-1]
    coarse_sizes = [max(1, n // f) for n, f in zip(sizes, factors_xyz, strict=True)]
    centre = fine.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2.0 for n in sizes])
    theirs = coarse.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2.0 for n in coarse_sizes])
    coarse.SetOrigin([o + (c - t) for o, c, t in zip(where.origin_xyz_mm, centre, theirs, strict=True)])
    first = fine.TransformPhysicalPointToIndex(coarse.TransformIndexToPhysicalPoint((0, 0, 0)))
    picked = [slice(max(0, o), None, f) for o, f in zip(first, factors_xyz, strict=True)][::-1]
    voxels = np.ascontiguousarray(
        volume.voxels_zyx[tuple(picked)][: coarse_sizes[2], : coarse_sizes[1], : coarse_sizes[0]]
    )
    shape = (coarse_sizes[2], coarse_sizes[1], coarse_sizes[0])
    return voxels, Geometry(shape, coarse.GetSpacing(), coarse.GetOrigin(), coarse.GetDirection())


def _one_voxel(
    spacing_xyz_mm: tuple[float, ...], origin_xyz_mm: tuple[float, ...], direction: tuple[float, ...]
) -> sitk.Image:
    image = sitk.Image(1, 1, 1, sitk.sitkUInt8)
    image.SetSpacing(spacing_xyz_mm)
    image.SetOrigin(origin_xyz_mm)
    image.SetDirection(direction)
    return image


def _check(voxels: npt.NDArray[np.generic], uid: str) -> None:
    if min(voxels.shape) < MIN_SAMPLES:
        raise GeometryRejected(
            f"Series {uid}: a volume of {voxels.shape[0]} slices of {voxels.shape[1]} x {voxels.shape[2]} has an axis "
            "of one sample, along which no bias field can be told",
            code="bias-one-sample",
            uid=uid,
        )
    low, high = voxels.min(), voxels.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise PixelsRejected(
            f"Series {uid} has NaN or infinite voxels; bias correction needs finite ones",
            code="bias-not-finite",
            uid=uid,
        )
    if low == high:
        raise PixelsRejected(
            f"Series {uid}: every voxel is {low}, so there is neither tissue nor bias in it",
            code="bias-constant-image",
            uid=uid,
        )
