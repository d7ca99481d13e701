"""The metrics of several signatures on the same exams in one table, and every pair of them compared."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import pandas as pd

from pipeline.records import Json
from pipeline.research import html_tables, metrics
from pipeline.research.metrics import Bools, Interval, Patients

CLINICAL_ALONE = "clinical variables alone"
MEASURES = ("sensitivity", "specificity", "ppv", "npv", "accuracy")
_HEADS = ("sensitivity", "specificity", "PPV", "NPV", "accuracy")
# Pairs that a page lists; the CSV table has all of them.
SHOWN = 40


def row(
    name: str, reads: Sequence[str], auc: Interval, called: Bools, positive: Bools, patients: Patients
) -> dict[str, Json]:
    """One signature: AUC, and accuracy at its cutoff with Wilson's intervals."""
    accuracy = metrics.accuracy_table(called, positive, patients)
    measured: dict[str, Json] = {measure: _json(accuracy[measure]) for measure in MEASURES}
    return {"name": name, "reads": [*reads], "n": len(positive), "auc": _json(auc), **measured}


def pair(a: str, b: str, difference: Interval, p: float | None) -> dict[str, Json]:
    """AUC of `a` minus AUC of `b`."""
    return {"a": a, "b": b, "difference": _json(difference), "p": p}


def with_holm(pairs: Sequence[dict[str, Json]]) -> list[Json]:
    """The pairs with Holm's P over all that have a P."""
    tested = [one["p"] for one in pairs if isinstance(one["p"], float)]
    adjusted = iter(metrics.holm(tested))
    return [{**one, "p_holm": next(adjusted) if isinstance(one["p"], float) else None} for one in pairs]


def frames(facts: Mapping[str, Json]) -> dict[str, pd.DataFrame]:
    """`metrics` and `comparisons` of a JSON document as tables: a column for each value and for the ends of it."""
    rows = []
    for one in html_tables.rows(facts["metrics"]):
        reads = one["reads"]
        assert isinstance(reads, list)
        parts = {part: v for name in ("auc", *MEASURES) for part, v in _columns(name, one[name]).items()}
        rows.append({"signature": one["name"], "reads": " + ".join(map(str, reads)), "n": one["n"], **parts})
    pairs = [
        {**{k: one[k] for k in ("a", "b", "p", "p_holm")}, **_columns("difference", one["difference"])}
        for one in html_tables.rows(facts["comparisons"])
    ]
    return {"metrics": pd.DataFrame(rows), "comparisons": pd.DataFrame(pairs)}


def section(facts: Mapping[str, Json], test: str, where: str) -> str:
    """Both tables as HTML; `test`: how pairs are compared, `where`: the exams, in words."""
    lines: list[list[Json]] = [
        [one["name"], *(html_tables.interval(one[name]) or "nobody" for name in ("auc", *MEASURES))]
        for one in html_tables.rows(facts["metrics"])
    ]
    pairs = html_tables.rows(facts["comparisons"])
    # Of many pairs a reader wants those with the clinical variables first.
    first = sorted(pairs, key=lambda one: CLINICAL_ALONE not in (one["a"], one["b"]))[:SHOWN]
    compared: list[list[Json]] = [
        [one["a"], one["b"], html_tables.interval(one["difference"]), one["p"], one["p_holm"]] for one in first
    ]
    more = "" if len(pairs) <= SHOWN else f" {len(pairs) - SHOWN} more pairs are in the CSV table."
    return (
        f"<h3>Metrics</h3><p>{html.escape(where)} Calls at each one's own cutoff. Intervals at 95 %.</p>"
        f"{html_tables.table(['signature', 'AUC', *_HEADS], lines)}"
        f"<h3>Compared</h3><p>AUC of a minus AUC of b, {html.escape(test)}; Holm's P is over all {len(pairs)} "
        f"pairs.{more}</p>{html_tables.table(['a', 'b', 'difference', 'P', 'Holm’s P'], compared)}"
    )


def _columns(name: str, estimate: Json) -> dict[str, Json]:
    if not isinstance(estimate, dict):
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    ends = estimate["ci"]
    assert isinstance(ends, list)
    return {name: estimate["value"], f"{name}_low": ends[0], f"{name}_high": ends[1]}


def _json(estimate: Interval | None) -> Json:
    return None if estimate is None else {"value": estimate.value, "ci": [estimate.low, estimate.high]}
