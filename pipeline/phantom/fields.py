"""Smooth random fields fixed in the patient, so that every grid sees the same tissue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Axes = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]
Box = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]

# variance of a cubic B-spline series with unit coefficients, averaged over a lattice cell, per axis
_SPLINE_VARIANCE = 151 / 315


@dataclass(frozen=True, slots=True)
class Field:
    """Zero mean, unit variance: cubic B-splines on a lattice of `pitch_mm` with normal coefficients (z, y, x)."""

    coefficients_zyx: Floats
    start_zyx_mm: tuple[float, float, float]
    pitch_mm: float

    @classmethod
    def draw(cls, rng: np.random.Generator, box_zyx_mm: Box, pitch_mm: float) -> Field:
        """A field that covers `box_zyx_mm` ((low, high) per axis)."""
        sizes = [int(np.ceil((high - low) / pitch_mm)) + 4 for low, high in box_zyx_mm]
        start = tuple(low - 1.5 * pitch_mm for low, _ in box_zyx_mm)
        return cls(rng.standard_normal(sizes, dtype=np.float32), (start[0], start[1], start[2]), pitch_mm)

    def around(self, axes_zyx_mm: Axes, margin_mm: float = 3.0) -> Field:
        """The same field, known only on this grid and `margin_mm` around it: much quicker to evaluate there."""
        spans, start = [], []
        for axis, first, size in zip(axes_zyx_mm, self.start_zyx_mm, self.coefficients_zyx.shape, strict=True):
            low = int(np.clip(np.floor((axis.min() - margin_mm - first) / self.pitch_mm) - 2, 0, size - 1))
            high = int(np.clip(np.ceil((axis.max() + margin_mm - first) / self.pitch_mm) + 3, low + 1, size))
            spans.append(slice(low, high))
            start.append(first + low * self.pitch_mm)
        inside = np.ascontiguousarray(self.coefficients_zyx[spans[0], spans[1], spans[2]])
        return Field(inside, (start[0], start[1], start[2]), self.pitch_mm)

    def at(self, axes_zyx_mm: Axes) -> Floats:
        """Values on the grid that the three coordinate vectors span: float32 (z, y, x)."""
        weights = [
            _spline_matrix((axis - start) / self.pitch_mm, size)
            for axis, start, size in zip(axes_zyx_mm, self.start_zyx_mm, self.coefficients_zyx.shape, strict=True)
        ]
        values = np.tensordot(weights[2], self.coefficients_zyx, axes=(1, 2))  # x, z, y
        values = np.tensordot(weights[1], values, axes=(1, 2))  # y, x, z
        values = np.tensordot(weights[0], values, axes=(1, 2))  # z, y, x
        return np.asarray(values / _SPLINE_VARIANCE**1.5, dtype=np.float32)


def _spline_matrix(position: npt.NDArray[np.float64], size: int) -> Floats:
    """Weights (positions, lattice): the cubic B-spline centred on each lattice point; zero outside the lattice."""
    distance = np.abs(position[:, None] - np.arange(size)[None, :])
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = (2 - distance) ** 3 / 6
    return np.where(distance < 1, near, np.where(distance < 2, far, 0.0)).astype(np.float32)
