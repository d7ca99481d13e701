"""Leave-one-site-out: each site of the training table judged by a signature made from the other sites."""

from __future__ import annotations

import numpy as np

from config.schema import Training
from pipeline.records import Json
from pipeline.research.evaluation.scored_cohort import interval
from pipeline.research.metrics import newcombe
from pipeline.research.tables import design
from pipeline.research.tables.feature_table import Table
from pipeline.research.tables.row_names import NOBODY
from pipeline.research.training import combat, fitting

COLUMNS = ("site", "centre")


def leave_one_site_out(table: Table, recipe: Training) -> Json:
    """Per site its AUC by the whole recipe fitted to all others; None where the table names fewer than two sites.

    A patient who was seen at both places is left out of the fit. A site of one class, or one without which nothing can
    be fitted, has no AUC and says why.
    """
    column = next((c for c in COLUMNS if c in table.others), None)
    if column is None:
        return None
    cases = design.for_training(table, recipe)
    sites = np.array([str(cell).strip() for cell in table.others[column]])[cases.kept_rows]
    named = [site for site in sorted(set(sites)) if site not in NOBODY]
    if len(named) < 2:
        return None
    return {"column": column, "sites": [_judged(cases, recipe, site, sites == site) for site in named]}


def _judged(cases: design.Design, recipe: Training, site: str, here: np.ndarray) -> Json:
    patients = np.arange(len(here)) if cases.patients is None else cases.patients
    elsewhere = ~here & ~np.isin(patients, patients[here])
    positive = cases.positive[here]
    row: dict[str, Json] = {"site": site, "n": int(here.sum()), "positives": int(positive.sum()), "auc": None}
    if positive.all() or not positive.any():
        return {**row, "why_not": "the site has one class only"}
    classes = cases.positive[elsewhere]
    if min(classes.sum(), (~classes).sum()) < 2:
        return {**row, "why_not": "fewer than two cases of a class are left without it"}
    mine = None if cases.scanners is None else cases.scanners.of(here)
    if mine is not None and cases.scanners is not None:
        counts = np.bincount(cases.scanners.number[elsewhere], minlength=len(mine.groups))
        if (counts[mine.number] < combat.LEAST_CASES).any():
            return {**row, "why_not": "the other sites have no exams of its scanner group"}
    try:
        of = None if cases.patients is None else cases.patients[elsewhere]
        repeats = None if cases.repeats is None else cases.repeats[elsewhere]
        others = None if cases.scanners is None else cases.scanners.of(elsewhere)
        fitted = fitting.fit(cases.values[elsewhere], classes, cases.columns, cases.groups, recipe, repeats, of, others)
    except fitting.NothingSelectedError:
        return {**row, "why_not": "no column passes selection without it"}
    estimate = newcombe(fitted.decision(cases.values[here], mine), positive, patients[here])
    return {**row, "auc": interval(estimate), "why_not": None}
