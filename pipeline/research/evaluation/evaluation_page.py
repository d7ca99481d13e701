"""The evaluation written out: `evaluation.json`, CSV tables, the card, and one HTML page that needs nothing else."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from pathlib import Path

from pipeline.records import Json
from pipeline.research.evaluation import figures
from pipeline.research.evaluation.evaluate import Evaluation
from pipeline.signature import card
from pipeline.signature.whole_files import write_atomically

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { border-bottom: 1px solid #ddd; padding: .3rem .8rem; text-align: left }
td.n { text-align: right; font-variant-numeric: tabular-nums }
.row { display: flex; flex-wrap: wrap; gap: 1rem }
.row svg { max-width: 22rem; height: auto }
.loud { background: #b00020; color: #fff; padding: 1rem; font-size: 1.2rem; font-weight: 600 }
.warn { background: #fff3cd; padding: .6rem 2rem }
code { font-size: 90% }
"""


def write_evaluation(evaluation: Evaluation, folder: Path) -> None:
    """Write everything into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(evaluation.facts, indent=1, sort_keys=True, allow_nan=False)
    write_atomically(folder / "evaluation.json", text.encode())
    for name, table in evaluation.tables.items():
        safe = re.sub(r"[^\w.\-]+", "_", name)
        write_atomically(folder / safe, table.to_csv(index=False, lineterminator="\n").encode())
    facts = json.dumps(card.facts(evaluation.signature, evaluation.facts), indent=1, sort_keys=True, allow_nan=False)
    write_atomically(folder / "card.json", facts.encode())
    write_atomically(folder / "card.md", card.markdown(evaluation.signature, evaluation.facts).encode())
    write_atomically(folder / "report.html", page(evaluation).encode())


def page(evaluation: Evaluation) -> str:
    """The report as one HTML document: no script, no file beside it, nothing from the network."""
    plots, header = figures.all_figures(evaluation), evaluation.signature.header
    loud = "".join(f'<p class="loud">{html.escape(sentence)}</p>' for _, sentence in card.verdicts(evaluation.facts))
    warnings = "".join(f"<li>{html.escape(s)}</li>" for s in card.limits(evaluation.signature, evaluation.facts))
    sections = [_overview(evaluation), _figures(plots[""])]
    rows = evaluation.facts["cohorts"]
    assert isinstance(rows, dict)
    for name, row in rows.items():
        assert isinstance(row, dict)
        sections += [f"<h2>Cohort {html.escape(name)}</h2>", _cohort(row), _figures(plots[name]), *_details(row)]
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(header.title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>Evaluation of {html.escape(header.title)}</h1>{loud}"
        f"<p>Positive class: <b>{html.escape(header.positive_class)}</b> (<code>{html.escape(header.label_column)} = "
        f"{html.escape(header.positive_value)}</code>), everywhere. "
        f"File <code>{evaluation.signature.sha256}</code>.</p>"
        f'<ul class="warn">{warnings}</ul>{"".join(sections)}</body></html>\n'
    )


def _overview(evaluation: Evaluation) -> str:
    lines = []
    nested = evaluation.facts["nested_cv"]
    if isinstance(nested, dict):
        lines.append(["training, nested cross-validation", nested["n"], _estimate(nested), ""])
    rows = evaluation.facts["cohorts"]
    assert isinstance(rows, dict)
    for name, row in rows.items():
        assert isinstance(row, dict)
        where = name if row["role"] == "external" else f"{name}, {row['role']}"
        lines.append([where, row["n"], _estimate(row), row["orientation"]])
    return _table(["where", "cases", "AUC (95 % interval)", "orientation"], lines)


def _cohort(row: Mapping[str, Json]) -> str:
    accuracy = row["at_cutoff"]
    assert isinstance(accuracy, dict)
    lines: list[list[Json]] = [[name, _interval(value)] for name, value in accuracy.items()]
    lines += [[n.replace("_", " "), _number(row[n])] for n in (
        "average_precision", "brier", "calibration_slope", "calibration_intercept", "mean_probability", "prevalence"
    )]  # fmt: skip
    outside, conformal = row["outside_training_range"], row["conformal"]
    assert isinstance(outside, dict)
    lines.append(["outside the training range", outside["n"]])
    lines.append(["AUC of the rest", _interval(outside["auc_of_the_rest"])])
    if isinstance(conformal, dict) and "band" in conformal:
        counts = f"{conformal['high']} high, {conformal['low']} low, {conformal['indeterminate']} indeterminate"
        lines.append([f"conformal band at error rate {conformal['alpha']}", counts])
    elif isinstance(conformal, dict):
        lines.append(["conformal band", conformal["why_not"]])
    return _table([f"at cutoff {_number(row['cutoff'])}", "value (95 % interval)"], lines)


def _details(row: Mapping[str, Json]) -> list[str]:
    parts = []
    if row.get("subgroups"):
        lines = [
            [r["column"], r["level"], r["n"], r["positives"], _interval(r["auc"]) or r["why_not"]]
            for r in _rows(row["subgroups"])
        ]
        parts += ["<h3>Subgroups</h3>", _table(["column", "level", "cases", "positive", "AUC"], lines)]
    if row.get("positive_nodes"):
        lines = [
            [r["positive_nodes"], r["n"], _number(r["median_probability"]), _interval(r["auc_against_none"])]
            for r in _rows(row["positive_nodes"])
        ]
        parts += ["<h3>Positive nodes</h3>", _table(["nodes", "cases", "median score", "AUC against none"], lines)]
    if isinstance(reading := row.get("reading"), dict):
        parts += ["<h3>Signature and reader</h3>", _reading(reading)]
    if row.get("comparisons"):
        lines = [
            [r["other"], _interval(r["other_auc"]), _interval(r["difference"]), _number(r["p"])]
            for r in _rows(row["comparisons"])
        ]
        parts += ["<h3>Other signatures</h3>", _table(["signature", "AUC", "this minus other", "P (DeLong)"], lines)]
    if isinstance(survival := row.get("survival"), dict):
        lines = [
            [k.replace("_", " "), _interval(v) if isinstance(v, dict) else _number(v)] for k, v in survival.items()
        ]
        parts += ["<h3>Survival, high against low score</h3>", _table(["", ""], lines)]
    return parts


def _reading(reading: Mapping[str, Json]) -> str:
    ours, reader, tests = reading["signature"], reading["reader"], reading["mcnemar"]
    assert isinstance(ours, dict)
    assert isinstance(reader, dict)
    assert isinstance(tests, dict)
    lines: list[list[Json]] = []
    for name in ours:
        test = tests.get(name)
        lines.append(
            [name, _interval(ours[name]), _interval(reader[name]), _number(test["p"]) if isinstance(test, dict) else ""]
        )
    return _table(["", "signature", "reader", "P (McNemar)"], lines)


def _rows(rows: Json) -> list[dict[str, Json]]:
    assert isinstance(rows, list)
    return [row for row in rows if isinstance(row, dict)]


def _estimate(row: Mapping[str, Json]) -> str:
    return _interval({"value": row["auc"], "ci": row["ci"]})


def _interval(estimate: Json) -> str:
    if not isinstance(estimate, dict):
        return ""
    if "why_not" in estimate:
        return str(estimate["why_not"])
    interval = estimate["ci"]
    assert isinstance(interval, list)
    text = f"{_number(estimate['value'])} ({_number(interval[0])} to {_number(interval[1])})"
    return f"{text}, P = {_number(estimate['p'])}" if "p" in estimate else text


def _number(value: Json) -> str:
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) >= 0.001 or value == 0 else f"{value:.1e}"
    return "" if value is None else str(value)


def _table(heads: list[str], lines: list[list[Json]]) -> str:
    head = "".join(f"<th>{html.escape(h)}</th>" for h in heads)
    body = "".join(
        "<tr>" + "".join(f"<td{_class(c)}>{html.escape(_number(c))}</td>" for c in line) + "</tr>" for line in lines
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _class(cell: Json) -> str:
    return ' class="n"' if isinstance(cell, (int, float)) else ""


def _figures(plots: list[str]) -> str:
    return f'<div class="row">{"".join(plots)}</div>'
