"""When a level of N4 stops: the coefficient of variation of the ratio between two successive fields.

ITK computes mean and variance in one pass with float32 accumulators. Past some ten thousand voxels a float32 mean near
1 no longer moves, and the measure is that about a mean which the first slices have set. Iteration counts equal
ITK's only if this is followed to the bit, which is done wherever it could decide.
"""

from __future__ import annotations

from array import array

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]

# The running mean only adds to the spread about the true mean, so well above the threshold the plain figure will do
CLEARLY_ABOVE = 1.05
# Up to here the mean moves at most voxels, and a plain loop is the fastest way
RESTLESS = 8192


def goes_on(change: F32, threshold: float) -> bool:
    """Whether a level goes on after an iteration that changed the log field (old - new, in the mask) by `change`."""
    limit = np.float32(threshold)
    if float(change.std(dtype=np.float64)) > CLEARLY_ABOVE * float(limit):
        return True
    return bool(running_variation(np.exp(change.astype(np.float64)).astype(np.float32)) > limit)


def running_variation(ratio: F32) -> np.float32:
    """Standard deviation over mean of `ratio` as one pass with float32 accumulators gives them, voxel by voxel."""
    n = np.arange(1, ratio.size + 1, dtype=np.float64)
    means = running_means(ratio)
    away = ratio[1:] - means[:-1]
    terms = (away * away) * (n[1:] - 1) / n[1:]
    total = np.add.accumulate(terms.astype(np.float32))[-1] if terms.size else np.float32(0)
    deviation = np.float32(np.sqrt(float(total) / max(ratio.size - 1.0, 1.0)))
    return np.float32(deviation / means[-1])


def running_means(ratio: F32) -> F32:
    """m[n] = float32(m[n-1] * (1 - 1/n) + float32(x[n] / n)), n from 1.

    A loop while the mean moves; then stretches: assume that the mean stays, see where it first would not, go on there.
    """
    n = np.arange(1, ratio.size + 1, dtype=np.float64)
    shares = np.divide(ratio, n, dtype=np.float32, casting="same_kind")
    keeps = 1 - 1 / n
    means: F32 = np.empty_like(ratio)
    means[:RESTLESS] = _loop(shares[:RESTLESS], keeps[:RESTLESS])
    at, stretch = min(RESTLESS, ratio.size), 1024
    while at < ratio.size:
        mean = means[at - 1]
        to = min(at + stretch, ratio.size)
        following = (float(mean) * keeps[at:to] + shares[at:to]).astype(np.float32)
        moved = following != mean
        first = int(moved.argmax())
        if moved[first]:
            means[at : at + first] = mean
            means[at + first] = following[first]
            at += first + 1
            stretch = max(64, stretch // 2)
        else:
            means[at:to] = mean
            at = to
            stretch *= 2
    return means


def _loop(shares: F32, keeps: npt.NDArray[np.float64]) -> F32:
    mean = 0.0
    means = array("f", bytes(4 * shares.size))
    for i, (share, keep) in enumerate(zip(shares.tolist(), keeps.tolist(), strict=True)):
        means[i] = mean * keep + share  # storing rounds to float32
        mean = means[i]
    return np.frombuffer(means, dtype=np.float32)
