"""How many cases a model of so many candidates needs: Riley et al. 2020 (BMJ 368: m441), criterion of shrinkage.

The Cox-Snell R squared follows from the AUC that one expects, for scores normal in both classes with equal variance.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats
from scipy.special import expit, xlogy

SHRINKAGE = 0.9


def cox_snell(auc: float, prevalence: float) -> float:
    """R squared of Cox and Snell of a well calibrated model with this AUC, 0.5 to 1, at this prevalence."""
    separation = math.sqrt(2) * float(stats.norm.ppf(auc))
    x = np.linspace(-8, separation + 8, 4001)
    density = prevalence * stats.norm.pdf(x, separation) + (1 - prevalence) * stats.norm.pdf(x)
    p = expit(math.log(prevalence / (1 - prevalence)) + separation * x - separation**2 / 2)
    explained = float(np.trapezoid(density * (xlogy(p, p) + xlogy(1 - p, 1 - p)), x))
    nothing = prevalence * math.log(prevalence) + (1 - prevalence) * math.log(1 - prevalence)
    return 1 - math.exp(2 * (nothing - explained))


def cases_needed(candidates: int, auc: float, prevalence: float, shrinkage: float = SHRINKAGE) -> int:
    """Cases with which a model fitted to so many candidate columns is expected to shrink by at most 10 %.

    Raises:
        ValueError: the AUC is not between 0.5 and 1, or the prevalence not between 0 and 1.
    """
    if not 0.5 < auc < 1 or not 0 < prevalence < 1:
        raise ValueError("the AUC must lie between 0.5 and 1, the prevalence between 0 and 1")
    explained = cox_snell(auc, prevalence)
    return math.ceil(candidates / ((shrinkage - 1) * math.log(1 - explained / shrinkage)))
