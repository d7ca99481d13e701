"""Whether probabilities come true: slope, intercepts, Brier score and a smooth curve, each with its interval."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import logit

from pipeline.research import logistic
from pipeline.research.metrics import Bools, Interval, Patients, has_repeats, sums_by_patient
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


def calibration(probabilities: Floats, positive: Bools, patients: Patients | None = None) -> Calibration | None:
    """By maximum likelihood with Wald's intervals; None without a finite fit (equal or separating probabilities).

    `patients`: the number of each case's patient, where some have several cases: errors are then by patient.
    """
    x = _logits(probabilities)
    if np.ptp(x) < 1e-9 or auc(x, positive) in (0.0, 1.0):
        return None
    both = _fit(np.column_stack([x, np.ones_like(x)]), np.zeros_like(x), positive, patients)
    large = _fit(np.ones((len(x), 1)), x, positive, patients)
    return None if both is None or large is None else Calibration(*both, *large)


def in_the_large(probabilities: Floats, positive: Bools, patients: Patients | None = None) -> Interval | None:
    """The calibration intercept with the slope fixed at 1; None where all cases are of one class."""
    fitted = _fit(np.ones((len(positive), 1)), _logits(probabilities), positive, patients)
    return None if fitted is None else fitted[0]


def brier(probabilities: Floats, positive: Bools, patients: Patients | None = None) -> Interval:
    """Mean squared difference between probability and outcome, with the interval of a mean (of patients)."""
    squares = (probabilities - positive) ** 2
    value, half = float(squares.mean()), Z * float(squares.std(ddof=1)) / math.sqrt(len(squares))
    if patients is not None and has_repeats(patients):
        sums = sums_by_patient(squares - value, patients)
        half = Z * math.sqrt(len(sums) / max(1, len(sums) - 1) * float((sums**2).sum())) / len(squares)
    return Interval(value, max(0.0, value - half), min(1.0, value + half))


def resampled(patients: Patients) -> Iterator[npt.NDArray[np.intp]]:
    """The rows of each bootstrap sample: as many patients as there are, drawn with replacement, with all their rows."""
    rng = np.random.default_rng(SEED)
    numbers, place, counts = np.unique(patients, return_inverse=True, return_counts=True)
    order, starts = np.argsort(place.reshape(-1), kind="stable"), np.cumsum(counts) - counts
    for _ in range(SAMPLES):
        drawn = rng.integers(0, len(numbers), len(numbers))
        sizes = counts[drawn]
        within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        yield order[np.repeat(starts[drawn], sizes) + within]


def smooth_curve(
    probabilities: Floats, positive: Bools, patients: Patients | None = None, points: int = 41
) -> pd.DataFrame:
    """Observed share against predicted probability by LOWESS, with a bootstrap band; columns of calibration CSVs.

    Between the smallest and the largest prediction only; empty where all predictions are equal. The bootstrap draws
    patients (`patients`: the number of each case's; default: each case is one).
    """
    from statsmodels.nonparametric.smoothers_lowess import lowess

    columns = ["predicted", "observed", "observed_low", "observed_high"]
    grid = np.linspace(float(probabilities.min()), float(probabilities.max()), points)
    if np.ptp(grid) < 1e-9:
        return pd.DataFrame(columns=columns, dtype=float)

    def smooth(p: Floats, y: Bools) -> Floats:
        curve = lowess(y.astype(float), p, frac=2 / 3, it=0, xvals=grid)
        return np.clip(np.asarray(curve, np.float64), 0.0, 1.0)

    samples = [
        smooth(probabilities[drawn], positive[drawn])
        for drawn in resampled(np.arange(len(positive)) if patients is None else patients)
        if np.ptp(probabilities[drawn]) > 1e-9
    ]
    low, high = np.nanquantile(np.array(samples), (0.025, 0.975), axis=0)
    return pd.DataFrame(dict(zip(columns, (grid, smooth(probabilities, positive), low, high), strict=True)))


def _logits(probabilities: Floats) -> Floats:
    clipped: Floats = logit(np.clip(probabilities, 1e-12, 1 - 1e-12))
    return clipped


def _fit(columns: Floats, offset: Floats, positive: Bools, patients: Patients | None) -> list[Interval] | None:
    """Coefficients of a logistic regression with Wald's intervals."""
    fitted = logistic.fit(columns, positive, offset, patients)
    if fitted is None:
        return None
    errors = Z * np.sqrt(np.diag(fitted.covariance))
    return [Interval(float(w), float(w - e), float(w + e)) for w, e in zip(fitted.weights, errors, strict=True)]
