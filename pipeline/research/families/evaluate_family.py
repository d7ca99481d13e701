"""A family judged on cohorts: each member on the exams that have what it reads, all of them on the same exams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from pipeline.errors import InputRejected
from pipeline.records import Json
from pipeline.research import metrics
from pipeline.research.evaluation import scored_cohort
from pipeline.research.evaluation.evaluate import Evaluation, Questions, compare, evaluate
from pipeline.research.families import metrics_table
from pipeline.research.tables import design
from pipeline.research.tables.feature_table import Table
from pipeline.research.training import fitting
from pipeline.signature.family import Family
from pipeline.signature.record import Signature

SCHEMA = "axrad.family-evaluation/1"
# No exam of a cohort has what a member reads, or exams of one class alone. Any other fault of a table is an error.
NOT_THERE = ("missing-columns", "one-class")
# Exams of each class, for an interval of the difference.
FEWEST = 2


@dataclass(frozen=True)
class FamilyEvaluation:
    """`evaluations`: of each member that some cohort can judge, in the written order. `facts`: `evaluation.json`."""

    family: Family
    evaluations: tuple[Evaluation, ...]
    facts: dict[str, Json]


def evaluate_family(
    family: Family,
    tables: Mapping[str, Table],
    questions: Questions | None = None,
    progress: fitting.Progress | None = None,
) -> FamilyEvaluation:
    """Evaluate every member on each cohort that has exams for it, and compare the members on the same exams.

    Raises:
        InputRejected: a table does not fit the family, cohorts share patients, or no cohort has exams for any member.
    """
    questions = questions or Questions()
    evaluations: list[Evaluation] = []
    rows: list[Json] = []
    readers: dict[str, list[Signature]] = {name: [] for name in tables}
    alone = {name: _clinical_alone(family, name, table, questions.complete_cases) for name, table in tables.items()}
    for number, member in enumerate(family.members):
        why = {name: _why_not(member, name, table, questions.complete_cases) for name, table in tables.items()}
        able = {name: table for name, table in tables.items() if not why[name]}
        evaluation = evaluate(member, able, questions) if able else None
        evaluations += [evaluation] if evaluation else []
        for name in able:
            readers[name].append(member)
        rows.append(_member(member, evaluation, why))
        if progress is not None:
            progress(number + 1, len(family.members))
    if not evaluations:
        reasons = (
            _why_not(family.members[-1], name, table, questions.complete_cases) for name, table in tables.items()
        )
        raise InputRejected(f"no member of {family.title} can be judged: {'; '.join(reasons)}", code="missing-columns")
    facts: dict[str, Json] = {
        "schema": SCHEMA,
        "name": family.name,
        "version": family.version,
        "members": rows,
        "comparison": {
            n: _comparison(readers[n], alone[n], n, table, questions.complete_cases) for n, table in tables.items()
        },
    }
    return FamilyEvaluation(family, tuple(evaluations), facts)


def _why_not(member: Signature, name: str, table: Table, complete_cases: bool) -> str:
    """Why a cohort cannot judge a member; "" where it can."""
    try:
        scored_cohort.score(member, name, table, complete_cases=complete_cases)
    except InputRejected as error:
        if error.code not in NOT_THERE:
            raise
        return error.message
    return ""


def _member(member: Signature, evaluation: Evaluation | None, why: Mapping[str, str]) -> dict[str, Json]:
    judged = evaluation.facts["cohorts"] if evaluation else {}
    assert isinstance(judged, dict)
    return {
        "name": member.header.title,
        "sha256": member.sha256,
        "reads": [*sorted(member.inputs)],
        "nested_cv": evaluation.facts["nested_cv"] if evaluation else None,
        "cohorts": {name: {"why_not": reason} if reason else judged[name] for name, reason in why.items()},
    }


def _clinical_alone(family: Family, name: str, table: Table, complete_cases: bool) -> Signature | None:
    """The family's signature on the clinical variables alone, where the cohort can judge it."""
    alone = family.clinical_alone
    return None if alone is None or _why_not(alone, name, table, complete_cases) else alone


def _comparison(
    readers: Sequence[Signature], alone: Signature | None, name: str, table: Table, complete_cases: bool
) -> dict[str, Json]:
    """The members that a cohort can judge, on the exams that all of them read, against the first of them.

    `alone`: on the clinical variables alone; beside them in the table of metrics, on the same exams.
    """
    if len(readers) < 2:
        return {"why_not": "fewer than two members can be judged", "members": []}
    first, *others = readers
    beside = [*readers, *([] if alone is None else [alone])]
    common = table.rows(_read_by_all(beside, table, complete_cases))
    positives, negatives = int(common.positive.sum()), int((~common.positive).sum())
    counts: dict[str, Json] = {"n": len(common), "positives": positives, "negatives": negatives}
    if min(positives, negatives) < FEWEST:
        return {**counts, "why_not": "too few exams are complete for every member", "members": []}
    scored = scored_cohort.score(first, name, common, complete_cases=complete_cases)
    area = metrics.newcombe(scored.decisions, scored.positive, scored.patients)
    rows: list[Json] = [{"name": first.header.title, "auc": area.value, "ci": [area.low, area.high]}]
    for other in others:
        comparison = compare(first, other, scored, complete_cases)
        without: list[Json] = [*sorted(first.inputs - other.inputs)]
        rows.append({"name": other.header.title, "without": without, **comparison})
    return {**counts, "against": first.header.title, "members": rows, **_metrics(beside, alone, name, common)}


def _metrics(signatures: Sequence[Signature], alone: Signature | None, name: str, common: Table) -> dict[str, Json]:
    """Every signature on the same exams, and each pair by DeLong's test."""
    scored = {
        metrics_table.CLINICAL_ALONE if one is alone else one.header.title: (
            one, scored_cohort.score(one, name, common, complete_cases=True)
        )
        for one in signatures
    }  # fmt: skip
    rows: list[Json] = []
    for title, (one, cohort) in scored.items():
        auc = metrics.newcombe(cohort.decisions, cohort.positive, cohort.patients)
        called = cohort.probabilities >= one.header.cutoff
        rows.append(metrics_table.row(title, sorted(one.inputs), auc, called, cohort.positive, cohort.patients))
    pairs = []
    for (a, (_, x)), (b, (_, y)) in combinations(scored.items(), 2):
        tested = metrics.delong_difference(x.decisions, y.decisions, x.positive, x.patients)
        pairs.append(metrics_table.pair(a, b, *tested))
    return {"metrics": rows, "comparisons": metrics_table.with_holm(pairs)}


def _read_by_all(readers: Sequence[Signature], table: Table, complete_cases: bool) -> npt.NDArray[np.bool_]:
    """Per row of a table whether it has all that each of these reads."""
    complete = []
    for member in readers:
        columns = member.header.columns
        values = design.matrix(table, columns, member.header.clinical)
        complete.append(design.complete(values, columns, table, complete_cases))
    return np.asarray(np.logical_and.reduce(complete), dtype=np.bool_)
