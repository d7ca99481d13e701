"""Rigid registration of two sequences: Mattes mutual information, coarse to fine, the same every time.

A result is believed only if the fine structures inside the body then share clearly more information than when slid
apart (those of unrelated images share as little wherever they lie), and if searches from different starts agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any  # Any: SimpleITK's objects, which have no types

import numpy as np
import numpy.typing as npt
import SimpleITK

from pipeline.errors import GeometryRejected
from pipeline.geometry import Geometry
from pipeline.records import Volume

Matrix = npt.NDArray[np.float64]
SitkImage = Any

LEVELS_MM = (8.0, 4.0, 2.0)
# A second search from elsewhere must come to the same place; the finest level is not needed to see that.
OTHER_START_MM = (4.0, -4.0, 4.0)
SAMPLE_MM = 3.0
BINS = 32
SAMPLES = 40_000
# Sliding this far takes all structures apart; the outline of the body, only partly.
SLIDES_MM = tuple(tuple(s * 12.0 * v for v in axis) for axis in np.eye(3) for s in (-1, 1))
# Structures finer than this are compared by themselves: two bodies may share their outline and nothing else.
FINE_MM = 5.0
LEAST_SHARED = 0.02
# On ten pairs of phantoms: 2.99 to 4.84 within an exam, 1.18 to 1.56 between the exams of two patients.
LEAST_GAIN = 1.75
LEAST_VOXELS = 500
FAILED = "registration-failed"


def register(t1c: Volume, target: Volume, seed: int) -> tuple[Matrix, dict[str, float | str]]:
    """The 4x4 from points of T1+C to points of `target` (LPS mm) and figures on how sure it is.

    Raises GeometryRejected if the images do not belong together or the search does not settle.
    """
    fixed, moving = image_of(t1c), image_of(target)
    with _one_thread():
        matrix, stop = _search(fixed, moving, (0.0, 0.0, 0.0), seed, LEVELS_MM)
        other, _ = _search(fixed, moving, OTHER_START_MM, seed, LEVELS_MM[:-1])
    spread = _apart_mm(matrix, other, t1c.geometry)
    pair = _pair(fixed, moving)
    shared = shared_information(pair, matrix)
    slid = max(shared_information(pair, _slid(matrix, by)) for by in SLIDES_MM)
    details: dict[str, float | str] = {
        "shared_information": shared,
        "shared_information_unmoved": shared_information(pair, np.eye(4)),
        "shared_information_slid": slid,
        "starts_apart_mm": spread,
        "seed": float(seed),
        "stopped": stop,
    }
    tolerance = max(*t1c.geometry.spacing_xyz_mm, *target.geometry.spacing_xyz_mm, LEVELS_MM[-2] / 2)
    if shared < LEAST_SHARED or shared < LEAST_GAIN * slid or spread > tolerance:
        raise GeometryRejected(
            f"series {t1c.series_uid} and {target.series_uid} cannot be registered: their fine structures share "
            f"{shared:.3f} of their information, {slid:.3f} when slid apart, and two searches end {spread:.1f} mm from "
            "each other",
            code=FAILED,
            uid=target.series_uid,
        )
    return matrix, details


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums of several threads differ in their last bits from run to run; one thread and a seed give the same matrix.

    SimpleITK heeds only its process-wide number here, which is put back afterwards.
    """
    threads = SimpleITK.ProcessObject.GetGlobalDefaultNumberOfThreads()
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)


def middle_mm(grid: Geometry) -> Matrix:
    """The middle of the grid in patient space."""
    z, y, x = grid.shape_zyx
    return np.asarray((grid.affine @ np.array([(x - 1) / 2, (y - 1) / 2, (z - 1) / 2, 1]))[:3])


def image_of(volume: Volume) -> SitkImage:
    """The volume as a float32 SimpleITK image."""
    image = SimpleITK.GetImageFromArray(volume.voxels_zyx.astype(np.float32))
    image.SetSpacing(volume.geometry.spacing_xyz_mm)
    image.SetOrigin(volume.geometry.origin_xyz_mm)
    image.SetDirection(volume.geometry.direction)
    return image


