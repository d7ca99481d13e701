"""The paper's classifier on given columns, scored with one positive class or as the published script scores it.

R's e1071 `svm(..., kernel="radial", cost=1, gamma=1/p, scale=TRUE)`: C-classification on columns standardised with
training statistics (sample standard deviation).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_curve
from sklearn.model_selection import RepeatedStratifiedKFold, StratifiedKFold
from sklearn.svm import SVC

from pipeline.research.metrics import auc
from pipeline.research.reproduce.released_tables import Bools, Cohort, Floats


@dataclass(frozen=True)
class Machine:
    """A fitted SVM. `mean`, `deviation`: training statistics of each column (0 and 1 without standardising)."""

    model: SVC
    mean: pd.Series
    deviation: pd.Series

    def scores(self, table: pd.DataFrame) -> Floats:
        """Decision values: larger means node-positive (R), whatever table it is."""
        return np.asarray(self.model.decision_function(((table - self.mean) / self.deviation).to_numpy()), dtype=float)


def fit(table: pd.DataFrame, positive: Bools, *, standardise: bool = True) -> Machine:
    """Fit on all rows."""
    mean = table.mean() if standardise else table.mean() * 0
    deviation = table.std(ddof=1) if standardise else table.std() * 0 + 1
    model = SVC(C=1.0, kernel="rbf", gamma=1 / table.shape[1])
    return Machine(model.fit(((table - mean) / deviation).to_numpy(), positive), mean, deviation)


def aucs(machine: Machine, cohorts: dict[str, Cohort]) -> dict[str, float]:
    """AUC per cohort with the one positive class R."""
    return {name: auc(machine.scores(cohort.design()), cohort.positive) for name, cohort in cohorts.items()}


def cross_validated_auc(cohort: Cohort, repeats: int = 10, seed: int = 0) -> tuple[float, float]:
    """Mean and standard deviation of the AUC of five-fold cross-validation on the columns as selected beforehand.

    The columns were chosen with all patients, so this is still too good.
    """
    table, areas = cohort.design(), []
    for train, test in RepeatedStratifiedKFold(n_splits=5, n_repeats=repeats, random_state=seed).split(
        table, cohort.positive
    ):
        machine = fit(table.iloc[train], cohort.positive[train])
        areas.append(auc(machine.scores(table.iloc[test]), cohort.positive[test]))
    return float(np.mean(areas)), float(np.std(areas))


def platt(cohort: Cohort, machine: Machine, seed: int = 0) -> Floats:
    """Probabilities of R as libsvm makes them: a sigmoid fitted on five-fold decision values (Platt 1999)."""
    table = cohort.design()
    held_out = np.empty(len(table))
    for train, test in StratifiedKFold(5, shuffle=True, random_state=seed).split(table, cohort.positive):
        held_out[test] = fit(table.iloc[train], cohort.positive[train]).scores(table.iloc[test])
    sigmoid = LogisticRegression(C=np.inf).fit(held_out[:, None], cohort.positive)
    return np.asarray(sigmoid.predict_proba(machine.scores(table)[:, None])[:, 1], dtype=float)


def youden(scores: Floats, positive: Bools) -> float:
    """The cutoff (score at least that high: positive) with the largest sensitivity + specificity - 1."""
    false, true, cutoffs = roc_curve(positive, scores, drop_intermediate=False)
    return float(cutoffs[np.argmax(true - false)])


def net_benefit(scores: Floats, positive: Bools, thresholds: Floats) -> Floats:
    """Net benefit at each threshold probability (Vickers and Elkin 2006): TP/n - FP/n * p/(1-p)."""
    called = scores[None, :] >= thresholds[:, None]
    odds = thresholds / (1 - thresholds)
    return np.asarray((called & positive).mean(axis=1) - (called & ~positive).mean(axis=1) * odds, dtype=float)
