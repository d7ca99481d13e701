"""A cohort in parts: clinical subgroups, the number of positive nodes, and a radiologist's reading beside the score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.errors import InputRejected
from pipeline.records import Json
from pipeline.research import calibration, metrics
from pipeline.research.evaluation import interactions
from pipeline.research.evaluation.scored_cohort import Scored, interval
from pipeline.research.tables.row_names import NOBODY
from pipeline.signature import gate, names
from pipeline.signature.record import Signature

Bools = npt.NDArray[np.bool_]
# Whom or what a signature must not serve worse: the patient and the place, not the tumour.
FAIRNESS = (
    "age_years", "menopausal_status", "breast_density", "manufacturer", "scanner", "model", "protocol.model",
    "field_strength_t", "centre", "site",
)  # fmt: skip
DEFAULT = (*names.CLINICAL, *(c for c in FAIRNESS if c not in names.CLINICAL))
NOT_TOLD = "not told"
# Cut points of the paper's subgroups: age 50 years, Ki-67 20 % (St Gallen 2013).
CUTS = {"age_years": 50.0, "ki67_percent": 20.0}
MANY = 6


def in_parts(signature: Signature, cohort: Scored, columns: Sequence[str], minimum_per_class: int) -> dict[str, Json]:
    """Rows of all levels of these columns (`subgroups`), tests between them (`interactions`), and `fairness`.

    P values are adjusted by Holm: those of the levels' AUCs against chance are one family, those between levels
    another.
    """
    rows = [row for column in columns for row in by_column(signature, cohort, column)]
    tested = [row for row in rows if row["p_above_chance"] is not None]
    for row, p in zip(tested, metrics.holm([float(str(row["p_above_chance"])) for row in tested]), strict=True):
        row["p_adjusted"] = p
    between = [
        interactions.of_column(cohort, column, _told(levels(column, cohort.table.others[column])), minimum_per_class)
        for column in columns
    ]
    count = interactions.adjust(between)
    return {
        "subgroups": [*rows],
        "subgroup_tests": {"adjusted_by": "Holm", "tests": len(tested), "against": "AUC 0.5, exact, one-sided"},
        "interactions": {
            "adjusted_by": "Holm", "tests": count, "minimum_per_class": minimum_per_class, "columns": [*between],
        },
        "fairness": {
            "columns": [c for c in columns if c in FAIRNESS or c not in names.CLINICAL],
            "columns_not_in_table": [c for c in FAIRNESS if c not in cohort.table.others],
        },
    }  # fmt: skip


def by_column(signature: Signature, cohort: Scored, column: str) -> list[dict[str, Json]]:
    """AUC, accuracy at the cutoff and calibration in each level of a column, and differences to the largest level.

    A number is cut at its usual point, or at the cohort's median where it has more than six values. Levels with
    fewer than two cases of a class have no AUC, and say so. Differences: by the intervals of both (`difference`).
    """
    parts = levels(column, cohort.table.others[column])
    measured = [_measure(signature, cohort, which) for _, which in parts]
    largest = max(_told(parts) or parts, key=lambda part: int(part[1].sum()))[0]
    reference = measured[[level for level, _ in parts].index(largest)]
    rows: list[dict[str, Json]] = []
    for (level, which), figures in zip(parts, measured, strict=True):
        positive = cohort.positive[which]
        area = figures["auc"]
        rows.append(
            {
                "column": column,
                "level": level,
                "n": int(which.sum()),
                "positives": int(positive.sum()),
                "why_not": "fewer than two cases of a class" if area is None else None,
                **{name: interval(value) for name, value in figures.items()},
                "p_above_chance": None if area is None else _above_chance(cohort, which),
                "p_adjusted": None,
                "reference": largest,
                "minus_reference": None if level == largest else {
                    name: interval(metrics.difference(value, reference[name])) for name, value in figures.items()
                },
            }
        )  # fmt: skip
    return rows


def _measure(signature: Signature, cohort: Scored, which: Bools) -> dict[str, metrics.Interval | None]:
    positive, p, patients = cohort.positive[which], cohort.probabilities[which], cohort.patients[which]
    enough = min(int(positive.sum()), int((~positive).sum())) >= 2
    accuracy = metrics.accuracy_table(p >= signature.header.cutoff, positive, patients)
    return {
        "auc": metrics.newcombe(cohort.decisions[which], positive, patients) if enough else None,
        "sensitivity": accuracy["sensitivity"],
        "specificity": accuracy["specificity"],
        "calibration_in_the_large": calibration.in_the_large(p, positive, patients) if enough else None,
    }


def _above_chance(cohort: Scored, which: Bools) -> float:
    return gate.discrimination(cohort.decisions[which], cohort.positive[which], cohort.patients[which]).p_above


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
    strange = [i + 1 for i, c in enumerate(cells) if c not in meaning and c not in NOBODY]
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
    test = "McNemar, exact, by patient" if metrics.has_repeats(patients) else "McNemar, exact"
    for measure, which in (
        ("accuracy", np.ones(len(positive), bool)),
        ("sensitivity", positive),
        ("specificity", ~positive),
    ):
        only_us, only_reader, p = metrics.mcnemar(
            (called == positive)[which], (reader == positive)[which], patients[which]
        )
        tests[measure] = {"test": test, "only_signature_right": only_us, "only_reader_right": only_reader, "p": p}
    result["mcnemar"] = tests
    return result


def levels(column: str, cells: npt.NDArray[np.object_]) -> list[tuple[str, Bools]]:
    """The levels of a column by name, and which cases (cases,) are of each; those without a value are the last."""
    return list(_levels(column, cells))


def _told(parts: Sequence[tuple[str, Bools]]) -> list[tuple[str, Bools]]:
    return [(level, which) for level, which in parts if level != NOT_TOLD]


def _levels(column: str, cells: npt.NDArray[np.object_]) -> Iterator[tuple[str, Bools]]:
    texts = np.array([str(c).strip() for c in cells])
    has_value = ~np.isin(texts, [*NOBODY])
    numbers = _numbers(texts, has_value)
    if numbers is not None and (column in CUTS or len(np.unique(numbers[has_value])) > MANY):
        cut = CUTS.get(column, float(np.median(numbers[has_value])))
        yield f"< {cut:g}", has_value & (numbers < cut)
        yield f">= {cut:g}", has_value & (numbers >= cut)
    else:
        for level in sorted(set(texts[has_value])):
            yield level, texts == level
    if not has_value.all():
        yield NOT_TOLD, ~has_value


def _numbers(texts: npt.NDArray[np.str_], has_value: Bools) -> npt.NDArray[np.float64] | None:
    numbers = np.full(len(texts), np.nan)
    try:
        numbers[has_value] = texts[has_value].astype(np.float64)
    except ValueError:
        return None
    return numbers if has_value.any() else None


def _count(cell: object, cohort: Scored, row: int) -> float:
    text = str(cell).strip().removesuffix(".0")
    if text in NOBODY:
        return float("nan")
    if not text.isdigit():
        raise InputRejected(
            f"{cohort.table.name}, {cohort.table.row(row)}: positive_nodes is no count", code="not-numbers"
        )
    return float(text)
