"""Otsu's threshold, as ITK's OtsuThresholdImageFilter finds it.

Otsu, A threshold selection method from gray-level histograms, IEEE Trans SMC 9(1), 1979. For volumes of integers, which
MR images are, the histogram is counted value by value and the search over it repeats ITK's arithmetic; for anything
else ITK does it itself.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

HISTOGRAM_BINS = 200
# ITK widens the histogram by this part of a bin, so that the maximum falls inside the last one
MARGINAL_SCALE = 1 / 100
# Voxels counted at a time, few enough for the processor's cache, and the widest range that is counted value by value
VOXELS_AT_ONCE = 1 << 16
WIDEST = 1 << 20


def threshold(voxels_zyx: npt.NDArray[np.generic]) -> float:
    """The value above which a voxel is in the mask; 200 bins over all voxels."""
    low, high = voxels_zyx.min(), voxels_zyx.max()
    # ITK gives 8-bit images a histogram of their own
    if voxels_zyx.dtype.kind not in "iu" or voxels_zyx.dtype.itemsize == 1 or int(high) - int(low) >= WIDEST:
        otsu = sitk.OtsuThresholdImageFilter()
        otsu.SetNumberOfHistogramBins(HISTOGRAM_BINS)
        otsu.Execute(sitk.GetImageFromArray(voxels_zyx))
        return float(otsu.GetThreshold())
    borders, top = _bin_borders(int(low), int(high))
    counts = _count(voxels_zyx, int(low), int(high))
    bins = np.searchsorted(borders, np.arange(int(low), int(high) + 1), side="right") - 1
    frequencies = np.bincount(bins, weights=counts, minlength=HISTOGRAM_BINS)
    upper = np.append(borders[1:], top)
    best = _best_bin(frequencies.tolist(), ((borders + upper) / 2).tolist())
    return float(int(upper[best]))  # a threshold has the type of the image


def _bin_borders(low: int, high: int) -> tuple[npt.NDArray[np.float64], float]:
    """Lower border of each bin, and the upper border of the last. The width of a bin is rounded to float32."""
    top = high + (high - low) / HISTOGRAM_BINS * MARGINAL_SCALE
    width = (np.float32(top) - np.float32(low)) / np.float32(HISTOGRAM_BINS)
    return low + (np.arange(HISTOGRAM_BINS, dtype=np.float32) * width).astype(np.float64), top


def _count(voxels: npt.NDArray[np.generic], low: int, high: int) -> npt.NDArray[np.intp]:
    flat = voxels.reshape(-1)
    counts = np.zeros(high - low + 1, dtype=np.intp)
    for start in range(0, flat.size, VOXELS_AT_ONCE):
        values = flat[start : start + VOXELS_AT_ONCE].astype(np.intp)
        values -= low
        counts += np.bincount(values, minlength=counts.size)
    return counts


def _best_bin(frequencies: list[float], centres: list[float]) -> int:
    """The last bin of the darker class where the two classes' means are furthest apart.

    The means are updated bin by bin: over empty bins the variance is equal but for rounding, and ITK keeps the first.
    """
    total = sum(frequencies)
    mean = sum(c * f for c, f in zip(centres, frequencies, strict=True)) / total
    dark, dark_mean = 0.0, 0.0
    best, best_variance = 0, -math.inf
    for index in range(len(frequencies) - 1):
        more = frequencies[index]
        if dark + more > 0:
            dark_mean = (dark_mean * dark + centres[index] * more) / (dark + more)
        dark += more
        bright = total - dark
        bright_mean = (mean * total - dark_mean * dark) / bright if bright > 0 else 0.0
        variance = (dark * (dark_mean * dark_mean) + bright * (bright_mean * bright_mean)) / total
        if variance > best_variance and not variance <= math.nextafter(best_variance, math.inf):
            best, best_variance = index, variance
    return best
