"""`axrad cohort calls`: calls alone and combined, as page, JSON and CSV."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.records import Json
from pipeline.research.appendix import by_nodes, figures, writing
from pipeline.research.appendix.by_nodes import Difference, OfNodes
from pipeline.research.appendix.calls import THRESHOLDS, Call, Contest, Judged, combined, contests, judged, right_by
from pipeline.research.appendix.characteristics import characteristics
from pipeline.research.appendix.patients_table import PatientsTable
from pipeline.research.html_tables import table
from pipeline.research.metrics import Interval


def write(
    patients: PatientsTable,
    calls: Sequence[Call],
    left_out: int,
    columns: Sequence[str],
    folder: Path,
    nodes: str | None = None,
) -> dict[str, Json]:
    """Accuracy of all calls and of their combinations, McNemar's tests, net benefit, and who is classified right.

    `columns` are compared between the patients whom both of the first two calls, one of them, or neither gets right;
    `nodes` is the column with the number of positive nodes, by which calls are told apart. Writes `calls.json`,
    `calls.csv`, `mcnemar.csv`, with `nodes` `positive_nodes.csv`, and `report.html`, none with a patient's id. Returns
    what the JSON document holds.
    """
    rules = combined(calls)
    rows = [judged(c, patients.positive, rule=False) for c in calls]
    rows += [judged(c, patients.positive, rule=True) for c in rules]
    tests = contests(calls, rules, patients.positive)
    groups = right_by(calls[0], calls[1], patients.positive)
    order = ("both", f"only {calls[0].name}", f"only {calls[1].name}", "neither")
    sides = {name: part for name in order if len(part := patients.frame[(groups == name).to_numpy()])}
    compared = characteristics(sides, columns) if len(sides) > 1 and columns else []
    sizes = {name: len(frame) for name, frame in sides.items()}
    positives = int(patients.positive.sum())
    facts: dict[str, Json] = {
        "schema": "axrad.cohort-calls/1",
        "table": {"sha256": patients.sha256, "n": len(patients), "positive": positives, "left_out": left_out},
        "calls": [_judged(row) for row in rows],
        "mcnemar": [writing.plain(asdict(test)) for test in tests],
        "right": {**sizes},
        "groups": [writing.json_of(c, list(sides)) for c in compared],
    }
    body = [
        "<h1>Calls, alone and combined</h1>",
        f"<p>{len(patients)} patients have every call, {positives} of them with "
        f"{html.escape(patients.label)} = {html.escape(patients.positive_value)}; "
        f"{left_out} lack one and are left out.</p>",
        f'<div class="scroll">{_accuracy_table(rows)}</div>',
        writing.section("Net benefit of acting on them", figures.net_benefit(rows, positives / len(patients))),
        _benefit_table(rows),
        writing.section("McNemar's tests", "<p>Exact. Holm's P is over all of them.</p>" + _contest_table(tests)),
        writing.section(f"Who is classified right: {calls[0].name}, {calls[1].name}", _flow(patients, groups)),
    ]
    if compared:
        body.append(writing.section("The groups compared", writing.characteristics_table(compared, sizes)))
    if nodes is not None:
        groups_by_nodes = by_nodes.groups_of(patients, nodes)
        of_nodes, differences = by_nodes.by_nodes(calls, groups_by_nodes)
        uncounted = len(patients) - sum(int(which.sum()) for which in groups_by_nodes.values())
        facts["positive_nodes"] = {
            "column": nodes, "uncounted": uncounted, "least_patients": by_nodes.LEAST_PATIENTS,
            "groups": [_of_nodes(row) for row in of_nodes],
            "fisher": [writing.plain(asdict(row)) for row in differences],
        }  # fmt: skip
        body.append(
            writing.section("By the number of positive nodes", _nodes_section(of_nodes, differences, uncounted))
        )
    frames = {"calls.csv": _calls_frame(rows), "mcnemar.csv": pd.DataFrame(tests)}
    if nodes is not None:
        frames["positive_nodes.csv"] = pd.json_normalize([_of_nodes(row) for row in of_nodes])
    writing.write_files(folder, "calls.json", facts, "Calls", body, frames)
    return facts


def _flow(patients: PatientsTable, groups: pd.Series) -> str:
    words = (f"{patients.label} = {value}" for value in (patients.positive_value, patients.negative_value))
    status = np.where(patients.positive, *words)
    flow = pd.DataFrame({"node status": status, "classified right by": groups})
    return figures.sankey(flow, "Sankey diagram of who is classified right")


def _accuracy_table(rows: Sequence[Judged]) -> str:
    measures = list(rows[0].accuracy)
    lines: list[list[Json]] = [
        [row.name, _interval(row.auc), *(_interval(row.accuracy[m]) for m in measures)] for row in rows
    ]
    return table(["call", "AUC", *(m.upper() if m in ("ppv", "npv") else m for m in measures)], lines)


def _benefit_table(rows: Sequence[Judged]) -> str:
    lines: list[list[Json]] = [[row.name, *row.net_benefit] for row in rows]
    return table(["net benefit at", *(f"{t:g}" for t in THRESHOLDS)], lines)


def _contest_table(tests: Sequence[Contest]) -> str:
    lines: list[list[Json]] = [[t.a, t.b, t.measure, t.only_a, t.only_b, t.p, t.p_holm] for t in tests]
    return table(["a", "b", "measure", "only a right", "only b right", "P", "Holm's P"], lines)


def _calls_frame(rows: Sequence[Judged]) -> pd.DataFrame:
    def line(row: Judged) -> dict[str, object]:
        values = {k: None if v is None else v.value for k, v in {"auc": row.auc, **row.accuracy}.items()}
        return {
            "call": row.name,
            **values,
            **{f"net_benefit_{t:g}": b for t, b in zip(THRESHOLDS, row.net_benefit, strict=True)},
        }

    return pd.DataFrame([line(row) for row in rows])


def _nodes_section(rows: Sequence[OfNodes], differences: Sequence[Difference], uncounted: int) -> str:
    lines: list[list[Json]] = [
        [r.call, r.nodes, r.n, r.high, _interval(r.share) or r.why_not, _interval(r.auc)] for r in rows
    ]
    tests: list[list[Json]] = [[d.call, d.a, d.b, d.p, d.p_holm] for d in differences]
    heads = ["call", "positive nodes", "patients", "called high", "share (exact interval)", "AUC against none"]
    return (
        f"<p>{uncounted} patients have no count. A group of fewer than {by_nodes.LEAST_PATIENTS} patients is counted, "
        f"and nothing is computed of it.</p>{table(heads, lines)}<p>The share that is called high between groups with "
        "positive nodes, by Fisher's exact test; Holm's P is over all of them.</p>"
        + (table(["call", "nodes", "nodes", "P", "Holm's P"], tests) if tests else "<p>Fewer than two such groups.</p>")
    )


def _of_nodes(row: OfNodes) -> Json:
    parts: dict[str, Json] = {}
    for name, value in (("share_high", row.share), ("auc_against_none", row.auc)):
        parts[name] = None if value is None else {"value": value.value, "ci": [value.low, value.high]}
    return {
        "call": row.call, "nodes": row.nodes, "n": row.n, "high": row.high, **parts, "why_not": row.why_not or None
    }  # fmt: skip


def _judged(row: Judged) -> Json:
    parts: dict[str, Json] = {}
    for name, value in {"auc": row.auc, **row.accuracy}.items():
        parts[name] = None if value is None else {"value": value.value, "ci": [value.low, value.high]}
    benefit: dict[str, Json] = {f"{t:g}": b for t, b in zip(THRESHOLDS, row.net_benefit, strict=True)}
    return {"name": row.name, "rule": row.rule, **parts, "net_benefit": benefit}


def _interval(value: Interval | None) -> str:
    return "" if value is None else f"{value.value:.3f} ({value.low:.3f} to {value.high:.3f})"
