"""Discrimination, calibration and accuracy, with intervals. `scores` are larger for the positive class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any  # Any: NumPy's precision of a float

import numpy as np
import numpy.typing as npt
from scipy import stats

from pipeline.signature import clustered, gate
from pipeline.signature.clustered import auc as auc
from pipeline.signature.record import Floats

Bools = npt.NDArray[np.bool_]
Patients = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


def newcombe(scores: Floats, positive: Bools, patients: Patients | None = None) -> Interval:
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


def delong_difference(
    a: Floats, b: Floats, positive: Bools, patients: Patients | None = None
) -> tuple[Interval, float | None]:
    """AUC of `a` minus AUC of `b` on the same cases, with its interval, and the two-sided P of no difference.

    `patients`: as in `newcombe`; the variance is then Obuchowski's (1997). Where AUCs that differ have no variance (1
    against 0.5 of one value for all), the interval follows from Newcombe's of both, and there is no P.
    """
    a10, a01 = clustered.placements(a, positive)
    b10, b01 = clustered.placements(b, positive)
    value = float(a10.mean() - b10.mean())
    d10, d01 = a10 - b10, a01 - b01
    if len(d10) < 2 or len(d01) < 2:
        return Interval(value, -1.0, 1.0), None
    variance = d10.var(ddof=1) / len(d10) + d01.var(ddof=1) / len(d01)
    if patients is not None and has_repeats(patients):
        by_patient = clustered.variance_by_patient(d10, d01, positive, patients)
        if by_patient is None:
            return Interval(value, -1.0, 1.0), None
        variance = max(variance, by_patient)
    error = math.sqrt(variance)
    if error == 0 and value == 0:
        return Interval(value, value, value), 1.0
    if error == 0:
        both = difference(newcombe(a, positive, patients), newcombe(b, positive, patients))
        assert both is not None
        return both, None
    half = float(stats.norm.ppf(0.975)) * error
    return Interval(value, max(-1.0, value - half), min(1.0, value + half)), float(
        2 * stats.norm.sf(abs(value) / error)
    )


def has_repeats(patients: Patients) -> bool:
    """Whether a patient has several cases."""
    return len(np.unique(patients)) < len(patients)


def sums_by_patient(values: npt.NDArray[np.floating[Any]], patients: Patients) -> Floats:
    """Rows of the same patient (cases, …) added up: (patients, …)."""
    numbers, place = np.unique(patients, return_inverse=True)
    sums = np.zeros((len(numbers), *values.shape[1:]))
    np.add.at(sums, place.reshape(-1), values)
    return sums


def difference(a: Interval | None, b: Interval | None) -> Interval | None:
    """`a` minus `b`, estimated on other cases, with the interval that follows from both; None where one is lacking.

    Zou and Donner 2008 (Statistics in Medicine 27: 1693-1702); of two proportions it is Newcombe's method 10 (1998).
    """
    if a is None or b is None:
        return None
    value = a.value - b.value
    low = value - math.hypot(a.value - a.low, b.high - b.value)
    return Interval(value, low, value + math.hypot(a.high - a.value, b.value - b.low))


def holm(p_values: Sequence[float]) -> list[float]:
    """P values adjusted by Holm (1979): the chance of any false alarm among them is at most the level."""
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(order))
    adjusted[order] = np.maximum.accumulate([(len(order) - i) * p_values[j] for i, j in enumerate(order)])
    return [min(1.0, float(p)) for p in adjusted]


def share(hits: Bools, patients: Patients | None = None) -> Interval | None:
    """The share of true ones with Wilson's interval, as wide as for the number of independent cases there are.

    `patients`: as in `newcombe`. Where all are hits or none is, a patient counts as one case.
    """
    return wilson(int(hits.sum()), len(hits), 1.0 if patients is None else effect(hits, patients))


def effect(hits: Bools, patients: Patients) -> float:
    """How many cases tell as much of the share of hits as an independent one; the mean number where all are equal."""
    if not has_repeats(patients):
        return 1.0
    total, count, mean = len(hits), len(np.unique(patients)), float(hits.mean())
    if mean in (0, 1) or count < 2:
        return total / count
    by_patient = count / (count - 1) * float((sums_by_patient(hits - mean, patients) ** 2).sum()) / total**2
    return max(1.0, by_patient / (mean * (1 - mean) / total))


def wilson(hits: float, total: float, effect: float = 1.0) -> Interval | None:
    """A proportion with Wilson's interval; None where there is nothing to count.

    `effect`: how many cases tell as much as an independent one.
    """
    if total == 0:
        return None
    hits, total = hits / effect, total / effect
    z, value = float(stats.norm.ppf(0.975)), hits / total
    centre = (value + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(value * (1 - value) / total + z * z / (4 * total * total))
    return Interval(value, max(0.0, centre - half), min(1.0, centre + half))


def accuracy_table(called: Bools, positive: Bools, patients: Patients | None = None) -> dict[str, Interval | None]:
    """Sensitivity, specificity, predictive values and accuracy of calls. `patients`: as in `newcombe`."""
    right = called == positive
    parts = {
        "sensitivity": positive,
        "specificity": ~positive,
        "ppv": called,
        "npv": ~called,
        "accuracy": np.ones(len(positive), np.bool_),
    }
    return {name: share(right[w], None if patients is None else patients[w]) for name, w in parts.items()}


def mcnemar(a_right: Bools, b_right: Bools, patients: Patients | None = None) -> tuple[int, int, float]:
    """Cases only `a` gets right, cases only `b` gets right, and McNemar's exact two-sided P.

    `patients`: as in `newcombe`. Where some have several cases, P is over all ways to exchange `a` and `b` patient by
    patient, which is McNemar's where each has one.
    """
    only_a, only_b = int((a_right & ~b_right).sum()), int((~a_right & b_right).sum())
    lead = a_right.astype(np.float64) - b_right
    by_patient = lead if patients is None else sums_by_patient(lead, patients)
    return only_a, only_b, sign_flips(by_patient.astype(np.intp))


def sign_flips(values: npt.NDArray[np.intp]) -> float:
    """Exact two-sided P of the sum of whole numbers (n,) over all ways to give each a sign."""
    # The chance of each sum: -total, …, total.
    chances = np.ones(1)
    for size in np.abs(values[values != 0]).tolist():
        thrown = np.zeros(len(chances) + 2 * size)
        thrown[: len(chances)] += chances / 2
        thrown[2 * size :] += chances / 2
        chances = thrown
    sums = np.arange(len(chances)) - len(chances) // 2
    return min(1.0, float(chances[np.abs(sums) >= abs(int(values.sum()))].sum()))
