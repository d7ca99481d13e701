"""A cohort as the daemon would answer it: who is refused, who gets a category, and how many of the calls are wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.records import Json
from pipeline.research import metrics
from pipeline.research.evaluation.scored_cohort import Scored, how_far_outside, interval
from pipeline.research.metrics import Bools
from pipeline.signature import conformal
from pipeline.signature.record import Floats, Signature


@dataclass(frozen=True)
class Rules:
    """The daemon's settings of the same names."""

    max_outside: float = 0.05
    max_distance: float = 3.0
    alpha: float | None = 0.1


def as_answered(signature: Signature, cohort: Scored, rules: Rules) -> dict[str, Json]:
    """Counts and rates of the cases that are answered, beside those of all.

    `error_of_calls` is the share of wrong ones among the calls high and low. The conformal band promises its error rate
    for each class; where most answers are indeterminate, the share among the calls may be much larger.
    """
    refused_features, refused_distance = refused(signature, cohort, rules)
    answered = ~(refused_features | refused_distance)
    positive, p = cohort.positive[answered], cohort.probabilities[answered]
    high, low = _calls(signature, p, rules.alpha)
    wrong, called = (high & ~positive) | (low & positive), high | low
    calls = int(called.sum())
    both = bool(positive.any() and (~positive).any())
    patients = cohort.patients[answered]
    accuracy = metrics.accuracy_table(p >= signature.header.cutoff, positive, patients)
    return {
        "refused": int((~answered).sum()),
        "refused_by_features": int(refused_features.sum()),
        "refused_by_distance": int(refused_distance.sum()),
        "answered": len(positive),
        "auc": interval(metrics.newcombe(cohort.decisions[answered], positive, patients)) if both else None,
        "at_cutoff": {name: interval(value) for name, value in accuracy.items()},
        "high": int(high.sum()),
        "low": int(low.sum()),
        "indeterminate": len(positive) - calls,
        "wrong_calls": int(wrong.sum()),
        "error_of_calls": interval(metrics.share(wrong[called], patients[called])),
    }


def refused(signature: Signature, cohort: Scored, rules: Rules) -> tuple[Bools, Bools]:
    """Per case (cases,): too many features outside their range, too far away; by the daemon's own limits."""
    share, ratio = how_far_outside(signature, cohort.raw)
    return share > rules.max_outside, ratio > rules.max_distance


def _calls(signature: Signature, probabilities: Floats, alpha: float | None) -> tuple[Bools, Bools]:
    """Whether each case is called high, and low; neither is indeterminate."""
    band = None if alpha is None else conformal.band(signature, alpha)
    if band is None or isinstance(band, str):
        high = probabilities >= signature.header.cutoff
        return high, ~high
    may_be_positive = probabilities >= band.lowest_positive
    may_be_negative = probabilities <= band.highest_negative
    return np.asarray(may_be_positive & ~may_be_negative), np.asarray(may_be_negative & ~may_be_positive)
