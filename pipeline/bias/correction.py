"""From a volume to a corrected volume."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from config.schema import Bias
from pipeline.bias import fast_n4, itk_reference
from pipeline.bias import n4_input as problems
from pipeline.bias.evidence import BiasEvidence
from pipeline.bias.lattice import ORDER, axis_weights, expand
from pipeline.errors import PixelsRejected
from pipeline.records import Volume

# Voxels of the whole grid that are corrected at a time; bounds what is held in memory beside input and output
SLAB_VOXELS = 2_000_000

F32 = npt.NDArray[np.float32]
Slab = tuple[slice, F32]


def correct(volume: Volume, settings: Bias) -> tuple[Volume, BiasEvidence]:
    """`volume` / exp(log field), float32, on the same grid, and what was done.

    Raises:
        GeometryRejected: an axis has a single sample.
        PixelsRejected: NaN or infinite voxels, a constant image, or nothing left in the mask to fit a field to.
    """
    slabs, evidence = _fit(volume, settings)
    corrected = np.empty(volume.voxels_zyx.shape, dtype=np.float32)
    finite = True
    for z, field in slabs:
        # a slice at a time stays in the processor's cache
        for voxels, logs, corrected_slice in zip(volume.voxels_zyx[z], field, corrected[z], strict=True):
            np.divide(voxels, np.exp(logs), out=corrected_slice, casting="same_kind")
            finite = finite and bool(np.isfinite(corrected_slice).all())
    if not finite:
        raise PixelsRejected(
            f"Series {volume.series_uid}: the bias field fitted to it is not finite, so it cannot be corrected",
            code="bias-field-not-finite",
            uid=volume.series_uid,
        )
    return replace(volume, voxels_zyx=corrected), evidence


def log_field(volume: Volume, settings: Bias) -> tuple[F32, BiasEvidence]:
    """The natural logarithm of the bias field on the whole grid, float32 (z, y, x), and what was done.

    Raises: as `correct`.
    """
    slabs, evidence = _fit(volume, settings)
    whole = np.empty(volume.voxels_zyx.shape, dtype=np.float32)
    for z, field in slabs:
        whole[z] = field
    return whole, evidence


def _fit(volume: Volume, settings: Bias) -> tuple[Iterator[Slab], BiasEvidence]:
    """The log field, a few slices at a time so that it is never held whole beside input and output."""
    posed = problems.pose(volume, settings)
    if settings.engine == "simpleitk":
        field, iterations = itk_reference.fit(posed, settings)
        slabs: Iterator[Slab] = ((z, field[z]) for z in _slabs(field.shape))
    else:
        lattice, iterations = fast_n4.fit(posed, settings)
        slabs = _evaluate(lattice, volume.geometry.shape_zyx)
    evidence = BiasEvidence(settings.engine, iterations, posed.mask_voxels, posed.shrink_xyz, posed.deviations)
    return slabs, evidence


def _evaluate(lattice: F32, shape_zyx: tuple[int, int, int]) -> Iterator[Slab]:
    """The spline at u = i / (n - 1) of each axis, as ITK's GetLogBiasFieldAsImage evaluates it."""
    z_weights, y_weights, x_weights = (
        axis_weights(n, points - ORDER).astype(np.float32) for n, points in zip(shape_zyx, lattice.shape, strict=True)
    )
    for z in _slabs(shape_zyx):
        yield z, expand(lattice, z_weights[z], y_weights, x_weights)


def _slabs(shape_zyx: tuple[int, ...]) -> Iterator[slice]:
    depth = max(1, SLAB_VOXELS // (shape_zyx[1] * shape_zyx[2]))
    return (slice(z, min(z + depth, shape_zyx[0])) for z in range(0, shape_zyx[0], depth))
