"""One fit of the whole recipe on the cases it is given, and the out-of-fold decisions made of such fits.

`fit` is the only way from cases to a decision function, in training, calibration and nested cross-validation alike:
what a fold's selection can see is what is passed here, and nothing else is passed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from config.schema import Training
from pipeline.errors import InputRejected
from pipeline.research import metrics
from pipeline.research.tables.design import CLINICAL_GROUP
from pipeline.research.tables.scanners import Scanners
from pipeline.research.training import combat, estimators, selection
from pipeline.signature import classifiers
from pipeline.signature.harmonisation import Harmonisation
from pipeline.signature.model import Model
from pipeline.signature.record import Floats, GroupEvidence, TopChoice

Bools = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]
Progress = Callable[[int, int], None]

# Ways to deal out patients that are tried before the folds are given up.
SHUFFLES = 50
# Numbers of columns per group that `top = "auto"` tries, and the folds in which it tries them.
TOPS = (1, 2, 3, 5, 8, 12, 20, 30, 50)
INNER_FOLDS = 5


@dataclass(frozen=True)
class Scaling:
    """Mean and standard deviation per kept column: of the raw values, then of the z scores."""

    z_mean: Floats
    z_std: Floats
    s_mean: Floats
    s_std: Floats

    def apply(self, values: Floats) -> Floats:
        """Standardise raw values (cases, p) with the training statistics."""
        return ((values - self.z_mean) / self.z_std - self.s_mean) / self.s_std


@dataclass(frozen=True)
class Fit:
    """`kept`: indices into the candidate columns; `constant`: those left out because they do not vary.

    `harmonisation`: of all candidate columns, where the recipe harmonises scanners.
    """

    kept: Indices
    constant: Indices
    groups: dict[str, GroupEvidence]
    scaling: Scaling
    model: Model
    top_choice: TopChoice | None = None
    harmonisation: Harmonisation | None = None

    def decision(self, values: Floats, scanners: Scanners | None = None) -> Floats:
        """Decision values of cases given by all candidate columns (cases, candidates)."""
        return classifiers.decision(self.model, self.scaling.apply(self.columns(values, scanners)))

    def columns(self, values: Floats, scanners: Scanners | None = None) -> Floats:
        """The kept columns of such cases, harmonised where the recipe harmonises."""
        chosen = values[:, self.kept]
        if self.harmonisation is None or scanners is None:
            return chosen
        return self.harmonisation.on(self.kept).applied(chosen, scanners.number, scanners.covariates)


class NothingSelectedError(InputRejected):
    code = "nothing-selected"


def fit(
    values: Floats,
    positive: Bools,
    columns: tuple[str, ...],
    groups: tuple[str, ...],
    recipe: Training,
    repeats: Floats | None = None,
    patients: Indices | None = None,
    scanners: Scanners | None = None,
) -> Fit:
    """Harmonise scanners, leave out what is not stable, standardise, select, standardise again, fit.

    `repeats`: these cases perturbed, (cases, repeats, columns), where the recipe asks for stable columns. `patients`:
    the number of each case's one, for folds inside these cases, where the recipe leaves the number of columns open.
    `scanners`: their scanner groups, where the recipe harmonises; the estimates are of these cases alone.

    Raises:
        NothingSelectedError: no column passes in any group.
    """
    choice = None
    if recipe.top == "auto":
        choice = choose_top(values, positive, columns, groups, recipe, repeats, patients, scanners)
        recipe = recipe.model_copy(update={"top": choice.top})
    constant, harmonisation = selection.constant_columns(values), None
    if scanners is not None:
        clinical = np.array([group == CLINICAL_GROUP for group in groups])
        constant |= ~clinical & ~combat.varies_within(values, scanners)
        harmonisation = combat.estimated(values, scanners, ~constant & ~clinical)
        repeats = None if repeats is None else _harmonised_repeats(harmonisation, repeats, scanners)
        values = harmonisation.applied(values, scanners.number, scanners.covariates)
    candidates = ~constant
    if recipe.stable_icc is not None and repeats is not None:
        candidates &= selection.stable_columns(repeats, groups, recipe.stable_icc)
    varying = np.flatnonzero(candidates)
    if len(varying) == 0:
        stable = "" if recipe.stable_icc is None else f" and is stable (ICC of at least {recipe.stable_icc:g})"
        raise NothingSelectedError(f"no column varies between the training cases{stable}")
    z_mean, z_std = _moments(values[:, varying], recipe.z_score)
    z = (values[:, varying] - z_mean) / z_std
    chosen, evidence = selection.select(
        z, positive, tuple(columns[j] for j in varying), tuple(groups[j] for j in varying), recipe
    )
    if len(chosen) == 0:
        counts = ", ".join(f"{g}: 0 of {e.candidates}" for g, e in evidence.items())
        raise NothingSelectedError(f"no column passes Welch's t test at P < {recipe.t_test_p} in any group ({counts})")
    z = z[:, chosen]
    s_mean, s_std = _moments(z, recipe.standardise)
    scaling = Scaling(z_mean[chosen], z_std[chosen], s_mean, s_std)
    model = estimators.fit((z - s_mean) / s_std, positive, recipe)
    return Fit(varying[chosen], np.flatnonzero(constant), evidence, scaling, model, choice, harmonisation)


def _harmonised_repeats(harmonisation: Harmonisation, repeats: Floats, scanners: Scanners) -> Floats:
    """Perturbed cases (cases, repeats, columns) harmonised as the cases are: an ICC must not live on scanners."""
    parts = [
        harmonisation.applied(repeats[:, i], scanners.number, scanners.covariates) for i in range(repeats.shape[1])
    ]
    return np.stack(parts, axis=1)


def choose_top(
    values: Floats,
    positive: Bools,
    columns: tuple[str, ...],
    groups: tuple[str, ...],
    recipe: Training,
    repeats: Floats | None = None,
    patients: Indices | None = None,
    scanners: Scanners | None = None,
) -> TopChoice:
    """The number of columns per group whose out-of-fold AUC on these cases is largest; of equal ones the smallest.

    Raises:
        InputRejected: the cases are too few of one class for two folds.
    """
    of = np.arange(len(positive)) if patients is None else patients
    count = min(INNER_FOLDS, len(np.unique(of[positive])), len(np.unique(of[~positive])))
    if count < 2:
        raise InputRejected("too few cases to choose the number of features: give --top", code="few-cases")
    decisions = {top: np.zeros(len(positive)) for top in TOPS}
    with selection.forests_grown_once():  # the ranking of a fold is the same for every number
        for training, held_out in folds(positive, count, recipe.seed, patients):
            mine = None if repeats is None else repeats[training]
            here, there = _parts(scanners, training, held_out)
            for top in TOPS:
                some = recipe.model_copy(update={"top": top})
                try:
                    fitted = fit(values[training], positive[training], columns, groups, some, mine, None, here)
                except NothingSelectedError:
                    break
                decisions[top][held_out] = decisions_of(fitted, values[held_out], there)
    aucs = {top: metrics.auc(decisions[top], positive) for top in TOPS}
    best = max(TOPS, key=lambda top: (aucs[top], -top))
    return TopChoice(top=best, auc={str(top): auc for top, auc in aucs.items()})


def folds(
    strata: Bools | Indices, count: int, seed: int, patients: Indices | None = None
) -> Iterator[tuple[Indices, Indices]]:
    """Stratified folds as (training, held out) indices; shuffled by `seed`. All cases of a patient are in one fold.

    `strata`: the class of each case, or its level of several.

    Raises:
        InputRejected: patients with several cases are so many that a fold lacks a class.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    nothing = np.zeros((len(strata), 1))
    if patients is None or len(np.unique(patients)) == len(patients):
        yield from StratifiedKFold(count, shuffle=True, random_state=seed).split(nothing, strata)
        return
    classes = np.unique(strata)
    fewest = min(len(np.unique(patients[strata == one])) for one in classes)
    for attempt in range(SHUFFLES if fewest >= count else 0):
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed + attempt * 1_000_003)
        parts = list(splitter.split(nothing, strata, patients))
        if all(len(np.unique(strata[held_out])) == len(classes) for _, held_out in parts):
            yield from parts
            return
    raise InputRejected(
        f"no {count} folds by patient have every class: too few patients of one class", code="few-cases"
    )


