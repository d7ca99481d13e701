"""Sharpening of the intensity histogram: the step of N3 and N4 that looks for the true intensities.

Sled, Zijdenbos, Evans: A nonparametric method for automatic correction of intensity nonuniformity in MRI data, IEEE
Trans Med Imaging 17(1), 1998. The observed histogram is taken for the true one blurred by a Gaussian (the bias); it is
deconvolved by a Wiener filter, and each intensity v is replaced by E(u | v). Intensities, bins and counts are float32
as in ITK, so that the rounding of bin borders and sums is ITK's.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from config.schema import Bias
from pipeline.bias import c_library

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

# The exponential of anything below is 0 in float32
VANISHING = -104.0


def sharpen(log_values: F32, settings: Bias) -> F32:
    """E(u | v) for each of `log_values`, which are in the order of the image (counting in float32 depends on it)."""
    bins = settings.histogram_bins
    low, high = _range(log_values)
    slope = (high - low) / np.float32(bins - 1)
    place = (log_values - low) / slope
    below = np.floor(place).astype(np.intp)
    offset = place - below.astype(np.float32)
    # Above the last bin's centre by rounding, or below the first's by ITK's search for the minimum
    beyond = np.flatnonzero((below < 0) | (below >= bins - 1))
    counts = _count(below, offset, beyond, bins)
    expected = _expectation(counts, low, slope, settings)
    below[beyond] = 0
    sharpened: F32 = expected[below]
    sharpened += np.diff(expected)[below] * offset
    sharpened[beyond] = expected[-1]
    return sharpened


def _range(values: F32) -> tuple[np.float32, np.float32]:
    """Minimum and maximum as ITK finds them: a voxel that is a new maximum is not looked at for the minimum."""
    low, high = values.min(), values.max()
    if values[0] == low and np.count_nonzero(values == low) == 1:
        rises = np.r_[True, values[1:] > np.maximum.accumulate(values)[:-1]]
        if not rises.all():
            low = values[~rises].min()
    return low, high


def _count(below: npt.NDArray[np.intp], offset: F32, beyond: npt.NDArray[np.intp], bins: int) -> F32:
    """Triangular binning, added up in float32 voxel by voxel."""
    bin_pairs = np.empty((below.size, 2), dtype=np.intp)
    bin_pairs[:, 0] = below
    np.add(below, 1, out=bin_pairs[:, 1])
    shares = np.empty((below.size, 2), dtype=np.float32)
    np.subtract(1, offset, out=shares[:, 0])
    shares[:, 1] = offset
    on_last_bin = (below[beyond] == bins - 1) & (offset[beyond] == 0)
    bin_pairs[beyond] = bins - 1
    shares[beyond, 0] = on_last_bin
    shares[beyond, 1] = 0
    counts = np.zeros(bins, dtype=np.float32)
    np.add.at(counts, bin_pairs.reshape(-1), shares.reshape(-1))
    return counts


def _expectation(counts: F32, low: np.float32, slope: np.float32, settings: Bias) -> F32:
    """E(u | v) at the centre of each bin v."""
    bins = counts.size
    size = 2 ** (int(np.ceil(np.log2(bins))) + 1)
    first = (size - bins) // 2
    padded = np.zeros(size)
    padded[first : first + bins] = counts
    blur = np.fft.fft(_gaussian(size, np.float32(settings.fwhm) / slope))
    wiener = np.conj(blur) / (np.conj(blur) * blur + np.float32(settings.wiener_noise))
    true = np.maximum(np.fft.ifft(np.fft.fft(padded) * wiener.real).real, 0)
    centres = low + (np.arange(size, dtype=np.float32) - np.float32(first)) * slope
    numerator = np.fft.ifft(np.fft.fft(centres * true) * blur).real
    denominator = np.fft.ifft(np.fft.fft(true) * blur).real
    expected = np.zeros(size)
    np.divide(numerator, denominator, out=expected, where=denominator != 0)
    return expected[first : first + bins].astype(np.float32)


def _gaussian(size: int, fwhm_bins: np.float32) -> F64:
    """A Gaussian of unit sum, centred on sample 0 and wrapped; float32 values."""
    distance = np.arange(size // 2 + 1, dtype=np.float32)
    width = np.float32(4 * np.log(2.0) / (fwhm_bins * fwhm_bins))
    height = np.float32(2 * np.sqrt(np.log(2.0) / np.pi) / fwhm_bins)
    exponent = -(distance * distance) * width
    shape = np.zeros(size // 2 + 1, dtype=np.float32)
    reach = int(np.count_nonzero(exponent > VANISHING))
    shape[:reach] = c_library.exp(exponent[:reach])
    shape = np.concatenate([shape, shape[-2:0:-1]])
    gaussian: F64 = (height * shape).astype(np.float64)
    return gaussian
