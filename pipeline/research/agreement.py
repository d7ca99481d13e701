"""How two signatures' calls on the same cases differ: agreement, and who is reclassified, each with its interval."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from pipeline.records import Json
from pipeline.research import metrics
from pipeline.research.metrics import Bools, Interval, Patients
from pipeline.signature.record import Floats


def kappa(a: Bools, b: Bools, patients: Patients | None = None) -> Interval | None:
    """Cohen's kappa with its large-sample interval (Fleiss, Cohen and Everitt 1969); None where no one varies.

    `patients`: the number of each case's patient; where some have several cases, the error is by patient.
    """
    same, share_a, share_b = float((a == b).mean()), float(a.mean()), float(b.mean())
    expected = share_a * share_b + (1 - share_a) * (1 - share_b)
    if expected >= 1:
        return None
    value = (same - expected) / (1 - expected)
    # What each case changes: by agreeing, and by what is then expected.
    moves = (a - share_a) * (2 * share_b - 1) + (b - share_b) * (2 * share_a - 1)
    influence = ((a == b) - same - (1 - value) * moves) / (1 - expected) / len(a)
    return _wald(value, _error(influence, patients))


def net_reclassification(
    instead: Bools, first: Bools, positive: Bools, patients: Patients | None = None
) -> dict[str, Interval]:
    """Net reclassification by `instead` where `first` called before (Pencina 2008): of both classes, and their sum.

    Per class the share moved to the right call minus the share moved to the wrong one; the sum is the NRI, from -2 to
    2. Intervals are Wald's with the multinomial variance (Pencina 2011), by patient where some have several cases
    (`patients`). Negative: calls got worse.
    """
    right = np.where(positive, 1.0, -1.0) * (instead.astype(np.float64) - first)
    values, influence = {}, np.zeros((2, len(positive)))
    for row, (name, which) in enumerate((("positives", positive), ("negatives", ~positive))):
        values[name] = float(right[which].mean())
        influence[row, which] = (right[which] - values[name]) / which.sum()
    parts = {n: _wald(v, _error(moves, patients)) for (n, v), moves in zip(values.items(), influence, strict=True)}
    return {**parts, "both": _wald(sum(values.values()), _error(influence.sum(axis=0), patients), 2.0)}


def reclassified(instead: Bools, first: Bools, positive: Bools) -> dict[str, Json]:
    """Cases of each class by what both signatures call them: high or low, before and now."""
    counts: dict[str, Json] = {}
    for name, which in (("positives", positive), ("negatives", ~positive)):
        a, b = first[which], instead[which]
        counts[name] = {
            "n": int(which.sum()),
            "high_stays_high": int((a & b).sum()),
            "high_becomes_low": int((a & ~b).sum()),
            "low_becomes_high": int((~a & b).sum()),
            "low_stays_low": int((~a & ~b).sum()),
        }
    return counts


def comparison(instead: Bools, first: Bools, positive: Bools, patients: Patients | None = None) -> dict[str, Json]:
    """Agreement and reclassification as JSON, intervals by patient. `first` are the calls that `instead` replaces."""
    net = net_reclassification(instead, first, positive, patients)
    return {
        "n": len(first),
        "agreement": _json(metrics.share(instead == first, patients)),
        "kappa": _json(kappa(instead, first, patients)),
        "net_reclassification": {name: _json(interval) for name, interval in net.items()},
        "reclassified": reclassified(instead, first, positive),
    }


def _error(influence: Floats, patients: Patients | None) -> float:
    """The standard error of a sum of what each case adds; not smaller by patient than by case."""
    by_case = float((influence**2).sum())
    if patients is None or not metrics.has_repeats(patients):
        return math.sqrt(by_case)
    sums = metrics.sums_by_patient(influence, patients)
    return math.sqrt(max(by_case, len(sums) / max(1, len(sums) - 1) * float((sums**2).sum())))


def _wald(value: float, error: float, limit: float = 1.0) -> Interval:
    half = float(stats.norm.ppf(0.975)) * error
    return Interval(value, max(-limit, value - half), min(limit, value + half))


def _json(estimate: Interval | None) -> Json:
    return None if estimate is None else {"value": estimate.value, "ci": [estimate.low, estimate.high]}
