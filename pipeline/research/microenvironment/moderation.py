"""Variances of many genes moderated by one prior: the empirical Bayes of limma.

Smyth GK. Linear models and empirical Bayes methods for assessing differential expression in microarray experiments.
Statistical Applications in Genetics and Molecular Biology 2004; 3(1): article 3, sections 6.1 and 6.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from pipeline.signature.record import Floats

# Variances below this share of their median are lifted to it, or their logarithms would rule the fit.
_LEAST_SHARE = 1e-5


@dataclass(frozen=True)
class Prior:
    """The scaled inverse χ² distribution of variances: `variance` with `df` degrees of freedom, infinite at most."""

    variance: float
    df: float


def prior_of(variances: Floats, df: Floats) -> Prior:
    """The prior that the variances (genes,) with `df` (genes,) degrees of freedom speak for.

    By the moments of log variances; where these scatter no more than by chance, all genes have one variance.
    """
    if len(variances) < 2:
        return Prior(float(variances[0]) if len(variances) else float("nan"), 0.0)
    middle = float(np.median(variances))
    lifted = np.maximum(variances, _LEAST_SHARE * (middle if middle > 0 else 1.0))
    half = df / 2
    logs = np.log(lifted) - special.digamma(half) + np.log(half)
    excess = float(logs.var(ddof=1) - special.polygamma(1, half).mean())
    if excess <= 0:
        return Prior(float(lifted.mean()), float("inf"))
    prior_df = 2 * inverse_trigamma(excess)
    variance = np.exp(logs.mean() + special.digamma(prior_df / 2) - np.log(prior_df / 2))
    return Prior(float(variance), prior_df)


def moderated(variances: Floats, df: Floats, prior: Prior) -> Floats:
    """The variances (genes,) drawn towards the prior's, each by its degrees of freedom."""
    if np.isinf(prior.df):
        return np.full(len(variances), prior.variance)
    return np.asarray((prior.df * prior.variance + df * variances) / (prior.df + df))


def inverse_trigamma(value: float) -> float:
    """The x > 0 with trigamma(x) = `value` > 0.

    Newton's method on 1 / trigamma, which is convex and nearly linear, from 0.5 + 1 / value (Smyth 2004, appendix).
    """
    if value > 1e7:
        return float(1 / np.sqrt(value))
    if value < 1e-6:
        return 1 / value
    x = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(special.polygamma(1, x))
        step = trigamma * (1 - trigamma / value) / float(special.polygamma(2, x))
        x += step
        if -step / x < 1e-10:
            break
    return x
