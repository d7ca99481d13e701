"""How far the patient moved between the phase before contrast and the one after it, near one lesion."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

Floats = npt.NDArray[np.float32]
# No farther: patients whose phases lie farther apart than this are seen to have moved.
FARTHEST_MM = 3.0
_SMOOTH_MM = 0.6
# The brightest edges (heart, a vessel that fills) count no more than those of this percentile.
_CLIP_PERCENTILE = 95


def aligned(before: Floats, after: Floats, spacing_zyx_mm: tuple[float, float, float]) -> Floats:
    """`before` moved onto `after` (both z, y, x), where their edges agree best; linear between voxels."""
    return np.asarray(ndimage.shift(before, shift_of(before, after, spacing_zyx_mm), order=1, mode="nearest"))


def shift_of(before: Floats, after: Floats, spacing_zyx_mm: tuple[float, float, float]) -> tuple[float, float, float]:
    """Voxels along z, y and x by which `before` has to be moved; at most FARTHEST_MM, to a fraction of a voxel.

    Contrast changes brightness but hardly where edges are, so edges are compared: their cross-correlation, and between
    its samples the top of the parabola through three of them.
    """
    if min(after.shape) < 4:
        return 0.0, 0.0, 0.0
    reach = [int(np.ceil(FARTHEST_MM / s)) for s in spacing_zyx_mm]
    sizes = [fft.next_fast_len(n + r, real=True) for n, r in zip(after.shape, reach, strict=True)]
    spectra = [fft.rfftn(_edges(v, spacing_zyx_mm), sizes) for v in (after, before)]
    correlation = fft.irfftn(spectra[0] * np.conj(spectra[1]), sizes)
    near = correlation[np.ix_(*[np.arange(-r, r + 1) for r in reach])]
    top = np.unravel_index(int(near.argmax()), near.shape)
    z, y, x = (_vertex(near, top, axis) - r for axis, r in enumerate(reach))
    return z, y, x


def _edges(values: Floats, spacing_zyx_mm: tuple[float, float, float]) -> Floats:
    smooth = ndimage.gaussian_filter(values, [_SMOOTH_MM / s for s in spacing_zyx_mm])
    size = np.sqrt(sum(part**2 for part in np.gradient(smooth, *spacing_zyx_mm)))
    size = np.minimum(size, np.percentile(size, _CLIP_PERCENTILE))
    return np.asarray(size - size.mean(), np.float32)


def _vertex(values: npt.NDArray[np.floating], top: tuple[np.intp, ...], axis: int) -> float:
    """Where along an axis the parabola through the highest sample and its two neighbours is highest."""
    at = int(top[axis])
    if not 0 < at < values.shape[axis] - 1:
        return float(at)
    line = values[tuple(slice(at - 1, at + 2) if a == axis else int(n) for a, n in enumerate(top))]
    low, middle, high = (float(v) for v in line)
    bend = low - 2 * middle + high
    return at + (0.5 * (low - high) / bend if bend < 0 else 0.0)
