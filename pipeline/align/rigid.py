"""Rigid registration of two sequences: Mattes mutual information, coarse to fine, the same every time.

A result is believed only if the images then share clearly more information than when slid apart (mutual information of
unrelated images does not depend on where they lie), and if searches from different starts agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK

from pipeline.errors import GeometryRejected
from pipeline.geometry import Geometry
from pipeline.records import Volume

Matrix = npt.NDArray[np.float64]

LEVELS_MM = (6.0, 3.0, 1.5)
BINS = 32
SAMPLES = 40_000
STARTS_MM = ((0.0, 0.0, 0.0), (4.0, -4.0, 4.0))
SLIDE_MM = 30.0
# Shared information, in units of the entropies' mean, that the registered images must have, and over slid ones.
LEAST_SHARED = 0.02
LEAST_GAIN = 1.5
FAILED = "registration-failed"


def register(t1c: Volume, target: Volume, seed: int) -> tuple[Matrix, dict[str, float | str]]:
    """The 4x4 from points of T1+C to points of `target` (LPS mm) and figures on how sure it is.

    Raises GeometryRejected if the images do not belong together or the search does not settle.
    """
    fixed, moving = image_of(t1c), image_of(target)
    found = [_search(fixed, moving, start, seed) for start in STARTS_MM]
    shared = [shared_information(fixed, moving, matrix) for matrix, _ in found]
    best = int(np.argmax(shared))
    matrix, stop = found[best]
    spread = _apart_mm(found[0][0], found[1][0], t1c.geometry)
    slid = max(shared_information(fixed, moving, matrix, step) for step in _slides())
    details: dict[str, float | str] = {
        "shared_information": shared[best],
        "shared_information_unmoved": shared_information(fixed, moving, np.eye(4)),
        "shared_information_slid": slid,
        "starts_apart_mm": spread,
        "seed": float(seed),
        "stopped": stop,
    }
    tolerance = max(*t1c.geometry.spacing_xyz_mm, *target.geometry.spacing_xyz_mm)
    if shared[best] < LEAST_SHARED or shared[best] < LEAST_GAIN * slid or spread > tolerance:
        raise GeometryRejected(
            f"series {t1c.series_uid} and {target.series_uid} cannot be registered: they share {shared[best]:.3f} of "
            f"their information, {slid:.3f} when slid apart, and two searches end {spread:.1f} mm from each other",
            code=FAILED,
            uid=target.series_uid,
        )
    return matrix, details


def middle_mm(grid: Geometry) -> Matrix:
    """The middle of the grid in patient space."""
    z, y, x = grid.shape_zyx
    return np.asarray((grid.affine @ np.array([(x - 1) / 2, (y - 1) / 2, (z - 1) / 2, 1]))[:3])


def image_of(volume: Volume) -> Any:
    """The volume as a float32 SimpleITK image."""
    image = SimpleITK.GetImageFromArray(volume.voxels_zyx.astype(np.float32))
    image.SetSpacing(volume.geometry.spacing_xyz_mm)
    image.SetOrigin(volume.geometry.origin_xyz_mm)
    image.SetDirection(volume.geometry.direction)
    return image


def _search(fixed: Any, moving: Any, start_mm: Sequence[float], seed: int) -> tuple[Matrix, str]:
    """From `start_mm` through the levels; the matrix and why the last level stopped."""
    transform = SimpleITK.Euler3DTransform()
    transform.SetCenter(fixed.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in fixed.GetSize()]))
    transform.SetTranslation(start_mm)
    stop = ""
    for level_mm in LEVELS_MM:
        method = _method(seed)
        coarse, other = _coarse(fixed, level_mm), _coarse(moving, level_mm)
        method.SetMetricSamplingPercentage(min(1.0, SAMPLES / coarse.GetNumberOfPixels()), seed)
        method.SetInitialTransform(transform, inPlace=True)
        try:
            method.Execute(coarse, other)
        except RuntimeError as error:
            last = str(error).strip().splitlines()[-1]
            raise GeometryRejected(f"registration lost the overlap of the images: {last}", code=FAILED) from error
        stop = str(method.GetOptimizerStopConditionDescription())
    return _matrix(transform), stop


def _method(seed: int) -> Any:
    method = SimpleITK.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricSamplingStrategy(method.RANDOM)
    # One thread and a seed: the same images give the same matrix, bit for bit.
    method.SetNumberOfThreads(1)
    method.SetInterpolator(SimpleITK.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(2.0, 1e-3, 200, 0.5, 1e-8)
    method.SetOptimizerScalesFromPhysicalShift()
    return method


def _coarse(image: Any, level_mm: float) -> Any:
    """Smoothed and thinned out to about `level_mm` along each axis; axes that are coarser already stay."""
    factors = [max(1, min(int(level_mm / s), n // 4)) for s, n in zip(image.GetSpacing(), image.GetSize(), strict=True)]
    if max(factors) == 1:
        return image
    # A Gaussian of half the new spacing keeps structures finer than that from aliasing.
    variance = [(f * s / 2) ** 2 if f > 1 else 1e-12 for f, s in zip(factors, image.GetSpacing(), strict=True)]
    return SimpleITK.Shrink(SimpleITK.DiscreteGaussian(image, variance), factors)


def shared_information(fixed: Any, moving: Any, matrix: Matrix, slide_mm: Sequence[float] = (0.0, 0.0, 0.0)) -> float:
    """Mutual information over the mean of both entropies (0..1), on a 3 mm sample of the overlap; 0 without overlap."""
    moved = np.array(matrix)
    moved[:3, 3] += slide_mm
    grid = _coarse(fixed, LEVELS_MM[1])
    transform = SimpleITK.AffineTransform(3)
    transform.SetMatrix(moved[:3, :3].ravel().tolist())
    transform.SetTranslation(moved[:3, 3].tolist())
    outside = float(np.finfo(np.float32).min)
    there = SimpleITK.GetArrayViewFromImage(
        SimpleITK.Resample(_coarse(moving, LEVELS_MM[1]), grid, transform, SimpleITK.sitkLinear, outside)
    )
    here = SimpleITK.GetArrayViewFromImage(grid)
    inside = there > outside / 2
    if np.count_nonzero(inside) < 1000:
        return 0.0
    joint = np.histogram2d(_levels(here[inside]), _levels(there[inside]), bins=BINS)[0]
    p = joint / joint.sum()
    rows, columns, both = _entropy(p.sum(axis=1)), _entropy(p.sum(axis=0)), _entropy(p)
    mean = (rows + columns) / 2
    return float((rows + columns - both) / mean) if mean > 0 else 0.0


def _levels(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Values with the outermost percent clipped, so that single bright voxels do not crowd the rest into one bin."""
    low, high = np.percentile(values, (0.5, 99.5))
    return np.clip(values, low, high)


def _entropy(p: Matrix) -> float:
    used = p[p > 0]
    return float(-(used * np.log(used)).sum())


def _slides() -> list[tuple[float, float, float]]:
    return [(s, 0, 0) for s in (-SLIDE_MM, SLIDE_MM)] + [(0, s, 0) for s in (-SLIDE_MM, SLIDE_MM)]


def _apart_mm(one: Matrix, other: Matrix, grid: Geometry) -> float:
    """The furthest that two matrices put the same corner of the inner half of the grid."""
    z, y, x = grid.shape_zyx
    index = np.array([[i, j, k, 1] for i in (x / 4, 3 * x / 4) for j in (y / 4, 3 * y / 4) for k in (z / 4, 3 * z / 4)])
    points = index @ grid.affine.T
    return float(np.linalg.norm(points @ (one - other)[:3].T, axis=1).max())


def _matrix(transform: Any) -> Matrix:
    """Euler transform about a centre as one 4x4."""
    rotation = np.array(transform.GetMatrix()).reshape(3, 3)
    centre, shift = np.array(transform.GetCenter()), np.array(transform.GetTranslation())
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = centre + shift - rotation @ centre
    return matrix
