"""Which level each case has, made of the out-of-fold answers to several questions of two classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.research import metrics
from pipeline.research.calibration import resampled
from pipeline.research.metrics import Interval
from pipeline.research.tables.patients import Numbers
from pipeline.research.training.nested import Nested
from pipeline.signature.record import Floats


@dataclass(frozen=True)
class Joint:
    """One way to a level, judged on held-out cases (first repeat of nested cross-validation).

    `probabilities`: (cases, levels), rows sum to 1. `called`: level of each case. `confusion`: (levels, levels), true
    level by called level. `kappa`: quadratic weighted, its interval by a bootstrap of patients. `right`: of each level
    the share that is called so. `contradictions`: cases whose questions contradict each other.
    """

    name: str
    rule: str
    probabilities: Floats
    called: Numbers
    confusion: npt.NDArray[np.intp]
    kappa: Interval
    accuracy: Interval | None
    right: tuple[Interval | None, ...]
    contradictions: int


def ordinal(above: Sequence[Nested], numbers: Numbers) -> Joint:
    """By the questions "above level k": a case climbs while it is called above, each at its own cutoff.

    P(above k) never exceeds P(above k - 1): where it would, the smaller one of both counts, and the case is counted.
    """
    chances = np.column_stack([judged.probabilities for judged in above])
    ordered = np.minimum.accumulate(chances, axis=1)
    edges = np.column_stack([np.ones(len(numbers)), ordered, np.zeros(len(numbers))])
    climbed = np.logical_and.accumulate(np.column_stack([judged.called for judged in above]), axis=1)
    contradictions = int((np.diff(chances, axis=1) > 0).any(axis=1).sum())
    rule = "the highest level k for which it is called above every lower level, each at the cutoff of its fold"
    return _judged(
        "ordinal", rule, edges[:, :-1] - edges[:, 1:], climbed.sum(axis=1), numbers, above[0], contradictions
    )  # fmt: skip


def one_against_rest(first: Nested, only: Sequence[Nested], last: Nested, numbers: Numbers) -> Joint:
    """By the questions "this level and no other": the level with the largest probability, divided by their sum.

    Contradictory is a case that no question, or more than one, gives more than one half.
    """
    chances = np.column_stack([1 - first.probabilities, *(judged.probabilities for judged in only), last.probabilities])
    contradictions = int(((chances > 0.5).sum(axis=1) != 1).sum())
    shares = chances / chances.sum(axis=1, keepdims=True)
    rule = "the level with the largest probability"
    return _judged("one against the rest", rule, shares, shares.argmax(axis=1), numbers, first, contradictions)


def quadratic_kappa(confusion: npt.NDArray[np.integer]) -> float:
    """Cohen's kappa with quadratic weights (1968) of a table (levels, levels); NaN where no one varies."""
    total, count = float(confusion.sum()), len(confusion)
    weights = (np.subtract.outer(np.arange(count), np.arange(count)) / (count - 1)) ** 2
    expected = np.outer(confusion.sum(axis=1), confusion.sum(axis=0)) / total
    by_chance = float((weights * expected).sum())
    return 1 - float((weights * confusion).sum()) / by_chance if by_chance > 0 else float("nan")


def table_of(truth: Numbers, called: Numbers, count: int) -> npt.NDArray[np.intp]:
    """How many cases of each level (rows) are called each level (columns)."""
    return np.bincount(truth * count + called, minlength=count * count).reshape(count, count)


def _judged(
    name: str, rule: str, probabilities: Floats, called: Numbers, truth: Numbers, one: Nested, contradictions: int
) -> Joint:
    count = probabilities.shape[1]
    confusion = table_of(truth, called, count)
    drawn = [quadratic_kappa(table_of(truth[rows], called[rows], count)) for rows in resampled(one.patients)]
    low, high = np.nanquantile(drawn, (0.025, 0.975))
    kappa = quadratic_kappa(confusion)
    right = called == truth
    shares = tuple(metrics.share(right[truth == k], one.patients[truth == k]) for k in range(count))
    return Joint(
        name, rule, probabilities, called, confusion, Interval(kappa, min(kappa, float(low)), max(kappa, float(high))),
        metrics.share(right, one.patients), shares, contradictions,
    )  # fmt: skip
