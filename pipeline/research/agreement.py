"""How two calls or values of the same cases agree: signatures, who is reclassified by which, raters; with intervals."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import stats

from pipeline.records import Json
from pipeline.research import metrics
from pipeline.research.metrics import Interval

Bools = npt.NDArray[np.bool_]


def kappa(a: Bools, b: Bools) -> Interval | None:
    """Cohen's kappa with its large-sample interval (Fleiss, Cohen and Everitt 1969); None where no one varies."""
    n = len(a)
    table = np.array([[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]]) / n
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    observed, expected = float(np.trace(table)), float(rows @ columns)
    if expected >= 1:
        return None
    value = (observed - expected) / (1 - expected)
    # The variance of kappa where it is not zero: agreeing cells, disagreeing cells, and the chance term.
    share = np.add.outer(columns, rows).T
    agreeing = sum(table[i, i] * (1 - share[i, i] * (1 - value)) ** 2 for i in (0, 1))
    disagreeing = (1 - value) ** 2 * sum(table[i, 1 - i] * share[1 - i, i] ** 2 for i in (0, 1))
    chance = (value - expected * (1 - value)) ** 2
    error = math.sqrt(max(0.0, agreeing + disagreeing - chance) / n) / (1 - expected)
    return _wald(value, error)


def net_reclassification(instead: Bools, first: Bools, positive: Bools) -> dict[str, Interval]:
    """Net reclassification by `instead` where `first` called before (Pencina 2008): of both classes, and their sum.

    Per class the share moved to the right call minus the share moved to the wrong one; the sum is the NRI, from -2 to
    2. Intervals are Wald's with the multinomial variance (Pencina 2011). Negative: calls got worse.
    """
    up, down = instead & ~first, ~instead & first
    moved = {
        "positives": _net(int(up[positive].sum()), int(down[positive].sum()), int(positive.sum())),
        "negatives": _net(int(down[~positive].sum()), int(up[~positive].sum()), int((~positive).sum())),
    }
    value = sum(value for value, _ in moved.values())
    error = math.sqrt(sum(variance for _, variance in moved.values()))
    parts = {name: _wald(value, math.sqrt(variance)) for name, (value, variance) in moved.items()}
    return {**parts, "both": _wald(value, error, 2.0)}


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


def comparison(instead: Bools, first: Bools, positive: Bools) -> dict[str, Json]:
    """Agreement and reclassification as JSON. `first` are the calls that `instead` replaces."""
    agreeing = metrics.wilson(int((instead == first).sum()), len(first))
    net = net_reclassification(instead, first, positive)
    return {
        "n": len(first),
        "agreement": _json(agreeing),
        "kappa": _json(kappa(instead, first)),
        "net_reclassification": {name: _json(interval) for name, interval in net.items()},
        "reclassified": reclassified(instead, first, positive),
    }


def _net(right: int, wrong: int, total: int) -> tuple[float, float]:
    """Share moved rightly minus share moved wrongly, and its variance."""
    net = (right - wrong) / total
    return net, ((right + wrong) / total - net**2) / total


def _wald(value: float, error: float, limit: float = 1.0) -> Interval:
    half = float(stats.norm.ppf(0.975)) * error
    return Interval(value, max(-limit, value - half), min(limit, value + half))


def _json(estimate: Interval | None) -> Json:
    return None if estimate is None else {"value": estimate.value, "ci": [estimate.low, estimate.high]}


def intraclass(pairs: npt.NDArray[np.float64]) -> float | None:
    """ICC(2,1) of values (cases, raters): two-way random, absolute agreement, single (Shrout and Fleiss 1979).

    None where fewer than three cases are finite, or nothing varies.
    """
    values = pairs[np.isfinite(pairs).all(axis=1)]
    n, k = values.shape
    if n < 3 or np.ptp(values) == 0:
        return None
    mean = values.mean()
    between = k * float(((values.mean(axis=1) - mean) ** 2).sum()) / (n - 1)
    raters = n * float(((values.mean(axis=0) - mean) ** 2).sum()) / (k - 1)
    rest = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0) + mean
    error = float((rest**2).sum()) / ((n - 1) * (k - 1))
    return float((between - error) / (between + (k - 1) * error + k * (raters - error) / n))
