"""What brightness says of each voxel: histograms of lesion and surroundings, learnt on the lesion itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Floats = npt.NDArray[np.float64]
_BINS = 28
# So many voxels of any brightness are taken to have been seen of both: nothing is impossible.
_SEEN_ANYWHERE = 2e-3


def binned(channels: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.int64]:
    """The cell of the joint histogram of each voxel, 28 bins per channel between the 1st and the 99th percentile."""
    cell = np.zeros(channels[0].shape, np.int64)
    for values in channels:
        low, high = np.percentile(values, [1, 99])
        scaled = (values - low) / max(float(high - low), 1e-6) * (_BINS - 1)
        cell = cell * _BINS + np.clip(np.rint(scaled), 0, _BINS - 1).astype(np.int64)
    return cell


def log_odds(
    learnt: npt.NDArray[np.int64], asked: npt.NDArray[np.int64], dimensions: int, inside: Floats, blur: float
) -> Floats:
    """How much likelier a brightness is in the lesion than around it, as a logarithm, for the cells in `asked`.

    `learnt`: cells of the voxels that are learnt from, each with the weight `inside` in the one histogram and the rest
    to 1 in the other. Both are smoothed by `blur` bins.
    """
    size = _BINS**dimensions
    shares = []
    for weights in (inside, 1 - inside):
        counts = np.bincount(learnt, weights, size).reshape((_BINS,) * dimensions)
        counts = ndimage.gaussian_filter(counts, blur)
        shares.append(counts / max(float(counts.sum()), 1e-9) + _SEEN_ANYWHERE / size)
    return np.asarray(np.log(shares[0] / shares[1]).ravel()[asked])
