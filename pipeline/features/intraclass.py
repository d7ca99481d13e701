"""Intraclass correlation of many features at once, with 95 % intervals.

Shrout and Fleiss, Psychol Bull 1979; 86: 420-428; intervals after McGraw and Wong, Psychol Methods 1996; 1: 30-46.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]
# Of a value, that its mean may be off by.
ROUNDING = 1e-14


@dataclass(frozen=True)
class Icc:
    """Per feature: the coefficient and its 95 % interval; NaN where a feature does not vary."""

    value: Floats
    low: Floats
    high: Floats


def one_way(values: Floats) -> Icc:
    """ICC(1,1) of (subjects, repeats, features): the repeats are exchangeable, as draws of one perturbation are."""
    n, k, _ = values.shape
    rows, within = _between(values), _within(values)
    with np.errstate(divide="ignore", invalid="ignore"):
        f = rows / within
        value = (rows - within) / (rows + (k - 1) * within)
        low = f / stats.f.ppf(0.975, n - 1, n * (k - 1))
        high = f * stats.f.ppf(0.975, n * (k - 1), n - 1)
        return _settled(value, (low - 1) / (low + k - 1), (high - 1) / (high + k - 1), rows, within)


def two_way(values: Floats) -> Icc:
    """ICC(2,1) of (subjects, readers, features): readers are a sample, and their bias counts against agreement."""
    n, k, _ = values.shape
    rows = _between(values)
    columns = _unless_rounding(
        n * ((values.mean(axis=0) - values.mean(axis=(0, 1))) ** 2).sum(axis=0) / (k - 1), values
    )
    residuals = values - values.mean(axis=1)[:, None] - values.mean(axis=0)[None] + values.mean(axis=(0, 1))
    error = _unless_rounding((residuals**2).sum(axis=(0, 1)) / ((n - 1) * (k - 1)), values)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = (rows - error) / (rows + (k - 1) * error + k * (columns - error) / n)
        a = k * value / (n * (1 - value))
        b = 1 + k * value * (n - 1) / (n * (1 - value))
        freedom = (a * columns + b * error) ** 2 / (
            (a * columns) ** 2 / (k - 1) + (b * error) ** 2 / ((n - 1) * (k - 1))
        )
        f_low, f_high = stats.f.ppf(0.975, n - 1, freedom), stats.f.ppf(0.975, freedom, n - 1)
        rest = k * columns + (k * n - k - n) * error
        low = n * (rows - f_low * error) / (f_low * rest + n * rows)
        high = n * (f_high * rows - error) / (rest + n * f_high * rows)
        return _settled(value, low, high, rows, error + columns)


def _between(values: Floats) -> Floats:
    """Mean square between subjects."""
    n, k, _ = values.shape
    squares = k * ((values.mean(axis=1) - values.mean(axis=(0, 1))) ** 2).sum(axis=0) / (n - 1)
    return _unless_rounding(squares, values)


def _within(values: Floats) -> Floats:
    n, k, _ = values.shape
    return _unless_rounding(((values - values.mean(axis=1)[:, None]) ** 2).sum(axis=(0, 1)) / (n * (k - 1)), values)


def _unless_rounding(squares: Floats, values: Floats) -> Floats:
    """Mean squares, 0 where they are the rounding of a mean: what does not vary would agree by it, or not."""
    n, k, _ = values.shape
    return np.asarray(np.where(squares <= n * k * (ROUNDING * np.abs(values).max(axis=(0, 1))) ** 2, 0.0, squares))


def _settled(value: Floats, low: Floats, high: Floats, between: Floats, other: Floats) -> Icc:
    """Perfect agreement is 1 with no width; what does not vary at all has no coefficient."""
    perfect, nothing = (between > 0) & (other == 0), (between == 0) & (other == 0)

    def settle(numbers: Floats) -> Floats:
        return np.asarray(np.where(nothing, np.nan, np.where(perfect, 1.0, numbers)))

    return Icc(settle(value), settle(low), settle(high))
