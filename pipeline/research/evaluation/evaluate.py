"""Everything that is known of how well a signature works, as one record, CSV tables and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from pipeline.errors import InputRejected
from pipeline.records import Json
from pipeline.research import agreement, calibration, html_tables, metrics
from pipeline.research.evaluation import answers, baselines, by_site, curves, overlap, prevalence, subgroups, survival
from pipeline.research.evaluation import scored_cohort as cohorts
from pipeline.research.evaluation.scored_cohort import Scored
from pipeline.research.tables import design
from pipeline.research.tables.feature_table import Table
from pipeline.research.training import fitting, nested, selection_stability
from pipeline.signature.gate import MINIMUM_PER_CLASS
from pipeline.signature.record import Signature

SCHEMA = "axrad.evaluation/1"


@dataclass(frozen=True)
class Questions:
    """What to ask beyond the standard figures. Columns a table lacks are skipped, unless they were asked for here."""

    subgroups: tuple[str, ...] = ()
    reading: str | None = None
    survival: tuple[str, str] | None = None
    repeats: int = 10
    alpha: float | None = 0.1
    complete_cases: bool = False
    minimum_per_class: int = MINIMUM_PER_CLASS
    max_outside: float = 0.05
    max_distance: float = 3.0
    prevalence: float | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns the tables must have for it."""
        return (*self.subgroups, *([self.reading] if self.reading else []), *(self.survival or ()))


@dataclass(frozen=True)
class Evaluation:
    """`facts` is `evaluation.json`; `tables` are the CSVs by file name; `curves` the survival curves per cohort."""

    signature: Signature
    facts: dict[str, Json]
    scored: tuple[Scored, ...]
    nested: nested.Nested | None
    tables: Mapping[str, pd.DataFrame]
    curves: Mapping[str, tuple[survival.Curve, ...]] = field(default_factory=dict)


def evaluate(
    signature: Signature,
    tables: Mapping[str, Table],
    questions: Questions | None = None,
    others: Sequence[Signature] = (),
    progress: fitting.Progress | None = None,
) -> Evaluation:
    """Evaluate a signature on cohorts by name; nested cross-validation on the one it was trained on, if it is there.

    `others` are signatures to compare with on the same cases (DeLong).

    Raises:
        InputRejected: a table does not fit the signature, or cohorts share patients.
    """
    questions = questions or Questions()
    scored = [cohorts.score(signature, n, t, complete_cases=questions.complete_cases) for n, t in tables.items()]
    overlap.refuse_shared_patients(signature, scored)
    repeated, unchecked = overlap.repeated_values(signature, scored), overlap.unchecked_overlap(scored)
    cross_validated, training = None, next((name for name, c in zip(tables, scored, strict=True) if c.training), None)
    if training is not None:
        cases = design.for_training(tables[training], signature.header.recipe)
        cross_validated = nested.nested_cv(cases, signature.header.recipe, questions.repeats, progress)
    facts: dict[str, Json] = {
        "schema": SCHEMA,
        "signature": signature.describe(),
        "nested_cv": None if cross_validated is None else _nested(cross_validated, cases),
        "cohorts": {},
    }
    if training is not None:
        facts["leave_one_site_out"] = by_site.leave_one_site_out(tables[training], signature.header.recipe)
    survival_curves: dict[str, tuple[survival.Curve, ...]] = {}
    rows: dict[str, Json] = {}
    for cohort in scored:
        row, survival_curves[cohort.name] = _cohort(signature, cohort, questions, others)
        rows[cohort.name] = {
            **row,
            "rows_with_repeated_values": [*repeated[cohort.name]],
            "patients_not_compared_with": [*unchecked[cohort.name]],
        }
    facts["cohorts"] = rows
    csv: dict[str, pd.DataFrame] = {}
    if cross_validated is not None:
        csv = {f"{name}_nested.csv": table for name, table in _curves(cross_validated).items()}
        csv["nested_cv.csv"] = _nested_table(cross_validated)
    for cohort in scored:
        csv.update(_tables(cohort, rows[cohort.name]))
        if questions.prevalence is not None and not cohort.training:
            moved = prevalence.probabilities(signature, cohort, questions.prevalence)
            csv[f"scores_{cohort.name}.csv"]["probability_at_prevalence"] = moved
    return Evaluation(signature, facts, tuple(scored), cross_validated, csv, survival_curves)


def _cohort(
    signature: Signature, cohort: Scored, questions: Questions, others: Sequence[Signature]
) -> tuple[dict[str, Json], tuple[survival.Curve, ...]]:
    facts = cohorts.figures(signature, cohort, questions.alpha, questions.minimum_per_class)
    if cohort.training:
        # Scores of the cases that the signature was fitted to say nothing of subgroups, readers or other signatures.
        return facts, ()
    rules = answers.Rules(questions.max_outside, questions.max_distance, questions.alpha)
    facts["baselines"], facts["baselines_missing"] = baselines.baselines(cohort)
    facts["beyond_clinical"] = baselines.beyond_clinical(cohort)
    if questions.prevalence is not None:
        facts["at_prevalence"] = prevalence.at_prevalence(signature, cohort, questions.prevalence)
    facts["as_answered"] = answers.as_answered(signature, cohort, rules)
    present = cohort.table.others
    columns = [*questions.subgroups, *(c for c in subgroups.DEFAULT if c in present and c not in questions.subgroups)]
    facts.update(subgroups.in_parts(signature, cohort, columns, questions.minimum_per_class))
    if "positive_nodes" in present:
        facts["positive_nodes"] = subgroups.by_positive_nodes(cohort)
    reading = questions.reading or ("reading" if "reading" in present else None)
    if reading is not None:
        facts["reading"] = subgroups.against_reading(signature, cohort, reading)
    facts["comparisons"] = [compare(signature, other, cohort, questions.complete_cases) for other in others]
    pair = questions.survival or ("survival_time", "survival_event")
    if all(c in present for c in pair):
        facts["survival"], drawn = survival.analyse(signature, cohort, *pair)
        return facts, drawn
    return facts, ()


