"""What a signature has to beat: the tumour's volume, the clinical N stage, all clinical facts, on the same cases."""

from __future__ import annotations

import numpy as np
from scipy import stats
from scipy.special import expit

from pipeline.errors import InputRejected
from pipeline.records import Json
from pipeline.research import calibration, logistic, metrics
from pipeline.research.evaluation import curves
from pipeline.research.evaluation.scored_cohort import Scored, interval
from pipeline.research.tables import design
from pipeline.research.training import fitting
from pipeline.signature import names
from pipeline.signature.record import Floats

CLINICAL_FACTS = "clinical facts"
VOLUME = "original_shape_MeshVolume"
# Cases per clinical column below which what radiomics adds to them is not asked.
CASES_PER_COLUMN = 10
# Of the cross-validation of the clinical columns on the cohort, which no other cohort has fitted.
FOLDS, SEED = 10, 20210628
# Where net benefit with and without the signature is told.
THRESHOLDS = np.array([0.1, 0.2, 0.3, 0.4, 0.5])


def baselines(cohort: Scored) -> tuple[list[Json], list[Json]]:
    """AUC of each variable that the table has, beside the signature's on the same cases (DeLong's P), and the others.

    The clinical facts together are cross-validated on the cohort. The second list names what the table does not have.
    """
    alone = {"tumour volume": _volume(cohort), "clinical N": _stage(cohort), CLINICAL_FACTS: _clinical_alone(cohort)}
    rows = [_beside(cohort, title, values) for title, values in alone.items() if values is not None]
    return rows, [title for title, values in alone.items() if values is None]


def beyond_clinical(cohort: Scored) -> Json:
    """Whether the signature's score adds to the clinical facts in this cohort; None where the table has none.

    Logistic regression of the label on the clinical columns, with and without the score: likelihood ratio, 1 degree of
    freedom (the score test by patient where patients have several rows), and both AUCs. Both are fitted to
    the cohort, so it is a test, not a validation; `cross_validated` has AUCs and net benefit of held-out cases.
    """
    present = tuple(c for c in names.CLINICAL if c in cohort.table.others)
    if not present:
        return None
    try:
        values = _clinical(cohort, present)
    except InputRejected as problem:
        return {"why_not": problem.message}
    whole = ~np.isnan(values).any(axis=1)
    values, positive, scores = values[whole], cohort.positive[whole], cohort.decisions[whole]
    values, patients = _independent(values), cohort.patients[whole]
    row: dict[str, Json] = {"columns": [*present], "n": int(whole.sum())}
    smaller = min(int(positive.sum()), int((~positive).sum()))
    if smaller < CASES_PER_COLUMN or len(values) < CASES_PER_COLUMN * values.shape[1]:
        return {**row, "why_not": f"{len(values)} cases, {smaller} of the smaller class, are too few for it"}
    clinical = _columns(values)
    without = logistic.fit(clinical, positive)
    both = logistic.fit(_columns(clinical[:, 1:], scores), positive)
    if without is None or both is None:
        return {**row, "why_not": "the regression has no finite fit"}
    ratio = max(0.0, 2 * (both.log_likelihood - without.log_likelihood))
    repeats = metrics.has_repeats(patients)
    by_patient = logistic.score_test(clinical, scores[:, None], positive, patients) if repeats else None
    if repeats and by_patient is None:
        return {**row, "why_not": "too few patients"}
    statistic = ratio if by_patient is None else by_patient[0]
    return {
        **row,
        "why_not": None,
        **_aucs(without.linear, both.linear, positive, patients),
        "likelihood_ratio": ratio,
        "test": "score test by patient" if repeats else "likelihood ratio",
        "p": float(stats.chi2.sf(statistic, 1)),
        "cross_validated": _cross_validated(values, scores, positive, patients),
    }


def _cross_validated(values: Floats, scores: Floats, positive: metrics.Bools, patients: metrics.Patients) -> Json:
    """Both regressions on cases that they were not fitted to: AUCs, and net benefit at some thresholds."""
    without = _held_out(values, positive, patients)
    both = _held_out(np.column_stack([values, scores]), positive, patients)
    if without is None or both is None:
        return {"why_not": "in a fold the regression has no finite fit"}
    benefits = [curves.net_benefit_of_each(expit(linear), positive, THRESHOLDS) for linear in (without, both)]
    more = benefits[1] - benefits[0]
    samples = np.array([more[drawn].mean(axis=0) for drawn in calibration.resampled(patients)])
    low, high = np.quantile(samples, (0.025, 0.975), axis=0)
    return {
        "why_not": None,
        "folds": FOLDS,
        **_aucs(without, both, positive, patients),
        "net_benefit": [
            {
                "threshold": float(threshold),
                "clinical": float(benefits[0][:, j].mean()),
                "with_signature": float(benefits[1][:, j].mean()),
                "difference": {"value": float(more[:, j].mean()), "ci": [float(low[j]), float(high[j])]},
            }
            for j, threshold in enumerate(THRESHOLDS)
        ],
    }


