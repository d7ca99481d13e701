"""The same signature where the positive class is more or less frequent than in training: odds moved by an offset.

Only the report says it. The daemon goes on with the probabilities of the signature file.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import expit, logit

from pipeline.records import Json
from pipeline.research import metrics
from pipeline.research.evaluation.scored_cohort import Scored, calibration_figures, interval
from pipeline.research.metrics import Interval
from pipeline.signature.gate import Z
from pipeline.signature.record import Floats, Signature


def probabilities(signature: Signature, cohort: Scored, prevalence: float) -> Floats:
    """Probabilities (cases,) at that prevalence, if scores within each class are distributed as in training.

    The log odds move by the difference of the prevalences' log odds (Saerens 2002; Neural Computation 14: 21-41).
    """
    moved: Floats = expit(logit(np.clip(cohort.probabilities, 1e-12, 1 - 1e-12)) + offset(signature, prevalence))
    return moved


def offset(signature: Signature, prevalence: float) -> float:
    """What is added to the log odds: those of `prevalence` minus those of the training cases."""
    header = signature.header
    return math.log(prevalence / (1 - prevalence)) - math.log(header.positives / header.negatives)


def at_prevalence(signature: Signature, cohort: Scored, prevalence: float) -> dict[str, Json]:
    """Recalibrated probabilities against the cohort, and PPV and NPV of the calls at that prevalence.

    Calls stay as they are: the cutoff moves with the probabilities. Predictive values follow from sensitivity and
    specificity by Bayes' rule.
    """
    header, positive = signature.header, cohort.positive
    p = probabilities(signature, cohort, prevalence)
    called = cohort.probabilities >= header.cutoff
    observed = metrics.share(positive, cohort.patients)
    assert observed is not None
    cut = min(max(header.cutoff, 1e-12), 1 - 1e-12)
    return {
        "prevalence": prevalence,
        "training_prevalence": header.positives / (header.positives + header.negatives),
        "observed_prevalence": interval(observed),
        "observed_is_compatible": observed.low <= prevalence <= observed.high,
        "log_odds_offset": offset(signature, prevalence),
        "cutoff": float(expit(math.log(cut / (1 - cut)) + offset(signature, prevalence))),
        "mean_probability": float(p.mean()),
        "ppv": interval(_predictive(called[positive], ~called[~positive], cohort, prevalence)),
        "npv": interval(_predictive(~called[~positive], called[positive], cohort, 1 - prevalence, negatives=True)),
        **calibration_figures(p, positive, cohort.patients),
    }


def _predictive(
    right: metrics.Bools, other_right: metrics.Bools, cohort: Scored, prior: float, *, negatives: bool = False
) -> Interval | None:
    """The share of right calls among calls, of a class with this prior; None where nobody is called so.

    `right`: whether each case of the class is called so; `other_right`: whether each of the other class is not.
    Interval on the logit (Mercaldo 2007; Statistics in Medicine 26: 2170-2183), with 0.5 added where a count is 0.
    """
    of_class = ~cohort.positive if negatives else cohort.positive
    hits, misses = _counts(right, cohort.patients[of_class])
    rejected, wrong = _counts(other_right, cohort.patients[~of_class])
    if hits == 0 and wrong == 0:
        return None
    odds = prior / (1 - prior)
    value = odds * right.mean() / (odds * right.mean() + 1 - other_right.mean())
    if min(hits, misses, rejected, wrong) == 0:
        hits, misses, rejected, wrong = hits + 0.5, misses + 0.5, rejected + 0.5, wrong + 0.5
    share, false = hits / (hits + misses), wrong / (wrong + rejected)
    error = math.sqrt((1 - share) / hits + (1 - false) / wrong)
    centre = math.log(odds * share / false)
    low, high = (float(expit(centre + sign * Z * error)) for sign in (-1, 1))
    return Interval(float(value), min(low, float(value)), max(high, float(value)))


def _counts(hits: metrics.Bools, patients: metrics.Patients) -> tuple[float, float]:
    """Hits and misses as so many independent cases as there are."""
    effect = metrics.effect(hits, patients)
    return float(hits.sum()) / effect, float((~hits).sum()) / effect
