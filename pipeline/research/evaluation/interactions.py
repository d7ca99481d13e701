"""Does the signature do better in one part of a cohort than in another? Tests of slope and AUC between levels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from pipeline.records import Json
from pipeline.research import logistic, metrics
from pipeline.research.evaluation.scored_cohort import Scored
from pipeline.research.metrics import Bools
from pipeline.signature import clustered
from pipeline.signature.record import Floats

Level = tuple[str, Bools]


def of_column(cohort: Scored, column: str, levels: Sequence[Level], minimum: int) -> dict[str, Json]:
    """Whether slope and AUC of the score differ between the levels of a column (name, bool per case).

    Slope: logistic regression of the outcome on level, score, and score x level; likelihood ratio of the last, or
    the score test by patient where patients have several cases. AUC: Wald's test of equal logits,
    variances and covariances by patient (DeLong's where each has one case). Levels with fewer than `minimum` patients
    of a class are left out; with fewer than two others nothing is tested.
    """
    used = [(name, which) for name, which in levels if _fewest(cohort, which) >= minimum]
    tested = {name for name, _ in used}
    row: dict[str, Json] = {
        "column": column,
        "levels": [name for name, _ in used],
        "left_out": [name for name, _ in levels if name not in tested],
        "why_not": None,
    }
    if len(used) < 2:
        why = f"fewer than two levels have {minimum} patients of either class"
        return {**row, "why_not": why, "slope": None, "auc": None}
    return {**row, "slope": _slopes(cohort, used), "auc": _aucs(cohort, [which for _, which in used])}


def adjust(rows: Sequence[dict[str, Json]]) -> int:
    """Add `p_adjusted` (Holm) to every test of these rows, all of them one family; the number of tests."""
    tests = [test for row in rows for name in ("slope", "auc") if isinstance(test := row[name], dict) and "p" in test]
    for test, p in zip(tests, metrics.holm([float(str(test["p"])) for test in tests]), strict=True):
        test["p_adjusted"] = p
    return len(tests)


def _fewest(cohort: Scored, which: Bools) -> int:
    """Patients of the smaller class among these cases."""
    return min(len(np.unique(cohort.patients[which & of_class])) for of_class in (cohort.positive, ~cohort.positive))


def _slopes(cohort: Scored, used: Sequence[Level]) -> Json:
    some = np.any([which for _, which in used], axis=0)
    score, patients = cohort.decisions[some], cohort.patients[some]
    score = (score - score.mean()) / (score.std() or 1.0)
    level = np.column_stack([which[some] for _, which in used]).astype(np.float64)
    alike = np.column_stack([level, score])
    whole = np.column_stack([alike, level[:, 1:] * score[:, None]])
    positive, more = cohort.positive[some], level.shape[1] - 1
    without, both = logistic.fit(alike, positive), logistic.fit(whole, positive)
    if without is None or both is None:
        return {"why_not": "the regression has no finite fit"}
    name, value = "likelihood ratio", max(0.0, 2 * (both.log_likelihood - without.log_likelihood))
    if metrics.has_repeats(patients):
        by_patient = logistic.score_test(alike, whole[:, -more:], positive, patients)
        if by_patient is None:
            return {"why_not": "too few patients for so many levels"}
        name, value = "score test by patient", by_patient[0]
    slopes = both.weights[-more - 1] + np.concatenate([[0.0], both.weights[-more:]])
    return {
        "test": name,
        "statistic": value,
        "df": more,
        "p": float(stats.chi2.sf(value, more)),
        "slopes": dict(zip([name for name, _ in used], slopes.tolist(), strict=True)),
    }


def _aucs(cohort: Scored, used: Sequence[Bools]) -> Json:
    numbers, place = np.unique(cohort.patients, return_inverse=True)
    place = place.reshape(-1)
    values, influence = [], np.zeros((len(numbers), len(used)))
    for j, which in enumerate(used):
        positive = cohort.positive[which]
        above, below = clustered.placements(cohort.decisions[which], positive)
        values.append(float(above.mean()))
        rows = place[which]
        for part, patients in ((above, rows[positive]), (below, rows[~positive])):
            many = len(np.unique(patients))
            # Scaled so that with one case per patient the sum of squares is DeLong's variance.
            np.add.at(influence[:, j], patients, np.sqrt(many / (many - 1)) * (part - part.mean()) / len(part))
    auc = np.array(values)
    if ((auc <= 0) | (auc >= 1)).any():
        return {"why_not": "a level is separated wholly: its AUC has no variance"}
    # On the scale of the logit: with 10 + 10 cases per level an AUC of 0.6 to 0.92 then passes P < 0.05 in 1 to 7 %.
    scaled = influence / (auc * (1 - auc))
    logits, contrast = np.log(auc / (1 - auc)), np.eye(len(used))[1:] - np.eye(len(used))[0]
    value = _wald(contrast @ logits, contrast @ (scaled.T @ scaled) @ contrast.T)
    if value is None:
        return {"why_not": "the AUC of a level has no variance"}
    return {
        "test": "Wald, logit of AUC",
        "statistic": value,
        "df": len(used) - 1,
        "p": float(stats.chi2.sf(value, len(used) - 1)),
    }


def _wald(estimates: Floats, covariance: Floats) -> float | None:
    """The quadratic form; None where the covariance is singular."""
    if np.linalg.matrix_rank(covariance) < len(estimates):
        return None
    return float(estimates @ np.linalg.solve(covariance, estimates))