def out_of_fold(
    values: Floats,
    positive: Bools,
    columns: tuple[str, ...],
    groups: tuple[str, ...],
    recipe: Training,
    progress: Progress | None = None,
    patients: Indices | None = None,
    repeats: Floats | None = None,
    scanners: Scanners | None = None,
) -> tuple[Floats, int]:
    """Decision of each case by a fit that never saw it, and the number of folds in which nothing was selected.

    The whole recipe runs in each fold, so this is `CalibratedClassifierCV(recipe, ensemble=False)`'s way of getting
    scores. Where nothing is selected the fold's decisions are 0: it has no opinion.
    """
    decisions, empty = np.zeros(len(positive)), 0
    for done, (training, held_out) in enumerate(folds(positive, recipe.folds, recipe.seed, patients), 1):
        try:
            mine = None if repeats is None else repeats[training]
            of = None if patients is None else patients[training]
            here, there = _parts(scanners, training, held_out)
            fitted = fit(values[training], positive[training], columns, groups, recipe, mine, of, here)
        except NothingSelectedError:
            empty += 1
        else:
            decisions[held_out] = decisions_of(fitted, values[held_out], there)
        if progress is not None:
            progress(done, recipe.folds)
    return decisions, empty


def decisions_of(fitted: Fit, values: Floats, scanners: Scanners | None) -> Floats:
    """Decision values of cases, on their scanners where the recipe harmonises."""
    return fitted.decision(values) if scanners is None else fitted.decision(values, scanners)


def _parts(scanners: Scanners | None, training: Indices, held_out: Indices) -> tuple[Scanners | None, Scanners | None]:
    return (None, None) if scanners is None else (scanners.of(training), scanners.of(held_out))


def refit_out_of_fold(standardised: Floats, positive: Bools, recipe: Training, count: int = 5) -> Floats:
    """Decisions by the classifier alone refitted in `count` folds, as libsvm does inside: selection saw every case."""
    decisions = np.zeros(len(positive))
    for training, held_out in folds(positive, count, recipe.seed):
        model = estimators.fit(standardised[training], positive[training], recipe)
        decisions[held_out] = classifiers.decision(model, standardised[held_out])
    return decisions


def _moments(values: Floats, wanted: bool) -> tuple[Floats, Floats]:
    """Mean and standard deviation (n - 1, as R's scale) per column; 0 and 1 where the step is switched off."""
    if not wanted:
        return np.zeros(values.shape[1]), np.ones(values.shape[1])
    return values.mean(axis=0), values.std(axis=0, ddof=1)
