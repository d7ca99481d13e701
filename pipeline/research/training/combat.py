"""ComBat's estimates, parametric empirical Bayes, from the cases it is given.

Johnson, Li and Rabinovic, Biostatistics 2007; 8: 118-127, section 3; for imaging Fortin et al., NeuroImage 2017; 161:
149-170 and 2018; 167: 104-120. Every feature is standardised by a linear model of groups and covariates; the shift
and the variance of each group are then shrunk towards what the features of that group have in common. Iterations end
as in `sva` and neuroCombat, so that numbers can be compared: a largest relative change of 1e-4.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.research.tables.numbers import SMALLEST
from pipeline.research.tables.scanners import Scanners
from pipeline.signature.harmonisation import Harmonisation
from pipeline.signature.record import Floats

Bools = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]
CONVERGED = 1e-4
MOST_ITERATIONS = 10_000
# A group with fewer of the cases (in a fold) has no estimate: its cases stay as they are.
LEAST_CASES = 3
# Of a standardised value: less is rounding, and a feature that is constant in a group has no variance of its own.
LEAST_VARIANCE = 1e-20


def estimated(values: Floats, scanners: Scanners, wanted: Bools) -> Harmonisation:
    """Estimates of the `wanted` columns (bool per column) of (cases, columns); the others are not harmonised.

    Columns without spread inside the groups that have estimates are not harmonised either: see `varies_within`.
    """
    counts = np.bincount(scanners.number, minlength=len(scanners.groups))
    able = np.flatnonzero(counts >= LEAST_CASES)
    cases = np.isin(scanners.number, able)
    columns = np.flatnonzero(wanted & varies_within(values[cases], scanners.of(cases)))
    nothing = _nothing(values.shape[1], len(scanners.groups), scanners.covariates.shape[1])
    if len(able) < 2 or len(columns) == 0:
        return nothing
    number = np.searchsorted(able, scanners.number[cases])
    parts = _fitted(values[np.ix_(cases, columns)], number, len(able), scanners.covariates[cases])
    nothing.centre[columns], nothing.effects[:, columns], nothing.scale[columns] = parts[:3]
    nothing.shift[np.ix_(able, columns)], nothing.spread[np.ix_(able, columns)] = parts[3:]
    return nothing


def varies_within(values: Floats, scanners: Scanners) -> Bools:
    """Which columns vary inside at least one scanner group; the others tell the scanner and nothing else."""
    varying = np.zeros(values.shape[1], dtype=np.bool_)
    for i in np.unique(scanners.number):
        here = values[scanners.number == i]
        varying |= np.ptp(here, axis=0) > np.maximum(1e-12 * np.abs(here).max(axis=0), SMALLEST)
    return varying


def _nothing(columns: int, groups: int, covariates: int) -> Harmonisation:
    return Harmonisation(
        np.zeros(columns), np.zeros((covariates, columns)), np.ones(columns),
        np.zeros((groups, columns)), np.ones((groups, columns)),
    )  # fmt: skip


def _fitted(
    values: Floats, number: Indices, groups: int, covariates: Floats
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Centre, effects, scale, shift and spread of (cases, columns); every group has cases."""
    member = np.eye(groups)[number]
    # A covariate that is the same in all of these cases has no effect that could be seen.
    varies = np.ptp(covariates, axis=0) > 0
    coefficients = np.linalg.lstsq(np.hstack([member, covariates[:, varies]]), values, rcond=None)[0]
    effects = np.zeros((covariates.shape[1], values.shape[1]))
    effects[varies] = coefficients[groups:]
    centre = member.mean(axis=0) @ coefficients[:groups]
    mean = centre + covariates @ effects
    scale = np.sqrt(np.square(values - member @ coefficients[:groups] - covariates @ effects).mean(axis=0))
    z = (values - mean) / scale
    adjusted = [_shrunk(z[number == i]) for i in range(groups)]
    return centre, effects, scale, np.array([a for a, _ in adjusted]), np.array([b for _, b in adjusted])


def _shrunk(z: Floats) -> tuple[Floats, Floats]:
    """Shift and standard deviation of one group's standardised values (cases, columns), by empirical Bayes."""
    shift, variance = z.mean(axis=0), z.var(axis=0, ddof=1)
    variance[variance < LEAST_VARIANCE] = 1
    if z.shape[1] < 2 or variance.var() == 0 or shift.var() == 0:
        return shift, np.sqrt(variance)  # no other features to learn from
    prior, prior_variance = shift.mean(), shift.var(ddof=1)
    mean, spread = variance.mean(), variance.var(ddof=1)
    a, b = (2 * spread + mean**2) / spread, (mean * spread + mean**3) / spread
    count, g, d = len(z), shift, variance
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(MOST_ITERATIONS):
            new_g = (prior_variance * count * shift + d * prior) / (prior_variance * count + d)
            new_d = (0.5 * np.square(z - new_g).sum(axis=0) + b) / (count / 2 + a - 1)
            change = max((abs(new_g - g) / g).max(), (abs(new_d - d) / d).max())
            g, d = new_g, new_d
            if change <= CONVERGED:
                break
    return g, np.sqrt(d)
