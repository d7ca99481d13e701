"""A cohort in parts: clinical subgroups, the number of positive nodes, and a radiologist's reading beside the score."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pipeline.errors import InputRejected
from pipeline.records import Json
from pipeline.research import metrics
from pipeline.research.evaluation.scored_cohort import Scored, interval
from pipeline.signature import names
from pipeline.signature.record import Signature

Bools = npt.NDArray[np.bool_]
DEFAULT = (*names.CLINICAL, "manufacturer", "scanner", "model", "field_strength_t", "centre", "site")
# Cut points of the paper's subgroups: age 50 years, Ki-67 20 % (St Gallen 2013).
CUTS = {"age_years": 50.0, "ki67_percent": 20.0}
MANY = 6


def by_column(signature: Signature, cohort: Scored, column: str) -> list[Json]:
    """AUC and accuracy at the cutoff in each level of a column.

    A number is cut at its usual point, or at the cohort's median where it has more than six values. Levels with
    fewer than two cases of a class have no AUC, and say so.
    """
    rows: list[Json] = []
    for level, which in _levels(column, cohort.table.others[column]):
        positive = cohort.positive[which]
        enough = min(int(positive.sum()), int((~positive).sum())) >= 2
        area = metrics.newcombe(cohort.decisions[which], positive, cohort.patients[which]) if enough else None
        called = cohort.probabilities[which] >= signature.header.cutoff
        accuracy = metrics.accuracy_table(called, positive, cohort.patients[which])
        rows.append(
            {
                "column": column,
                "level": level,
                "n": int(which.sum()),
                "positives": int(positive.sum()),
                "auc": interval(area),
                "why_not": None if enough else "fewer than two cases of a class",
                "sensitivity": interval(accuracy["sensitivity"]),
                "specificity": interval(accuracy["specificity"]),
            }
        )
    return rows


def by_positive_nodes(cohort: Scored, column: str = "positive_nodes") -> list[Json]:
    """Scores of patients with 0, 1, 2 and at least 3 positive nodes; AUC of each against those with none.

    Raises:
        InputRejected: a cell is no count, or contradicts the label.
    """
    counts = np.array([_count(cell, cohort, row) for row, cell in enumerate(cohort.table.others[column])])
    counted = ~np.isnan(counts)
    none = counted & (counts == 0)
    rows: list[Json] = []
    for title, which in (("0", none), ("1", counts == 1), ("2", counts == 2), (">=3", counts >= 3)):
        auc = None
        if title != "0" and which.sum() >= 2 and none.sum() >= 2:
            both = which | none
            auc = metrics.newcombe(cohort.decisions[both], which[both], cohort.patients[both])
        scores = cohort.probabilities[which]
        rows.append(
            {
                "positive_nodes": title,
                "n": int(which.sum()),
                "median_probability": float(np.median(scores)) if len(scores) else None,
                "quartiles": [float(q) for q in np.quantile(scores, (0.25, 0.75))] if len(scores) else None,
                "auc_against_none": interval(auc),
            }
        )
    return rows


def against_reading(signature: Signature, cohort: Scored, column: str) -> dict[str, Json]:
    """The signature at its cutoff against a reader's calls on the same cases: accuracy of both, McNemar's test.

    Raises:
        InputRejected: the reading is neither in the label's vocabulary nor 0/1.
    """
    header = signature.header
    meaning = {"1": True, "0": False, header.positive_value: True, header.negative_value: False}
    cells = [str(c).strip().removesuffix(".0") for c in cohort.table.others[column]]
    strange = [i + 1 for i, c in enumerate(cells) if c not in meaning and c not in ("", "nan")]
    if strange:
        raise InputRejected(
            f"{cohort.table.name}: the reading in column {column} is not in the vocabulary ({header.positive_value}, "
            f"{header.negative_value}): rows {', '.join(map(str, strange[:10]))}",
            code="unknown-labels",
        )
    has_reading = np.array([c in meaning for c in cells])
    reader = np.array([meaning.get(c, False) for c in cells])[has_reading]
    positive, called = cohort.positive[has_reading], (cohort.probabilities >= header.cutoff)[has_reading]
    patients = cohort.patients[has_reading]
    result: dict[str, Json] = {"column": column, "n": int(has_reading.sum())}
    for who, calls in (("signature", called), ("reader", reader)):
        result[who] = {k: interval(v) for k, v in metrics.accuracy_table(calls, positive, patients).items()}
    tests: dict[str, Json] = {}
    for measure, which in (
        ("accuracy", np.ones(len(positive), bool)),
        ("sensitivity", positive),
        ("specificity", ~positive),
    ):
        only_us, only_reader, p = metrics.mcnemar((called == positive)[which], (reader == positive)[which])
        tests[measure] = {"only_signature_right": only_us, "only_reader_right": only_reader, "p": p}
    result["mcnemar"] = tests
    return result


def _levels(column: str, cells: npt.NDArray[np.object_]) -> Iterator[tuple[str, Bools]]:
    texts = np.array([str(c).strip() for c in cells])
    has_value = ~np.isin(texts, ("", "nan", "None", "NA"))
    numbers = _numbers(texts, has_value)
    if numbers is not None and (column in CUTS or len(np.unique(numbers[has_value])) > MANY):
        cut = CUTS.get(column, float(np.median(numbers[has_value])))
        yield f"< {cut:g}", has_value & (numbers < cut)
        yield f">= {cut:g}", has_value & (numbers >= cut)
    else:
        for level in sorted(set(texts[has_value])):
            yield level, texts == level
    if not has_value.all():
        yield "not told", ~has_value


def _numbers(texts: npt.NDArray[np.str_], has_value: Bools) -> npt.NDArray[np.float64] | None:
    numbers = np.full(len(texts), np.nan)
    try:
        numbers[has_value] = texts[has_value].astype(np.float64)
    except ValueError:
        return None
    return numbers if has_value.any() else None


def _count(cell: object, cohort: Scored, row: int) -> float:
    text = str(cell).strip().removesuffix(".0")
    if text in ("", "nan", "None", "NA"):
        return float("nan")
    if not text.isdigit():
        raise InputRejected(
            f"{cohort.table.name}, {cohort.table.row(row)}: positive_nodes is no count", code="not-numbers"
        )
    return float(text)
