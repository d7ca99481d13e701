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
        where = np.nonzero(mask_zyx)
        shape = tuple(k + ORDER for k in spans_zyx)
        axes = _axes(mask_zyx.shape, grid, spans_zyx)
        weights, points = _weights_and_points([_fit_axis(*axis) for axis in axes], where, shape)
        squares = weights * weights
        total = sum_of(list(squares.T))
        pulls = _matrix(squares * weights / total[:, None], points, shape)
        ones = np.ones(len(weights), dtype=np.float32)
        support = _add_up(_matrix(squares, points, shape), ones, shape)
        support[support <= UNSUPPORTED] = np.inf
        z, y, x = (_value_axis(n, k, spacing) for n, k, spacing, _ in axes)
        places = (where[0] * mask_zyx.shape[1] + where[1]) * shape[2] + x[0][where[2]]
        return cls(pulls, support, (z, y), places, x[1][where[2]])

    def fit(self, residual: F32) -> F32:
        """The control points that approximate `residual`, given in the order of the image."""
        return _add_up(self.pulls, residual, self.support.shape) / self.support

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


def _axes(
    samples_zyx: tuple[int, ...], grid: Geometry, spans_zyx: tuple[int, ...]
) -> list[tuple[int, int, float, float]]:
    """Samples, spans, spacing and origin of each axis."""
    return list(zip(samples_zyx, spans_zyx, grid.spacing_xyz_mm[::-1], grid.origin_xyz_mm[::-1], strict=True))


def _share_borders(voxels: int) -> list[int]:
    """Where the shares of ITK's threads begin, and where the last ends: equal ones, the rest with the last thread."""
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    return [voxels // threads * thread for thread in range(threads)] + [voxels]


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


def _weights_and_points(
    fits_zyx: list[tuple[Index, npt.NDArray[np.floating]]], where: tuple[Index, ...], shape: tuple[int, ...]
) -> tuple[F32, Index]:
    """(voxels, 64) weights, rounded after each axis, x first, and the flat numbers of their control points."""
    (z_span, z), (y_span, y), (x_span, x) = ((s[at], k[at]) for (s, k), at in zip(fits_zyx, where, strict=True))
    rows = x.astype(np.float32)[:, None, :].astype(np.float64) * y[:, :, None]
    blocks = rows.astype(np.float32)[:, None].astype(np.float64) * z[:, :, None, None]
    taps = np.arange(TAPS)
    planes = ((z_span[:, None] + taps) * shape[1])[:, :, None] + (y_span[:, None] + taps)[:, None, :]
    points: Index = (planes * shape[2])[:, :, :, None] + (x_span[:, None] + taps)[:, None, None, :]
    return blocks.astype(np.float32).reshape(len(x), -1), points.reshape(len(x), -1)


def _matrix(values: F32, points: Index, shape: tuple[int, ...]) -> csc_array:
    """Column per voxel, row per (share, control point); a product with it adds in the order of the columns."""
    voxels, taps = values.shape
    borders = _share_borders(voxels)
    shares, points_each = len(borders) - 1, int(np.prod(shape))
    share = np.repeat(np.arange(shares), np.diff(borders))
    rows = (share[:, None] * points_each + points).astype(np.int32)
    starts = np.arange(0, values.size + 1, taps, dtype=np.int32)
    return csc_array((values.reshape(-1), rows.reshape(-1), starts), shape=(shares * points_each, voxels))


def _add_up(matrix: csc_array, values: F32, shape: tuple[int, ...]) -> F32:
    """Per control point: each share in the order of its voxels, then share by share."""
    shares: F32 = (matrix @ values).reshape(-1, *shape)
    return sum_of(list(shares))
