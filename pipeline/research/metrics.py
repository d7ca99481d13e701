"""Discrimination, calibration and accuracy, with intervals. `scores` are larger for the positive class."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from pipeline.signature import clustered, gate
from pipeline.signature.clustered import auc as auc
from pipeline.signature.record import Floats

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


def newcombe(scores: Floats, positive: Bools, patients: npt.NDArray[np.intp] | None = None) -> Interval:
    """AUC with the interval that the gate uses: Newcombe's method 5, which has a width at AUC 1 as well.

    `patients`: the number of each case's patient; several cases of one are not independent.
    """
    value = auc(scores, positive)
    effect = 1.0 if patients is None else clustered.design_effect(scores, positive, patients)
    return Interval(value, *gate.newcombe(value, positive.sum() / effect, (~positive).sum() / effect))


def delong(scores: Floats, positive: Bools, level: float = 0.95) -> Interval:
    """AUC with DeLong's interval (DeLong 1988; ranks as in Sun and Xu 2014), clipped to 0..1."""
    v10, v01 = clustered.placements(scores, positive)
    value = float(v10.mean())
    if len(v10) < 2 or len(v01) < 2:
        return Interval(value, 0.0, 1.0)
    error = math.sqrt(v10.var(ddof=1) / len(v10) + v01.var(ddof=1) / len(v01))
    half = float(stats.norm.ppf((1 + level) / 2)) * error
    return Interval(value, max(0.0, value - half), min(1.0, value + half))


def delong_difference(a: Floats, b: Floats, positive: Bools) -> tuple[Interval, float]:
    """AUC of `a` minus AUC of `b` on the same cases, with its interval, and the two-sided P of no difference."""
    a10, a01 = clustered.placements(a, positive)
    b10, b01 = clustered.placements(b, positive)
    value = float(a10.mean() - b10.mean())
    d10, d01 = a10 - b10, a01 - b01
    error = math.sqrt(d10.var(ddof=1) / len(d10) + d01.var(ddof=1) / len(d01))
    if error == 0:
        return Interval(value, value, value), 1.0 if value == 0 else 0.0
    half = float(stats.norm.ppf(0.975)) * error
    return Interval(value, max(-1.0, value - half), min(1.0, value + half)), float(
        2 * stats.norm.sf(abs(value) / error)
    )


def wilson(hits: int, total: int) -> Interval | None:
    """A proportion with Wilson's interval; None where there is nothing to count."""
    if total == 0:
        return None
    z, share = float(stats.norm.ppf(0.975)), hits / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


def accuracy_table(called: Bools, positive: Bools) -> dict[str, Interval | None]:
    """Sensitivity, specificity, predictive values and accuracy of calls."""
    tp, fp = int((called & positive).sum()), int((called & ~positive).sum())
    fn, tn = int((~called & positive).sum()), int((~called & ~positive).sum())
    return {
        "sensitivity": wilson(tp, tp + fn),
        "specificity": wilson(tn, tn + fp),
        "ppv": wilson(tp, tp + fp),
        "npv": wilson(tn, tn + fn),
        "accuracy": wilson(tp + tn, tp + tn + fp + fn),
    }


def mcnemar(a_right: Bools, b_right: Bools) -> tuple[int, int, float]:
    """Cases only `a` gets right, cases only `b` gets right, and McNemar's exact two-sided P."""
    only_a, only_b = int((a_right & ~b_right).sum()), int((~a_right & b_right).sum())
    p = 1.0 if only_a + only_b == 0 else float(stats.binomtest(only_a, only_a + only_b, 0.5).pvalue)
    return only_a, only_b, p