def _search(
    fixed: SitkImage, moving: SitkImage, start_mm: Sequence[float], seed: int, levels_mm: Sequence[float]
) -> tuple[Matrix, str]:
    """From `start_mm` through the levels; the matrix and why the last level stopped."""
    transform = SimpleITK.Euler3DTransform()
    transform.SetCenter(fixed.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in fixed.GetSize()]))
    transform.SetTranslation(start_mm)
    stop = ""
    for level_mm in levels_mm:
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
    method.SetInterpolator(SimpleITK.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(2.0, 2e-3, 150, 0.5, 1e-8)
    method.SetOptimizerScalesFromPhysicalShift()
    return method


def _coarse(image: SitkImage, level_mm: float) -> SitkImage:
    """Smoothed and thinned out to about `level_mm` along each axis; axes that are coarser already stay."""
    factors = [max(1, min(int(level_mm / s), n // 4)) for s, n in zip(image.GetSpacing(), image.GetSize(), strict=True)]
    if max(factors) == 1:
        return image
    # A Gaussian of half the new spacing keeps structures finer than that from aliasing.
    variance = [(f * s / 2) ** 2 if f > 1 else 1e-12 for f, s in zip(factors, image.GetSpacing(), strict=True)]
    return SimpleITK.Shrink(SimpleITK.DiscreteGaussian(image, variance), factors)


@dataclass(frozen=True, slots=True)
class Pair:
    """Fine structures and foregrounds (float images of 0 and 1) of both images, on their own coarse grids."""

    fixed: SitkImage
    moving: SitkImage
    fixed_body: SitkImage
    moving_body: SitkImage


def _pair(fixed: SitkImage, moving: SitkImage) -> Pair:
    coarse, other = _coarse(fixed, SAMPLE_MM), _coarse(moving, SAMPLE_MM)
    return Pair(_fine(coarse), _fine(other), _body(coarse), _body(other))


def _fine(image: SitkImage) -> SitkImage:
    return image - SimpleITK.DiscreteGaussian(image, [FINE_MM**2] * 3)


def _body(image: SitkImage) -> SitkImage:
    """Where there is signal: above a third of the mean of what is no air; one voxel off the outline."""
    values = SimpleITK.GetArrayFromImage(image)
    signal = values[values > np.percentile(values, 1)]
    body = image > (0.3 * float(signal.mean()) if signal.size else 0.0)
    return SimpleITK.Cast(SimpleITK.BinaryErode(body, [1, 1, 1]), SimpleITK.sitkFloat32)


def shared_information(pair: Pair, matrix: Matrix) -> float:
    """Mutual information of the fine structures over the mean of both entropies (0..1), where both have signal."""
    transform = SimpleITK.AffineTransform(3)
    transform.SetMatrix(matrix[:3, :3].ravel().tolist())
    transform.SetTranslation(matrix[:3, 3].tolist())

    def moved(image: SitkImage) -> npt.NDArray[np.float32]:
        resampled = SimpleITK.Resample(image, pair.fixed, transform, SimpleITK.sitkLinear, 0.0)
        return np.asarray(SimpleITK.GetArrayFromImage(resampled), np.float32)

    inside = (moved(pair.moving_body) > 0.5) & (SimpleITK.GetArrayFromImage(pair.fixed_body) > 0.5)
    if np.count_nonzero(inside) < LEAST_VOXELS:
        return 0.0
    here = SimpleITK.GetArrayFromImage(pair.fixed)[inside]
    joint = np.histogram2d(_levels(here), _levels(moved(pair.moving)[inside]), bins=BINS // 2)[0]
    p = joint / joint.sum()
    rows, columns, both = _entropy(p.sum(axis=1)), _entropy(p.sum(axis=0)), _entropy(p)
    mean = (rows + columns) / 2
    return float((rows + columns - both) / mean) if mean > 0 else 0.0


def _slid(matrix: Matrix, by_mm: Sequence[float]) -> Matrix:
    slid = matrix.copy()
    slid[:3, 3] += by_mm
    return slid


def _levels(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Values with the outermost percent clipped, so that single bright voxels do not crowd the rest into one bin."""
    low, high = np.percentile(values, (0.5, 99.5))
    return np.clip(values, low, high)


def _entropy(p: Matrix) -> float:
    used = p[p > 0]
    return float(-(used * np.log(used)).sum())


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
