"""What a signature has to beat: the tumour's volume, the clinical N stage, all clinical facts, on the same cases."""

from __future__ import annotations

import numpy as np
from scipy import stats

from pipeline.errors import InputRejected
from pipeline.records import Json
from pipeline.research import logistic, metrics
from pipeline.research.evaluation.scored_cohort import Scored, interval
from pipeline.research.tables import design
from pipeline.signature import names
from pipeline.signature.record import Floats

VOLUME = "original_shape_MeshVolume"
# Cases per clinical column below which what radiomics adds to them is not asked.
CASES_PER_COLUMN = 10


def baselines(cohort: Scored) -> list[Json]:
    """AUC of each single variable that the table has, beside the signature's on the same cases (DeLong's P)."""
    alone = [("tumour volume", _volume(cohort)), ("clinical N", _stage(cohort))]
    return [_beside(cohort, title, values) for title, values in alone if values is not None]


def beyond_clinical(cohort: Scored) -> Json:
    """Whether the signature's score adds to the clinical facts in this cohort; None where the table has none.

    Logistic regression of the label on the clinical columns, with and without the score: likelihood ratio, 1 degree of
    freedom, and both AUCs. Both are fitted to the cohort, so it is a test, not a validation.
    """
    present = tuple(c for c in names.CLINICAL if c in cohort.table.others)
    if not present:
        return None
    columns = design.clinical_columns(present, cohort.table)
    try:
        values = design.matrix(cohort.table, columns, present)
    except InputRejected as problem:
        return {"why_not": problem.message}
    whole = ~np.isnan(values).any(axis=1)
    values, positive, scores = values[whole], cohort.positive[whole], cohort.decisions[whole]
    values = _independent(values)
    row: dict[str, Json] = {"columns": [*present], "n": int(whole.sum())}
    smaller = min(int(positive.sum()), int((~positive).sum()))
    if smaller < CASES_PER_COLUMN or len(values) < CASES_PER_COLUMN * values.shape[1]:
        return {**row, "why_not": f"{len(values)} cases, {smaller} of the smaller class, are too few for it"}
    clinical = _columns(values)
    without, both = logistic.fit(clinical, positive), logistic.fit(_columns(clinical[:, 1:], scores), positive)
    if without is None or both is None:
        return {**row, "why_not": "the regression has no finite fit"}
    ratio = max(0.0, 2 * (both.log_likelihood - without.log_likelihood))
    difference, _ = metrics.delong_difference(both.linear, without.linear, positive)
    return {
        **row,
        "why_not": None,
        "auc_clinical": interval(metrics.newcombe(without.linear, positive)),
        "auc_with_signature": interval(metrics.newcombe(both.linear, positive)),
        "difference": interval(difference),
        "likelihood_ratio": ratio,
        "p": float(stats.chi2.sf(ratio, 1)),
    }


def _beside(cohort: Scored, title: str, values: Floats) -> Json:
    known = ~np.isnan(values)
    positive, patients = cohort.positive[known], cohort.patients[known]
    row: dict[str, Json] = {"variable": title, "n": int(known.sum())}
    if positive.all() or not positive.any():
        return {**row, "why_not": "no case of one class has a value"}
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
