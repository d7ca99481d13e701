"""Cubic B-splines on a regular grid, as ITK fits and evaluates them.

The fit is Lee, Wolberg and Shin's (Scattered data interpolation with multilevel B-splines, IEEE TVCG 3(3), 1997):
a control point is sum(w^3 z / s) / sum(w^2) over the points z it acts on, with w the spline's weight of the control
point at the data point and s the sum of all w^2 there. On a regular grid w and s are products over the axes, so both
sums are three small matrix products, and so is the evaluation.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

ORDER = 3
# ITK puts the last sample of each axis this far (in samples) inside the spline's half-open domain
INSIDE = 1e-3
# ITK leaves a control point at zero where the sum of squared weights is this close to zero (float32 epsilon / 10)
UNSUPPORTED = 0.1 * float(np.finfo(np.float32).eps)
# Multiplications in one matrix product
SMALL_PRODUCT = 200_000
# Subdivision of a cubic spline: (4 4) / 8 for even and (1 6 1) / 8 for odd control points. ITK finds these numbers by a
# float32 singular value decomposition; the additions are what comes out of it (ITK 5.4, x86-64), measured from lattices
# before and after, and confirmed to the bit on 11 of them.
SUBDIVISION = np.array(
    [
        [0.5, 0.5, 3 * 2.0**-25, -3 * 2.0**-32],
        [0.125 + 5 * 2.0**-26, 0.75 + 2.0**-22, 0.125 + 5 * 2.0**-26, -5 * 2.0**-28],
    ],
    dtype=np.float32,
)

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
    values = np.empty((*rows.shape[:2], len(x)), dtype=rows.dtype)
    # Products small enough that BLAS does not share them out: on a busy machine its threads wait for each other
    depth = max(1, SMALL_PRODUCT // x.size)
    for start in range(0, rows.shape[1], depth):
        part = slice(start, start + depth)
        np.matmul(rows[:, part], x.T, out=values[:, part])
    return values


def cubic(u: npt.NDArray[np.floating]) -> F64:
    """The cubic B-spline."""
    a = np.abs(u.astype(np.float64))
    squared = a * a
    near = (4 - 6 * squared + 3 * squared * a) / 6
    far = (8 - 12 * a + 6 * squared - squared * a) / 6
    return np.where(a < 1, near, np.where(a < 2, far, 0))


def refine(lattice: F32) -> F32:
    """The same spline with twice as many spans on each axis."""
    shape = lattice.shape
    padded = np.pad(lattice, (0, ORDER))
    # (z, even or odd, y, even or odd, x, even or odd); the last odd ones are one too many
    pairs = np.zeros([k for n in shape for k in (n - 1, 2)], dtype=np.float32)
    for taps in itertools.product(range(ORDER + 1), repeat=3):
        z, y, x = (SUBDIVISION[:, t] for t in taps)
        share = (x[None, None, :] * y[None, :, None]) * z[:, None, None]
        part = padded[tuple(slice(t, t + n - 1) for t, n in zip(taps, shape, strict=True))]
        pairs += part[:, None, :, None, :, None] * share[None, :, None, :, None, :]
    whole = pairs.reshape([2 * (n - 1) for n in shape])
    return np.ascontiguousarray(whole[:-1, :-1, :-1])


@dataclass(frozen=True, slots=True)
class Splines:
    """Everything about one fitting level that does not change from iteration to iteration.

    Matrices are in z, y, x order: `values` for evaluation, `pulls` (w^3 / s) for the fit. `support` is sum(w^2) over
    the mask, infinite where ITK leaves the control point at zero. `inside`: flat numbers of the mask's voxels in `box`.
    """

    values: tuple[F32, F32, F32]
    pulls: tuple[F32, F32, F32]
    support: F32
    box: tuple[int, ...]
    inside: npt.NDArray[np.intp]

    @classmethod
    def of(cls, mask_zyx: npt.NDArray[np.bool_], spans_zyx: tuple[int, ...]) -> Splines:
        """For the voxels of `mask_zyx`; work is confined to the box around them."""
        box = _bounding_box(mask_zyx)
        mask = mask_zyx[box]
        z, y, x = (axis_weights(n, k, b) for n, k, b in zip(mask_zyx.shape, spans_zyx, box, strict=True))
        support = contract(mask.astype(np.float64), z**2, y**2, x**2).astype(np.float32)
        support[support <= UNSUPPORTED] = np.inf
        return cls(_single(z, y, x), _single(_pull(z), _pull(y), _pull(x)), support, mask.shape, np.flatnonzero(mask))

    def fit(self, residual: F32) -> F32:
        """The control points that approximate `residual`, given in the order of the image."""
        boxed = np.zeros(self.box, dtype=np.float32)
        boxed.reshape(-1)[self.inside] = residual
        return contract(boxed, *self.pulls) / self.support

    def evaluate(self, lattice: F32) -> F32:
        """The spline of `lattice` at the mask's voxels."""
        return expand(lattice, *self.values).reshape(-1)[self.inside]


def _bounding_box(mask: npt.NDArray[np.bool_]) -> tuple[slice, ...]:
    box = []
    for axis in range(mask.ndim):
        occupied = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        box.append(slice(int(occupied[0]), int(occupied[-1]) + 1))
    return tuple(box)


def _pull(weights: F64) -> F64:
    pull: F64 = weights**3 / np.sum(weights**2, axis=1, keepdims=True)
    return pull


def _single(z: F64, y: F64, x: F64) -> tuple[F32, F32, F32]:
    return z.astype(np.float32), y.astype(np.float32), x.astype(np.float32)
