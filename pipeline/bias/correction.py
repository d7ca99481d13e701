"""From a volume to a corrected volume."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from config.schema import Bias
from pipeline.bias import problem as problems
from pipeline.bias import reference
from pipeline.bias.evidence import BiasEvidence
from pipeline.errors import PixelsRejected
from pipeline.records import Volume

# Voxels of the whole grid that are corrected at a time; bounds what is held in memory beside input and output
SLAB_VOXELS = 4_000_000


def correct(volume: Volume, settings: Bias) -> tuple[Volume, BiasEvidence]:
    """`volume` / exp(log field), float32, on the same grid, and what was done.

    Raises:
        GeometryRejected: an axis has a single sample.
        PixelsRejected: NaN or infinite voxels, a constant image, or nothing left in the mask to fit a field to.
    """
    field, evidence = log_field(volume, settings)
    corrected = np.empty(volume.voxels_zyx.shape, dtype=np.float32)
    depth = max(1, SLAB_VOXELS // (corrected.shape[1] * corrected.shape[2]))
    for z in range(0, corrected.shape[0], depth):
        slab = slice(z, z + depth)
        np.divide(volume.voxels_zyx[slab], np.exp(field[slab]), out=corrected[slab], casting="same_kind")
    if not np.isfinite(corrected).all():
        raise PixelsRejected(
            f"Series {volume.series_uid}: the bias field fitted to it is not finite, so it cannot be corrected",
            code="bias-field-not-finite",
            uid=volume.series_uid,
        )
    return replace(volume, voxels_zyx=corrected), evidence


def log_field(volume: Volume, settings: Bias) -> tuple[npt.NDArray[np.float32], BiasEvidence]:
    """The natural logarithm of the bias field on the whole grid, float32 (z, y, x), and what was done."""
    posed = problems.pose(volume, settings)
    field, iterations = reference.fit(posed, settings)
    evidence = BiasEvidence(
        engine=settings.engine,
        iterations=iterations,
        mask_voxels=posed.mask_voxels,
        shrink_xyz=posed.shrink_xyz,
        deviations=posed.deviations,
    )
    return field, evidence
