"""AUC where patients have several cases: how much less such cases tell, and what chance makes of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.signature.record import Floats

Bools = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.intp]

# Ways to deal out the labels that are tried, and the seed that makes a verdict the same every time.
DEALS, SEED = 20_000, 19970515


def auc(scores: Floats, positive: Bools) -> float:
    """Area under the ROC curve: the share of (positive, negative) pairs in the right order, ties a half."""
    twice, _ = doubled_ranks(scores)
    n1 = int(positive.sum())
    n0 = len(positive) - n1
    return (int(twice[positive].sum()) - n1 * (n1 + 1)) / (2 * n1 * n0)


def design_effect(scores: Floats, positive: Bools, patients: Numbers) -> float:
    """How many cases tell as much as one independent case: Obuchowski's variance over that of independent cases.

    Obuchowski 1997 (Biometrics 53: 567-578): the structural components are added up per patient before their variance
    is taken, with the covariance of both classes. At least 1; the mean number of cases where a variance is undefined.
    """
    numbers, patients = np.unique(patients, return_inverse=True)
    count, patients = len(numbers), patients.reshape(-1)
    if count == len(scores):
        return 1.0
    above, below = placements(scores, positive)
    independent = float(above.var() / len(above) + below.var() / len(below))
    variance = variance_by_patient(above, below, positive, patients)
    if variance is None or independent <= 0:
        return len(scores) / count
    return max(1.0, variance / independent)


def variance_by_patient(above: Floats, below: Floats, positive: Bools, patients: Numbers) -> float | None:
    """Obuchowski's variance of the mean structural component, or of a difference of two; None with one patient.

    `above` has a component per positive, `below` one per negative. With one case per patient it is DeLong's.
    """
    numbers, patients = np.unique(patients, return_inverse=True)
    count, patients = len(numbers), patients.reshape(-1)
    one, none = np.zeros(count), np.zeros(count)
    np.add.at(one, patients[positive], above - above.mean())
    np.add.at(none, patients[~positive], below - below.mean())
    n1, n0 = len(above), len(below)
    has_one, has_none = (len(np.unique(patients[where])) for where in (positive, ~positive))
    if has_one < 2 or has_none < 2:
        return None
    s1 = has_one / (has_one - 1) * float((one**2).sum()) / n1**2
    s0 = has_none / (has_none - 1) * float((none**2).sum()) / n0**2
    both = count / (count - 1) * float((one * none).sum()) / (n1 * n0)
    return s1 + s0 + 2 * both


def permutation(scores: Floats, positive: Bools, patients: Numbers) -> tuple[float, float]:
    """One-sided P of ranks as high and as low as the positives', over labels dealt out to patients.

    Patients with equally many cases exchange their labels, as they stand; `DEALS` random ways, and the one seen.
    """
    twice, _ = doubled_ranks(scores)
    total, rng = int(twice[positive].sum()), np.random.default_rng(SEED)
    sums = np.zeros(DEALS)
    for rows in _patients_by_size(patients):
        # Products of every patient's ranks with every patient's labels: a deal picks one label row per patient.
        products = twice[rows].astype(np.float64) @ positive[rows].astype(np.float64).T
        deals = np.argsort(rng.random((DEALS, len(rows))), axis=1)
        sums += products[np.arange(len(rows)), deals].sum(axis=1)
    high = 1 + int((sums >= total - 1e-6).sum())
    low = 1 + int((sums <= total + 1e-6).sum())
    return high / (DEALS + 1), low / (DEALS + 1)


def _patients_by_size(patients: Numbers) -> list[Numbers]:
    """The rows of the patients with one case, with two, …: each (patients, cases)."""
    numbers, counts = np.unique(patients, return_counts=True)
    rows = [np.flatnonzero(patients == number) for number in numbers]
    return [np.array([r for r, c in zip(rows, counts, strict=True) if c == size]) for size in np.unique(counts)]


def placements(scores: Floats, positive: Bools) -> tuple[Floats, Floats]:
    """DeLong's structural components: per positive the share of negatives below it, per negative of positives above."""
    n1 = int(positive.sum())
    n0 = len(positive) - n1
    overall = doubled_ranks(scores)[0]
    above = (overall[positive] - doubled_ranks(scores[positive])[0]) / (2 * n0)
    below = 1 - (overall[~positive] - doubled_ranks(scores[~positive])[0]) / (2 * n1)
    return above, below


def doubled_ranks(scores: Floats) -> tuple[npt.NDArray[np.int64], tuple[int, ...]]:
    """Twice the midrank of each score, a whole number, and how many scores are equal, from the lowest on."""
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (2 * ends - counts + 1)[place.reshape(-1)].astype(np.int64), tuple(int(c) for c in counts)
