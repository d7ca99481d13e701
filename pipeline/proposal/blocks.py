"""Blocks of voxels, in which a large lesion is grown: its time must not follow its volume."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Floats = npt.NDArray[np.float64]
# Grids of fewer voxels are taken as they are.
_MANY_VOXELS = 300_000
# A neighbourhood still spans so many blocks, as a standard deviation.
_BLOCKS_PER_KERNEL = 1.5
_LARGEST = 4


@dataclass(frozen=True, slots=True)
class Blocks:
    """`factors`: voxels per block along z, y and x. `shape_zyx`: of the grid in voxels."""

    factors: tuple[int, int, int]
    shape_zyx: tuple[int, ...]

    @classmethod
    def of(cls, shape_zyx: tuple[int, ...], spacing_zyx_mm: tuple[float, float, float], kernel_mm: float) -> Blocks:
        """Single voxels on a small grid, else blocks that are small beside a neighbourhood of `kernel_mm`."""
        if int(np.prod(shape_zyx)) <= _MANY_VOXELS:
            return cls((1, 1, 1), shape_zyx)
        z, y, x = (int(np.clip(kernel_mm / s / _BLOCKS_PER_KERNEL, 1, _LARGEST)) for s in spacing_zyx_mm)
        return cls((z, y, x), shape_zyx)

    def mean(self, values: npt.NDArray[np.generic]) -> Floats:
        """The mean of every block; the grid is continued by its edge to whole blocks."""
        if self.factors == (1, 1, 1):
            return np.asarray(values, np.float64)
        padded = np.pad(values, [(0, -n % f) for n, f in zip(values.shape, self.factors, strict=True)], mode="edge")
        (nz, ny, nx), (z, y, x) = padded.shape, self.factors
        return np.asarray(padded.reshape(nz // z, z, ny // y, y, nx // x, x).mean(axis=(1, 3, 5)), np.float64)

    def repeated(self, means: Floats) -> Floats:
        """Each voxel has the value of its block."""
        for axis, factor in enumerate(self.factors):
            means = means if factor == 1 else np.repeat(means, factor, axis=axis)
        return means[tuple(slice(0, n) for n in self.shape_zyx)]

    def spread(self, means: Floats) -> Floats:
        """Values of blocks on voxels, linear between the middles of blocks."""
        if self.factors == (1, 1, 1):
            return means
        fine = ndimage.zoom(means, self.factors, order=1, mode="nearest", grid_mode=True)
        return np.asarray(fine[tuple(slice(0, n) for n in self.shape_zyx)])
