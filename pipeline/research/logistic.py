"""Logistic regression by maximum likelihood, without a penalty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from pipeline.research.metrics import Bools, Patients, has_repeats, sums_by_patient
from pipeline.signature.record import Floats

# Coefficients beyond this (of standardised columns) mean that the classes are separated: there is no maximum.
LARGEST = 50.0


@dataclass(frozen=True)
class Fitted:
    """`weights` and `covariance` of the columns; `linear` predictors of the cases."""

    weights: Floats
    covariance: Floats
    linear: Floats
    log_likelihood: float


def fit(
    columns: Floats, positive: Bools, offset: Floats | None = None, patients: Patients | None = None
) -> Fitted | None:
    """By Newton's method on columns (cases, p), an intercept among them if wanted; None without a finite maximum.

    `patients`: the number of each case's patient. Where some have several cases, the covariance is the sandwich of
    the scores added up per patient (Liang and Zeger 1986), times G / (G - 1) for G patients.
    """
    offset = np.zeros(len(positive)) if offset is None else offset
    weights = np.zeros(columns.shape[1])
    for _ in range(100):
        linear = columns @ weights + offset
        p = expit(linear)
        information = (columns * (p * (1 - p))[:, None]).T @ columns
        try:
            step = np.linalg.solve(information, columns.T @ (positive - p))
        except np.linalg.LinAlgError:
            return None
        # Far from the maximum a whole step may jump over it.
        largest = float(np.abs(step).max())
        weights = weights + step * min(1.0, 4.0 / max(largest, 1e-300))
        if float(np.abs(weights).max()) > LARGEST:
            return None
        if largest < 1e-10:
            likelihood = float(np.sum(positive * linear - np.logaddexp(0, linear)))
            bread = np.linalg.inv(information)
            if patients is None or not has_repeats(patients):
                return Fitted(weights, bread, linear, likelihood)
            scores = sums_by_patient(columns * (positive - p)[:, None], patients)
            meat = len(scores) / max(1, len(scores) - 1) * scores.T @ scores
            return Fitted(weights, bread @ meat @ bread, linear, likelihood)
    return None


def score_test(columns: Floats, more: Floats, positive: Bools, patients: Patients) -> tuple[float, int] | None:
    """Whether `more` (cases, q) adds to `columns`: chi squared statistic by patient, and its degrees of freedom.

    The generalised score test (Boos 1992; The American Statistician 46: 327-333) with scores added up per patient:
    unlike Wald's it does not lose its power where the effect is strong. None where `columns` have no finite fit, or
    patients are too few.
    """
    fitted = fit(columns, positive)
    if fitted is None:
        return None
    p = expit(fitted.linear)
    weighted = columns * (p * (1 - p))[:, None]
    rest = more - columns @ np.linalg.solve(weighted.T @ columns, weighted.T @ more)
    scores = sums_by_patient(rest * (positive - p)[:, None], patients)
    total, spread = scores.sum(axis=0), scores.T @ scores
    if np.linalg.matrix_rank(spread) < more.shape[1]:
        return None
    return float(total @ np.linalg.solve(spread, total)), more.shape[1]
