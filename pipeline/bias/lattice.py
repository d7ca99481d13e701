"""Cubic B-splines on a regular grid, as ITK fits and evaluates them.

The fit is Lee, Wolberg and Shin's (Scattered data interpolation with multilevel B-splines, IEEE TVCG 3(3), 1997):
a control point is sum(w^3 z / s) / sum(w^2) over the points z it acts on, with w the spline's weight of the control
point at the data point and s the sum of all w^2 there. On a regular grid w and s are products over the axes, so both
sums are three small matrix products, and so is the evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

ORDER = 3
# ITK puts the last sample of each axis this far (in samples) inside the spline's half-open domain
INSIDE = 1e-3
# ITK leaves a control point at zero where the sum of squared weights is this close to zero (float32 epsilon / 10)
UNSUPPORTED = 0.1 * float(np.finfo(np.float32).eps)

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Real = TypeVar("Real", np.float32, np.float64)


def axis_weights(samples: int, spans: int, picked: slice = slice(None)) -> F64:
    """(samples, spans + 3) weights of each control point at u = spans * i / (samples - 1)."""
    u = spans * np.arange(samples, dtype=np.float64) / (samples - 1)
    u[-1] = spans - INSIDE * spans / (samples - 1)
    span = u.astype(np.intp)
    t = u - span
    local = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1) / 6
    weights = np.zeros((samples, spans + ORDER))
    np.put_along_axis(weights, span[:, None] + np.arange(ORDER + 1), local, axis=1)
    return weights[picked]


def contract(
    values_zyx: npt.NDArray[Real], z: npt.NDArray[Real], y: npt.NDArray[Real], x: npt.NDArray[Real]
) -> npt.NDArray[Real]:
    """Sum of values * z * y * x over the grid, per control point; each matrix is (samples, control points)."""
    planes = y.T @ (values_zyx @ x)
    summed: npt.NDArray[Real] = np.tensordot(z, planes, axes=(0, 0))
    return summed


def expand(
    lattice_zyx: npt.NDArray[Real], z: npt.NDArray[Real], y: npt.NDArray[Real], x: npt.NDArray[Real]
) -> npt.NDArray[Real]:
    """The spline of `lattice_zyx` at the samples whose weights are the rows of `z`, `y` and `x`."""
    planes: npt.NDArray[Real] = np.tensordot(z, lattice_zyx, axes=(1, 0))
    rows: npt.NDArray[Real] = y @ planes
    return rows @ x.T


def refine(lattice: F64) -> F64:
    """The same spline with twice as many spans on each axis: the subdivision (4 4)/8, (1 6 1)/8."""
    for axis in range(lattice.ndim):
        old = np.moveaxis(lattice, axis, 0)
        new = np.empty((2 * old.shape[0] - ORDER, *old.shape[1:]))
        new[0::2] = (old[:-1] + old[1:]) / 2
        new[1::2] = (old[:-2] + 6 * old[1:-1] + old[2:]) / 8
        lattice = np.moveaxis(new, 0, axis)
    return np.ascontiguousarray(lattice)


@dataclass(frozen=True, slots=True)
class Splines:
    """Everything about one fitting level that does not change from iteration to iteration.

    Matrices are in z, y, x order: `values` for evaluation, `pulls` (w^3 / s) for the fit. `support` is sum(w^2) over
    the mask, infinite where ITK leaves the control point at zero.
    """

    values: tuple[F32, F32, F32]
    pulls: tuple[F32, F32, F32]
    support: F64

    @classmethod
    def of(
        cls, mask_zyx: F32, box: tuple[slice, ...], shape_zyx: tuple[int, ...], spans_zyx: tuple[int, ...]
    ) -> Splines:
        """For a mask (1.0 inside) that is the part `box` of a grid of `shape_zyx`."""
        z, y, x = (axis_weights(n, k, b) for n, k, b in zip(shape_zyx, spans_zyx, box, strict=True))
        support = contract(mask_zyx.astype(np.float64), z**2, y**2, x**2)
        support[support <= UNSUPPORTED] = np.inf
        return cls(_single(z, y, x), _single(_pull(z), _pull(y), _pull(x)), support)

    def fit(self, residual_zyx: F32) -> F64:
        """The control points that approximate `residual_zyx`, which is 0 outside the mask."""
        return contract(residual_zyx, *self.pulls).astype(np.float64) / self.support

    def evaluate(self, lattice: F64) -> F32:
        """The spline of `lattice` on the box."""
        return expand(lattice.astype(np.float32), *self.values)


def _pull(weights: F64) -> F64:
    pull: F64 = weights**3 / np.sum(weights**2, axis=1, keepdims=True)
    return pull


def _single(z: F64, y: F64, x: F64) -> tuple[F32, F32, F32]:
    return z.astype(np.float32), y.astype(np.float32), x.astype(np.float32)
