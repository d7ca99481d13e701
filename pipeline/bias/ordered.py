"""The same splines, added up point by point in ITK's order, in float32.

On a few thousand voxels N4 is unstable: whether the brightest voxel falls into the last bin of the histogram or out of
it hangs on the last bit of its logarithm, and two runs that differ in one rounding end 1e-4 to 1e-2 apart. ITK's own
result changes so with its number of threads, since each thread sums its share of the points by itself. For masks that
small the sums are therefore made as ITK makes them, to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy.sparse import csc_array

from pipeline.bias.lattice import F32, INSIDE, ORDER, UNSUPPORTED, cubic
from pipeline.geometry import Geometry

TAPS = ORDER + 1
Index = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class OrderedSplines:
    """One fitting level. `pulls` maps residuals to sums of w^3 z / s: a row per thread of ITK's and control point.

    `planes`: spans and weights of the z and y axes; `places`, `weights`: where each mask voxel's four taps start in
    the lattice contracted over z and y, and its weights along x.
    """

    pulls: csc_array
    support: F32
    planes: tuple[tuple[Index, F32], tuple[Index, F32]]
    places: Index
    weights: F32

    @classmethod
    def of(cls, mask_zyx: npt.NDArray[np.bool_], grid: Geometry, spans_zyx: tuple[int, ...]) -> OrderedSplines:
        """For the voxels of `mask_zyx` on `grid`."""
        shape = tuple(k + ORDER for k in spans_zyx)
        where = np.nonzero(mask_zyx)
        axes = list(zip(mask_zyx.shape, spans_zyx, grid.spacing_xyz_mm[::-1], grid.origin_xyz_mm[::-1], strict=True))
        fits = [_fit_axis(*axis) for axis in axes]
        weights = _products([kernel[at] for (_, kernel), at in zip(fits, where, strict=True)])
        points = _control_points([span[at] for (span, _), at in zip(fits, where, strict=True)], shape)
        squares = weights * weights
        total = np.zeros(len(weights), dtype=np.float32)
        for tap in range(weights.shape[1]):
            total += squares[:, tap]
        pulls = squares * weights / total[:, None]
        support = _gather(_matrix(squares, points, shape), np.ones(len(weights), dtype=np.float32), shape)
        support[support <= UNSUPPORTED] = np.inf
        z, y, x = (_value_axis(n, k, spacing) for n, k, spacing, _ in axes)
        places = (where[0] * mask_zyx.shape[1] + where[1]) * shape[2] + x[0][where[2]]
        return cls(_matrix(pulls, points, shape), support, (z, y), places, x[1][where[2]])

    def fit(self, residual: F32) -> F32:
        """The control points that approximate `residual`, given in the order of the image."""
        return _gather(self.pulls, residual, self.support.shape) / self.support

    def evaluate(self, lattice: F32) -> F32:
        """The spline of `lattice` at the mask's voxels."""
        (z_spans, z_weights), (y_spans, y_weights) = self.planes
        planes = sum_of([lattice[z_spans + t] * z_weights[:, t, None, None] for t in range(TAPS)])
        rows = sum_of([planes[:, y_spans + t] * y_weights[:, t, None] for t in range(TAPS)]).reshape(-1)
        return sum_of([rows[self.places + t] * self.weights[:, t] for t in range(TAPS)])


def sum_of(terms: list[F32]) -> F32:
    """From left to right."""
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _fit_axis(samples: int, spans: int, spacing: float, origin: float) -> tuple[Index, F32]:
    """First control point and four weights (float64) of each sample, from its float32 physical position."""
    rate = np.float32(spans / (float(samples - 1) * spacing))
    inside = np.float32(float(rate) * spacing * float(np.float32(INSIDE)))
    position = (float(np.float32(origin)) + np.arange(samples) * spacing).astype(np.float32)
    u = ((position.astype(np.float64) - origin) * float(rate)).astype(np.float32)
    return _spans_and_kernel(u, spans, inside)


def _value_axis(samples: int, spans: int, spacing: float) -> tuple[Index, F32]:
    """The same for evaluation, from the sample's number; weights in float32."""
    rate = np.float32(spans / (float(samples - 1) * spacing))
    inside = np.float32(float(rate) * spacing * float(np.float32(INSIDE)))
    u = np.float32(spans) * np.arange(samples, dtype=np.float32) / np.float32(samples - 1)
    span, kernel = _spans_and_kernel(u, spans, inside)
    return span, kernel.astype(np.float32)


def _spans_and_kernel(u: F32, spans: int, inside: np.float32) -> tuple[Index, npt.NDArray[np.floating]]:
    u = np.where(np.abs(u - np.float32(spans)) <= inside, np.float32(spans) - inside, u)
    u = np.where((u < 0) & (np.abs(u) <= inside), np.float32(0), u)
    span = u.astype(np.intp)
    away = (u - span.astype(np.float32))[:, None] - np.arange(TAPS, dtype=np.float32)
    return span, cubic((away.astype(np.float64) + (ORDER - 1) / 2).astype(np.float32))


def _products(kernels_zyx: list[npt.NDArray[np.floating]]) -> F32:
    """(voxels, 64) weights, x fastest; rounded after each axis, x first."""
    z, y, x = kernels_zyx
    rows = x.astype(np.float32)[:, None, :].astype(np.float64) * y[:, :, None]
    blocks = rows.astype(np.float32)[:, None].astype(np.float64) * z[:, :, None, None]
    return blocks.astype(np.float32).reshape(len(x), -1)


def _control_points(spans_zyx: list[Index], shape: tuple[int, ...]) -> Index:
    """(voxels, 64) flat numbers of the control points that act on each voxel."""
    taps = np.arange(TAPS)
    z, y, x = (span[:, None] + taps for span in spans_zyx)
    numbers: Index = (z[:, :, None, None] * shape[1] + y[:, None, :, None]) * shape[2] + x[:, None, None, :]
    return numbers.reshape(len(x), -1)


def _matrix(values: F32, points: Index, shape: tuple[int, ...]) -> csc_array:
    """Column per voxel, row per (share, control point); a product with it adds in the order of the columns."""
    voxels, taps = values.shape
    shares = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    share = np.minimum(np.arange(voxels) // max(voxels // shares, 1), shares - 1)
    if voxels < shares:
        share = np.full(voxels, shares - 1)
    rows = (share[:, None] * int(np.prod(shape)) + points).astype(np.int32)
    starts = np.arange(0, values.size + 1, taps, dtype=np.int32)
    return csc_array((values.reshape(-1), rows.reshape(-1), starts), shape=(shares * int(np.prod(shape)), voxels))


def _gather(matrix: csc_array, values: F32, shape: tuple[int, ...]) -> F32:
    shares: F32 = (matrix @ values).reshape(-1, *shape)
    return sum_of(list(shares))
