"""The gate that a signature passes before it becomes active: is its AUC on an external cohort better than chance?

Needs the scores of each case and nothing of what trains signatures: the registry judges stored evaluations again
whenever a signature is to be activated, so that a better rule holds for what was evaluated before it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.records import Json
from pipeline.signature import clustered
from pipeline.signature.clustered import Bools, Numbers, auc, doubled_ranks
from pipeline.signature.record import Floats

# Two-sided 95 % of the normal distribution.
Z = 1.959963984540054
# One-sided level of the test against chance.
LEVEL = 0.025
# A cohort with fewer cases than this in either class is no evidence and no bar.
MINIMUM_PER_CLASS = 10
# Above this many cases the exact distribution is replaced by the normal one, which then differs by less than 3e-3.
EXACT_CASES = 120

AS_TRAINED, INVERTED, NO_EVIDENCE, TOO_FEW = "as trained", "inverted", "no evidence", "too few"


@dataclass(frozen=True)
class Discrimination:
    """An AUC with its 95 % interval and the one-sided P of one as large, and one as small, by chance."""

    auc: float
    low: float
    high: float
    p_above: float
    p_below: float
    positives: int
    negatives: int


def discrimination(scores: Floats, positive: Bools, patients: Numbers | None = None) -> Discrimination:
    """How well scores (cases,) separate the classes; both must be there.

    `patients`: the number of each case's patient, where some have several cases. These are no independent evidence:
    the interval is as wide as for the number of independent cases that Obuchowski's variance says there are, the test
    deals out the labels to patients, and `positives` and `negatives` count patients.
    """
    value = auc(scores, positive)
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if patients is None or len(np.unique(patients)) == len(patients):
        return Discrimination(
            value, *newcombe(value, positives, negatives), *mann_whitney(scores, positive), positives, negatives
        )
    effect = clustered.design_effect(scores, positive, patients)
    interval = newcombe(value, positives / effect, negatives / effect)
    counts = (len(np.unique(patients[positive])), len(np.unique(patients[~positive])))
    return Discrimination(value, *interval, *clustered.permutation(scores, positive, patients), *counts)


def verdict(discrimination: Discrimination, minimum_per_class: int = MINIMUM_PER_CLASS) -> str:
    """What an external cohort says of a signature: one of the four words above.

    Interval and exact test must both speak, since each alone errs where the other does not: the interval with many
    ties, the test not at all but without telling how far from chance.
    """
    if min(discrimination.positives, discrimination.negatives) < minimum_per_class:
        return TOO_FEW
    if discrimination.low > 0.5 and discrimination.p_above <= LEVEL:
        return AS_TRAINED
    if discrimination.high < 0.5 and discrimination.p_below <= LEVEL:
        return INVERTED
    return NO_EVIDENCE


def facts(measured: Discrimination, minimum_per_class: int) -> dict[str, Json]:
    """What `evaluation.json` says of how well a cohort's classes are separated."""
    return {
        "auc": measured.auc,
        "ci": [measured.low, measured.high],
        "p_above_chance": measured.p_above,
        "p_below_chance": measured.p_below,
        "orientation": verdict(measured, minimum_per_class),
        "minimum_per_class": minimum_per_class,
    }


def newcombe(value: float, positives: float, negatives: float) -> tuple[float, float]:
    """The 95 % interval of an AUC by Newcombe's method 5 (Statistics in Medicine 2006; 25: 559-573).

    The limits solve (A - t)^2 = z^2 t(1-t) [1 + N(1-t)/(2-t) + Nt/(1+t)] / mn with N = (m+n)/2 - 1: unlike DeLong's
    interval it has a width at A = 1.
    """
    n = (positives + negatives) / 2 - 1

    def excess(t: float) -> float:
        spread = t * (1 - t) * (1 + n * (1 - t) / (2 - t) + n * t / (1 + t)) / (positives * negatives)
        return (value - t) ** 2 - Z * Z * spread

    # The excess is positive at the end of the scale, negative next to the value (if that is not the end itself).
    low = 0.0 if value == 0 else _root(excess, 0.0, min(value, 1 - 1e-12))
    high = 1.0 if value == 1 else _root(excess, 1.0, max(value, 1e-12))
    return low, high


def mann_whitney(scores: Floats, positive: Bools) -> tuple[float, float]:
    """The exact one-sided P, over all ways to deal out the labels, of ranks as high and as low as the positives'.

    Ties are part of it: the scores' own midranks are dealt out (the shift algorithm of Streitberg and Röhmel, 1986).
    With more than `EXACT_CASES` cases by the normal distribution, corrected for ties and continuity.
    """
    twice, ties = doubled_ranks(scores)
    n1, total = int(positive.sum()), int(twice[positive].sum())
    if len(scores) > EXACT_CASES:
        return _by_normal(total, n1, len(scores) - n1, ties)
    chances = _rank_sums(ties, n1)
    return float(min(1.0, chances[total:].sum())), float(min(1.0, chances[: total + 1].sum()))


def _by_normal(total: int, n1: int, n0: int, ties: tuple[int, ...]) -> tuple[float, float]:
    cases = n1 + n0
    tied = sum(t**3 - t for t in ties) / (cases * (cases - 1))
    deviation = 2 * math.sqrt(n1 * n0 / 12 * (cases + 1 - tied))
    if deviation == 0:
        return 1.0, 1.0
    off = total - n1 * (cases + 1)
    return _tail((off - 1) / deviation), _tail((-off - 1) / deviation)


def _tail(z: float) -> float:
    return 0.5 * math.erfc(z / math.sqrt(2))


@functools.lru_cache(maxsize=8)
def _rank_sums(ties: tuple[int, ...], chosen: int) -> Floats:
    """Probability of each doubled rank sum 0, 1, … of `chosen` cases drawn at random."""
    ends = np.cumsum(ties)
    ranks = np.repeat(2 * ends - np.array(ties) + 1, ties)
    largest = int(ranks[len(ranks) - chosen :].sum())
    # ways[k, s]: the share of draws so far that hold k cases of doubled rank sum s. Shares, since counts overflow.
    ways = np.zeros((chosen + 1, largest + 1))
    ways[0, 0] = 1.0
    for seen, rank in enumerate(ranks.tolist()):
        # The next case is drawn with the chance (chosen - k) / (cases left).
        drawn = (chosen - np.arange(chosen + 1)) / (len(ranks) - seen)
        taken = ways[:-1] * drawn[:-1, None]
        ways *= np.clip(1 - drawn, 0.0, 1.0)[:, None]
        ways[1:, rank:] += taken[:, : largest + 1 - rank]
    chances: Floats = ways[chosen]
    chances.flags.writeable = False
    return chances


def _root(excess: Callable[[float], float], outer: float, inner: float) -> float:
    """Where the excess changes its sign between `outer`, where it is positive, and `inner`; by halving, to 1e-15."""
    for _ in range(80):
        middle = (outer + inner) / 2
        if excess(middle) > 0:
            outer = middle
        else:
            inner = middle
    return (outer + inner) / 2
