"""Which columns a signature keeps: Welch's t test, then a random forest's mean decrease in Gini, per group.

Everything here sees only the cases it is given; the caller passes training cases alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
import numpy.typing as npt
from scipy import stats

from config.schema import Training
from pipeline.features.intraclass import one_way
from pipeline.research.tables.design import CLINICAL_GROUP
from pipeline.research.tables.numbers import SMALLEST
from pipeline.signature.record import Floats, GroupEvidence

Indices = npt.NDArray[np.intp]
FEWEST_CASES = 3
_FORESTS: ContextVar[dict[bytes, Floats] | None] = ContextVar("_FORESTS", default=None)


def constant_columns(values: Floats) -> npt.NDArray[np.bool_]:
    """Columns without spread: all cells equal to within rounding, or so nearly that the square of it is nothing."""
    spread = np.ptp(values, axis=0)
    return np.asarray(spread <= np.maximum(1e-12 * np.abs(values).max(axis=0), SMALLEST))


def stable_columns(repeats: Floats, groups: tuple[str, ...], least: float) -> npt.NDArray[np.bool_]:
    """Columns whose ICC(1,1) over the perturbations (cases, repeats, columns) of these cases is at least `least`.

    A case counts for a column where it has every repeat; a column with fewer than three such cases is not known to be
    stable. Clinical columns are: nothing perturbs them.
    """
    clinical = np.array([group == CLINICAL_GROUP for group in groups])
    complete = np.isfinite(repeats).all(axis=1)
    stable = clinical.copy()
    patterns, members = np.unique(complete, axis=1, return_inverse=True)
    for number in range(patterns.shape[1]):
        columns = np.flatnonzero((members.reshape(-1) == number) & ~clinical)
        cases = np.flatnonzero(patterns[:, number])
        if len(columns) and len(cases) >= FEWEST_CASES and repeats.shape[1] > 1:
            icc = one_way(repeats[np.ix_(cases, np.arange(repeats.shape[1]), columns)]).value
            stable[columns] = icc >= least
    return stable


def welch_p(values: Floats, positive: npt.NDArray[np.bool_]) -> Floats:
    """Two-sided P of Welch's t test per column; 0 where two constant classes differ, 1 where they are equal.

    A class of a single case has no variance to test with: 1 for every column.
    """
    a, b = values[positive], values[~positive]
    if min(len(a), len(b)) < 2:
        return np.ones(values.shape[1])
    va, vb = a.var(axis=0, ddof=1) / len(a), b.var(axis=0, ddof=1) / len(b)
    difference, variance = a.mean(axis=0) - b.mean(axis=0), va + vb
    with np.errstate(divide="ignore", invalid="ignore"):
        t = difference / np.sqrt(variance)
        freedom = variance**2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
        p = 2 * stats.t.sf(np.abs(t), freedom)
    return np.where(variance > 0, p, np.where(difference != 0, 0.0, 1.0))


def category_p(levels: Floats, positive: npt.NDArray[np.bool_]) -> float:
    """P of the chi-squared test of independence between a category (a two-valued column per level) and the class."""
    is_level = levels > levels.min(axis=0)
    counts = np.vstack([is_level[positive].sum(axis=0), is_level[~positive].sum(axis=0)])
    counts = counts[:, counts.sum(axis=0) > 0]
    return float(stats.chi2_contingency(counts, correction=False).pvalue) if counts.shape[1] > 1 else 1.0


def select(
    values: Floats, positive: npt.NDArray[np.bool_], columns: tuple[str, ...], groups: tuple[str, ...], recipe: Training
) -> tuple[Indices, dict[str, GroupEvidence]]:
    """Indices of the kept columns, ascending, and what happened in each group. Values have no constant column.

    `recipe.top` is a number by now, or None.
    """
    assert recipe.top != "auto"
    selected: list[int] = []
    evidence: dict[str, GroupEvidence] = {}
    for number, group in enumerate(dict.fromkeys(groups)):
        in_group = np.flatnonzero([g == group for g in groups])
        passing = _passing(values, positive, columns, in_group, recipe, clinical=group == CLINICAL_GROUP)
        chosen = passing
        if group != CLINICAL_GROUP and recipe.top is not None and len(passing) > recipe.top:
            importance = gini_importance(values[:, passing], positive, recipe.trees, recipe.seed + number)
            # Ties go to the earlier column, so that the order of equal importances is no accident.
            chosen = passing[np.argsort(-importance, kind="stable")[: recipe.top]]
        evidence[group] = GroupEvidence(candidates=len(in_group), passed=len(passing), kept=len(chosen))
        selected.extend(chosen.tolist())
    return np.array(sorted(selected), dtype=np.intp), evidence


def gini_importance(values: Floats, positive: npt.NDArray[np.bool_], trees: int, seed: int) -> Floats:
    """Mean decrease in Gini impurity per column, over a forest of `trees` trees."""
    known = _FORESTS.get()
    if known is None:
        return _grown(values, positive, trees, seed)
    key = hashlib.sha256(f"{trees} {seed} {values.shape}".encode() + positive.tobytes() + values.tobytes()).digest()
    if key not in known:
        known[key] = _grown(values, positive, trees, seed)
    return known[key]


@contextmanager
def forests_grown_once() -> Iterator[None]:
    """Within it, the importances of a forest on the same values are computed once: members of a family share groups."""
    token = _FORESTS.set({})
    try:
        yield
    finally:
        _FORESTS.reset(token)


def _grown(values: Floats, positive: npt.NDArray[np.bool_], trees: int, seed: int) -> Floats:
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(n_estimators=trees, random_state=seed % 2**32, n_jobs=-1)
    forest.fit(values, positive.astype(np.int64))
    return np.asarray(forest.feature_importances_, dtype=np.float64)


def _passing(
    values: Floats,
    positive: npt.NDArray[np.bool_],
    columns: tuple[str, ...],
    in_group: Indices,
    recipe: Training,
    *,
    clinical: bool,
) -> Indices:
    if recipe.t_test_p is None:
        return in_group
    p = welch_p(values[:, in_group], positive)
    if clinical:
        variables = [columns[j].split("=")[0] for j in in_group]
        for variable in {v for v, j in zip(variables, in_group, strict=True) if "=" in columns[j]}:
            levels = np.flatnonzero([v == variable for v in variables])
            p[levels] = category_p(values[:, in_group[levels]], positive)
    return in_group[p < recipe.t_test_p]
