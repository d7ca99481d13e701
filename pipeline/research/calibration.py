"""Whether probabilities come true: slope, intercepts, Brier score and a smooth curve, each with its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import logit

from pipeline.research import logistic
from pipeline.research.metrics import Bools, Interval
from pipeline.signature.clustered import auc
from pipeline.signature.gate import Z
from pipeline.signature.record import Floats

# Bootstrap samples of a band, and the seed that makes a report the same every time.
SAMPLES, SEED = 200, 20210628


@dataclass(frozen=True)
class Calibration:
    """`slope` and `intercept` of outcome on logit(probability): 1 and 0 are perfect. `in_the_large`: with slope 1."""

    slope: Interval
    intercept: Interval
    in_the_large: Interval


def calibration(probabilities: Floats, positive: Bools) -> Calibration | None:
    """By maximum likelihood with Wald's intervals; None without a finite fit (equal or separating probabilities)."""
    x = _logits(probabilities)
    if np.ptp(x) < 1e-9 or auc(x, positive) in (0.0, 1.0):
        return None
    both = _fit(np.column_stack([x, np.ones_like(x)]), np.zeros_like(x), positive)
    large = _fit(np.ones((len(x), 1)), x, positive)
    return None if both is None or large is None else Calibration(*both, *large)


def brier(probabilities: Floats, positive: Bools) -> Interval:
    """Mean squared difference between probability and outcome, with the interval of a mean."""
    squares = (probabilities - positive) ** 2
    value, half = float(squares.mean()), Z * float(squares.std(ddof=1)) / math.sqrt(len(squares))
    return Interval(value, max(0.0, value - half), min(1.0, value + half))


def smooth_curve(probabilities: Floats, positive: Bools, points: int = 41) -> pd.DataFrame:
    """Observed share against predicted probability by LOWESS, with a bootstrap band; columns of calibration CSVs.

    Between the smallest and the largest prediction only; empty where all predictions are equal.
    """
    from statsmodels.nonparametric.smoothers_lowess import lowess

    columns = ["predicted", "observed", "observed_low", "observed_high"]
    grid = np.linspace(float(probabilities.min()), float(probabilities.max()), points)
    if np.ptp(grid) < 1e-9:
        return pd.DataFrame(columns=columns, dtype=float)

    def smooth(p: Floats, y: Bools) -> Floats:
        curve = lowess(y.astype(float), p, frac=2 / 3, it=0, xvals=grid)
        return np.clip(np.asarray(curve, np.float64), 0.0, 1.0)

    rng, count = np.random.default_rng(SEED), len(positive)
    samples = []
    for _ in range(SAMPLES):
        drawn = rng.integers(0, count, count)
        if np.ptp(probabilities[drawn]) > 1e-9:
            samples.append(smooth(probabilities[drawn], positive[drawn]))
    low, high = np.nanquantile(np.array(samples), (0.025, 0.975), axis=0)
    return pd.DataFrame(dict(zip(columns, (grid, smooth(probabilities, positive), low, high), strict=True)))


def _logits(probabilities: Floats) -> Floats:
    clipped: Floats = logit(np.clip(probabilities, 1e-12, 1 - 1e-12))
    return clipped


def _fit(columns: Floats, offset: Floats, positive: Bools) -> list[Interval] | None:
    """Coefficients of a logistic regression with Wald's intervals."""
    fitted = logistic.fit(columns, positive, offset)
    if fitted is None:
        return None
    errors = Z * np.sqrt(np.diag(fitted.covariance))
    return [Interval(float(w), float(w - e), float(w + e)) for w, e in zip(fitted.weights, errors, strict=True)]
