"""Nested cross-validation: how well would a signature made this way do on patients like the training cohort?

In every outer fold the whole recipe (z scores, t test, forest, second scaling, classifier, and in the first repeat
also calibration and cutoff) is run on the fold's training cases alone. `naive` is the mistake this guards against,
kept for the tests and the benchmark that show the difference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from config.schema import Training
from pipeline.research import metrics
from pipeline.research.tables.design import Design
from pipeline.research.training import calibration_fit, estimators, fitting
from pipeline.signature import calibration, classifiers, gate
from pipeline.signature.record import Floats


@dataclass(frozen=True)
class Nested:
    """`fold_aucs`: (repeats, folds). `probabilities` and `called`: of the first repeat, per case, out of fold.

    `positive`, `patients`: class of each case, and the number of its patient. `cutoffs`: the one of each fold.
    `chosen`: (repeats * folds, columns), the columns that selection kept in each.
    """

    auc: metrics.Interval
    fold_aucs: Floats
    empty_folds: int
    probabilities: Floats
    called: npt.NDArray[np.bool_]
    positive: npt.NDArray[np.bool_]
    patients: npt.NDArray[np.intp]
    chosen: npt.NDArray[np.bool_]
    cutoffs: tuple[float, ...] = ()
    name: str = "nested cross-validation"


def nested_cv(
    design: Design,
    recipe: Training,
    repeats: int,
    progress: fitting.Progress | None = None,
    *,
    calibrate: bool = True,
) -> Nested:
    """Repeated nested cross-validation with `recipe.folds` outer folds; without `calibrate` only the AUC is of use.

    The AUC is the mean over folds and repeats; its interval is Nadeau and Bengio's corrected resampled t (2003),
    which allows for the folds' sharing of training cases, and never narrower than Newcombe's for so many independent
    patients: folds that all have AUC 1 do not vary.
    """
    aucs = np.empty((repeats, recipe.folds))
    probabilities, called = np.zeros(len(design.positive)), np.zeros(len(design.positive), dtype=np.bool_)
    chosen = np.zeros((repeats * recipe.folds, len(design.columns)), dtype=np.bool_)
    empty, cutoffs = 0, []
    strata = design.positive if design.levels is None else design.levels
    for repeat in range(repeats):
        parts = fitting.folds(strata, recipe.folds, recipe.seed + repeat, design.patients)
        for fold, (training, held_out) in enumerate(parts):
            decisions, selected = _fold(design, recipe, training, held_out)
            empty += len(selected) == 0
            chosen[repeat * recipe.folds + fold, selected] = True
            aucs[repeat, fold] = metrics.auc(decisions, design.positive[held_out])
            if repeat == 0 and calibrate:
                a, b, cutoff = _calibrated(design, recipe, training)
                probabilities[held_out] = calibration.probability(decisions, a, b)
                called[held_out] = probabilities[held_out] >= cutoff
                cutoffs.append(cutoff)
            if progress is not None:
                progress(repeat * recipe.folds + fold + 1, repeats * recipe.folds)
    patients = np.arange(len(design.positive)) if design.patients is None else design.patients
    answered = (probabilities, called, design.positive, patients, chosen, tuple(cutoffs))
    return Nested(_not_narrower(_interval(aucs), design.positive, patients), aucs, empty, *answered)


def auc_difference(a: Nested, b: Nested) -> metrics.Interval:
    """AUC of `a` minus AUC of `b`, fold by fold: both were cross-validated on the same cases in the same folds."""
    return _interval(a.fold_aucs - b.fold_aucs, -1.0)


def difference_p(a: Nested, b: Nested) -> float | None:
    """Two-sided P of no difference by the same corrected t; None where all folds differ equally."""
    differences = a.fold_aucs - b.fold_aucs
    error = math.sqrt(_variance(differences))
    if error == 0:
        return None
    return float(2 * stats.t.sf(abs(float(differences.mean())) / error, differences.size - 1))


def naive_auc(design: Design, recipe: Training) -> float:
    """The mistake: columns are selected on everyone, and only the classifier is cross-validated. Mean fold AUC."""
    fitted = fitting.fit(
        design.values, design.positive, design.columns, design.groups, recipe, design.repeats, design.patients,
        design.scanners,
    )  # fmt: skip
    chosen = (
        design.values[:, fitted.kept] if design.scanners is None else fitted.columns(design.values, design.scanners)
    )
    values = fitted.scaling.apply(chosen)
    aucs = []
    for training, held_out in fitting.folds(design.positive, recipe.folds, recipe.seed, design.patients):
        model = estimators.fit(values[training], design.positive[training], recipe)
        aucs.append(metrics.auc(classifiers.decision(model, values[held_out]), design.positive[held_out]))
    return float(np.mean(aucs))


def _fold(
    design: Design, recipe: Training, training: fitting.Indices, held_out: fitting.Indices
) -> tuple[Floats, fitting.Indices]:
    """Decisions on the held-out cases, and the columns that were selected; zeros where none was."""
    try:
        mine = None if design.repeats is None else design.repeats[training]
        of = None if design.patients is None else design.patients[training]
        here = None if design.scanners is None else design.scanners.of(training)
        fitted = fitting.fit(
            design.values[training], design.positive[training], design.columns, design.groups, recipe, mine, of, here
        )
    except fitting.NothingSelectedError:
        return np.zeros(len(held_out)), np.empty(0, dtype=np.intp)
    there = None if design.scanners is None else design.scanners.of(held_out)
    return fitting.decisions_of(fitted, design.values[held_out], there), fitted.kept


def _calibrated(design: Design, recipe: Training, training: fitting.Indices) -> tuple[float, float, float]:
    """Platt's a and b and the cutoff, from the fold's training cases alone."""
    positive = design.positive[training]
    patients = np.arange(len(training)) if design.patients is None else design.patients[training]
    smallest = min(len(np.unique(patients[positive])), len(np.unique(patients[~positive])))
    inner = recipe.model_copy(update={"folds": max(2, min(recipe.folds, smallest))})
    decisions, _ = fitting.out_of_fold(
        design.values[training],
        positive,
        design.columns,
        design.groups,
        inner,
        patients=patients,
        repeats=None if design.repeats is None else design.repeats[training],
        scanners=None if design.scanners is None else design.scanners.of(training),
    )
    a, b = calibration_fit.platt(decisions, positive)
    return a, b, calibration_fit.cutoff(recipe.cutoff, calibration.probability(decisions, a, b), positive)


def _not_narrower(
    interval: metrics.Interval, positive: npt.NDArray[np.bool_], patients: npt.NDArray[np.intp]
) -> metrics.Interval:
    """The interval, widened to Newcombe's for as many patients of either class."""
    counts = (len(np.unique(patients[which])) for which in (positive, ~positive))
    low, high = gate.newcombe(interval.value, *counts)
    return metrics.Interval(interval.value, min(interval.low, low), max(interval.high, high))


def _interval(aucs: Floats, least: float = 0.0) -> metrics.Interval:
    mean, count = float(aucs.mean()), aucs.size
    half = float(stats.t.ppf(0.975, count - 1)) * math.sqrt(_variance(aucs))
    return metrics.Interval(mean, max(least, mean - half), min(1.0, mean + half))


def _variance(aucs: Floats) -> float:
    """Of the mean of folds (repeats, folds): one fold in k is held out, so test over training cases is 1 / (k - 1)."""
    folds = int(aucs.shape[1])
    return (1 / aucs.size + 1 / (folds - 1)) * float(aucs.var(ddof=1))