def _aucs(without: Floats, both: Floats, positive: metrics.Bools, patients: metrics.Patients) -> dict[str, Json]:
    difference, _ = metrics.delong_difference(both, without, positive, patients)
    return {
        "auc_clinical": interval(metrics.newcombe(without, positive, patients)),
        "auc_with_signature": interval(metrics.newcombe(both, positive, patients)),
        "difference": interval(difference),
    }


def _held_out(values: Floats, positive: metrics.Bools, patients: metrics.Patients) -> Floats | None:
    """Log odds (cases,) by regressions on the other folds of patients; None where one has no finite fit."""
    linear = np.empty(len(positive))
    try:
        parts = list(fitting.folds(positive, FOLDS, SEED, patients))
    except InputRejected:
        return None
    for training, held_out in parts:
        mean, spread = values[training].mean(axis=0), values[training].std(axis=0)
        standardised = np.column_stack([np.ones(len(values)), (values - mean) / np.where(spread > 0, spread, 1.0)])
        fitted = logistic.fit(standardised[training], positive[training])
        if fitted is None:
            return None
        linear[held_out] = standardised[held_out] @ fitted.weights
    return linear


def _clinical_alone(cohort: Scored) -> Floats | None:
    """Log odds by the clinical facts that the table has, of held-out cases; NaN where it cannot be had."""
    present = tuple(c for c in names.CLINICAL if c in cohort.table.others)
    if not present:
        return None
    predicted = np.full(len(cohort.positive), np.nan)
    try:
        values = _clinical(cohort, present)
    except InputRejected:
        return predicted
    whole = ~np.isnan(values).any(axis=1)
    positive, columns = cohort.positive[whole], _independent(values[whole])
    smaller = min(int(positive.sum()), int((~positive).sum()))
    if smaller >= CASES_PER_COLUMN and len(positive) >= CASES_PER_COLUMN * columns.shape[1]:
        linear = _held_out(columns, positive, cohort.patients[whole])
        predicted[whole] = np.nan if linear is None else linear
    return predicted


def _clinical(cohort: Scored, present: tuple[str, ...]) -> Floats:
    return design.matrix(cohort.table, design.clinical_columns(present, cohort.table), present)


def _beside(cohort: Scored, title: str, values: Floats) -> Json:
    known = ~np.isnan(values)
    positive, patients = cohort.positive[known], cohort.patients[known]
    row: dict[str, Json] = {"variable": title, "n": int(known.sum())}
    if positive.all() or not positive.any():
        why = "too few cases, or no finite fit" if title == CLINICAL_FACTS else "no case of one class has a value"
        return {**row, "why_not": why}
    if len(positive) < 4 or min(positive.sum(), (~positive).sum()) < 2:
        return {**row, "why_not": "fewer than two cases of a class have a value"}
    difference, p = metrics.delong_difference(cohort.decisions[known], values[known], positive, patients)
    return {
        **row,
        "why_not": None,
        "auc": interval(metrics.newcombe(values[known], positive, patients)),
        "auc_signature": interval(metrics.newcombe(cohort.decisions[known], positive, patients)),
        "difference": interval(difference),
        "p": p,
    }


def _volume(cohort: Scored) -> Floats | None:
    columns = [f"{sequence}.tumor.{VOLUME}" for sequence in ("t1c", "t2", "adc")]
    place = next((cohort.table.columns.index(c) for c in columns if c in cohort.table.columns), None)
    return None if place is None else cohort.table.features[:, place]


def _stage(cohort: Scored) -> Floats | None:
    if "clinical_n" not in cohort.table.others:
        return None
    try:
        return design.matrix(cohort.table, ("clinical_n",), ("clinical_n",))[:, 0]
    except InputRejected:
        return None


def _independent(values: Floats) -> Floats:
    """The columns that the ones before them and a constant do not already say: of four subtypes three."""
    chosen: list[int] = []
    for j in range(values.shape[1]):
        tried = np.column_stack([np.ones(len(values)), values[:, [*chosen, j]]])
        if len(values) and np.linalg.matrix_rank(tried) == len(chosen) + 2:
            chosen.append(j)
    return values[:, chosen]


def _columns(values: Floats, *more: Floats) -> Floats:
    """The intercept and the standardised columns."""
    parts = [values, *[m[:, None] for m in more]] if more else [values]
    whole = np.column_stack(parts)
    spread = whole.std(axis=0)
    return np.column_stack([np.ones(len(whole)), (whole - whole.mean(axis=0)) / np.where(spread > 0, spread, 1.0)])