def compare(signature: Signature, other: Signature, cohort: Scored, complete_cases: bool) -> dict[str, Json]:
    """Another signature on the same cases: its AUC, the difference, DeLong's P; agreement and reclassification by it.

    Raises:
        InputRejected: the other has another positive class or needs columns the table lacks.
    """
    signature.require_positive(other.header.positive_value)
    other_scored = cohorts.score(other, cohort.name, cohort.table, complete_cases=complete_cases)
    if other_scored.table.ids != cohort.table.ids:
        raise InputRejected(
            f"{cohort.table.name}: {other.header.title} has no value for cases that {signature.header.title} scores; "
            f"evaluate {other.header.title} and compare {signature.header.title} with it",
            code="missing-values",
        )
    ours = cohort.probabilities >= signature.header.cutoff
    others = other_scored.probabilities >= other.header.cutoff
    difference, p = metrics.delong_difference(
        cohort.decisions, other_scored.decisions, cohort.positive, cohort.patients
    )
    return {
        "other": other.header.title,
        "other_sha256": other.sha256,
        "other_auc": cohorts.interval(metrics.newcombe(other_scored.decisions, cohort.positive, cohort.patients)),
        "difference": cohorts.interval(difference),
        "p": p,
        **agreement.comparison(others, ours, cohort.positive, cohort.patients),
    }


def _nested(result: nested.Nested, cases: design.Design) -> dict[str, Json]:
    accuracy = metrics.accuracy_table(result.called, cases.positive, result.patients)
    return {
        "auc": result.auc.value,
        "ci": [result.auc.low, result.auc.high],
        "repeats": int(result.fold_aucs.shape[0]),
        "folds": int(result.fold_aucs.shape[1]),
        "empty_folds": result.empty_folds,
        "n": len(cases.positive),
        "at_cutoff": {k: cohorts.interval(v) for k, v in accuracy.items()},
        "cutoffs": list(result.cutoffs),
        "selection": _selection(result, cases),
        **cohorts.calibration_figures(result.probabilities, cases.positive, result.patients),
    }


def _selection(result: nested.Nested, cases: design.Design) -> dict[str, Json]:
    """How much the chosen columns depend on the fold; those that at least half of the folds chose, by frequency."""
    steady = selection_stability.stability(result.chosen)
    order = np.argsort(-steady.frequency, kind="stable")
    often: dict[str, Json] = {
        cases.columns[j]: round(float(steady.frequency[j]), 4) for j in order if steady.frequency[j] >= 0.5
    }
    nogueira: Json = {"value": steady.nogueira, "ci": [steady.low, steady.high]}
    if np.isnan(steady.nogueira):
        nogueira = None
    return {"fits": len(result.chosen), "jaccard": steady.jaccard, "nogueira": nogueira, "chosen_by_half": often}


def _nested_table(result: nested.Nested) -> pd.DataFrame:
    repeats, folds = result.fold_aucs.shape
    return pd.DataFrame(
        {
            "repeat": np.repeat(np.arange(1, repeats + 1), folds),
            "fold": np.tile(np.arange(1, folds + 1), repeats),
            "auc": result.fold_aucs.ravel(),
        }
    )


def _curves(cohort: curves.Predicted) -> dict[str, pd.DataFrame]:
    return {
        "calibration": curves.calibration_table(cohort),
        "calibration_curve": calibration.smooth_curve(cohort.probabilities, cohort.positive, cohort.patients),
        "decision_curve": curves.decision_curve_table(cohort),
    }


def _tables(cohort: Scored, facts: Json) -> dict[str, pd.DataFrame]:
    assert isinstance(facts, dict)
    tables = {
        "scores": pd.DataFrame(
            {
                "id": cohort.table.ids,
                "positive": cohort.positive.astype(int),
                "decision": cohort.decisions,
                "probability": cohort.probabilities,
                "outside_training_range": cohort.outside.astype(int),
            }
        ),
        "roc": curves.roc_table(cohort.decisions, cohort.positive),
        "precision_recall": curves.precision_recall_table(cohort.decisions, cohort.positive),
    }
    if not cohort.training:
        tables.update(_curves(cohort))
    for name in ("subgroups", "positive_nodes"):
        rows = facts.get(name)
        if rows:
            tables[name] = pd.json_normalize(rows)
    fairness = facts.get("fairness")
    if isinstance(fairness, dict) and isinstance(columns := fairness["columns"], list) and columns:
        rows = [row for row in html_tables.rows(facts["subgroups"]) if row["column"] in columns]
        tables["fairness"] = pd.json_normalize(rows)
    return {f"{name}_{cohort.name}.csv": table for name, table in tables.items()}
