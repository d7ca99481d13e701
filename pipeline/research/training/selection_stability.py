"""How much selection depends on who happened to be in the training cases.

Nogueira, Sechidis and Brown, On the stability of feature selection algorithms, JMLR 2018; 18: 1-54.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.signature.record import Floats

Bools = npt.NDArray[np.bool_]
Z = 1.959963984540054


@dataclass(frozen=True)
class Stability:
    """`frequency`: per column, the part of the fits that chose it. `jaccard`: mean over all pairs of fits.

    `nogueira`: 1 where all fits choose the same, 0 in the mean where they choose as many at random; with its 95 %
    interval; NaN where all fits choose every column, or none.
    """

    frequency: Floats
    jaccard: float
    nogueira: float
    low: float
    high: float


def stability(chosen: Bools) -> Stability:
    """Of (fits, columns); at least two fits."""
    fits, columns = chosen.shape
    z = chosen.astype(np.float64)
    frequency, sizes = z.mean(axis=0), z.sum(axis=1)
    share = sizes.mean() / columns
    if not 0 < share < 1:
        return Stability(frequency, _jaccard(z), math.nan, math.nan, math.nan)
    spread = fits / (fits - 1) * frequency * (1 - frequency)
    value = 1 - spread.mean() / (share * (1 - share))
    # Theorem 7: the variance of one fit's part in the estimate.
    parts = (z * frequency).mean(axis=1) - sizes * share / columns
    parts += value / 2 * (2 * share * sizes / columns - sizes / columns - share + 1)
    parts /= share * (1 - share)
    half = Z * math.sqrt(4 / fits**2 * float(((parts - parts.mean()) ** 2).sum()))
    return Stability(frequency, _jaccard(z), float(value), float(value - half), min(1.0, float(value + half)))


def _jaccard(z: Floats) -> float:
    """Two fits that choose nothing are equal."""
    common = z @ z.T
    sizes = np.diag(common)
    either = sizes[:, None] + sizes[None] - common
    pairs = np.triu_indices(len(z), 1)
    with np.errstate(invalid="ignore"):
        return float(np.where(either > 0, common / either, 1.0)[pairs].mean())
