"""The evaluation written out: `evaluation.json`, CSV tables, one HTML page, and the files of `reporting`."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.records import Json
from pipeline.research import html_tables
from pipeline.research.evaluation import baseline_sections, figures, forest, subgroup_sections
from pipeline.research.evaluation.evaluate import Evaluation
from pipeline.research.reporting import files
from pipeline.research.reporting.answer import file_name
from pipeline.research.tables.reading import csv_of
from pipeline.signature import card, document, methods
from pipeline.signature.methods import Making
from pipeline.signature.whole_files import write_atomically


def write_evaluation(evaluation: Evaluation, folder: Path, making: Making | None = None) -> None:
    """Write everything into `folder`; `making`: what is known of how its numbers were made."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(evaluation.facts, indent=1, sort_keys=True, allow_nan=False)
    write_atomically(folder / "evaluation.json", text.encode())
    for name, table in evaluation.tables.items():
        write_atomically(folder / file_name(name), csv_of(table))
    making = making or Making()
    files.write(evaluation.signature, evaluation.facts, making, folder)
    write_atomically(folder / "report.html", page(evaluation, making).encode())


def page(evaluation: Evaluation, making: Making | None = None) -> str:
    """The report as one HTML document: no script, and nothing from the network."""
    plots, header = figures.all_figures(evaluation), evaluation.signature.header
    loud = "".join(f'<p class="loud">{html.escape(sentence)}</p>' for sentence in card.conclusions(evaluation.facts))
    warnings = "".join(f"<li>{html.escape(s)}</li>" for s in card.limits(evaluation.signature, evaluation.facts))
    sections = [_overview(evaluation), _figures(plots[""]), *_nested(evaluation.facts["nested_cv"], plots)]
    if judged := _judged(evaluation.facts):
        rows = forest.external(judged)
        sections.insert(1, _forest(rows, "AUC of external cohorts and their sites (positive of all cases)"))
    sections += _sites(evaluation.facts.get("leave_one_site_out"))
    for name, row in judged:
        sections += [f"<h2>Cohort {html.escape(name)}</h2>", _cohort(row), _figures(plots[name]), *_details(row)]
    for name, row in _fitted(evaluation.facts):
        sections += [
            f"<h2>Training cases of {html.escape(name)}: resubstitution</h2><p>The signature was fitted to these: "
            f"how well it does on them is no result (AUC {html_tables.number(row['auc'])} of {row['n']} cases).</p>",
            _figures(plots[name]),
        ]
    written = document.fragment(methods.sections(evaluation.signature, evaluation.facts, making), level=3)
    sections.append(f"<h2>Methods section</h2><p>{html.escape(methods.NOTE)}</p>{written}")
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(header.title)}</title>'
        f"<style>{html_tables.STYLE}</style></head><body><h1>Evaluation of {html.escape(header.title)}</h1>{loud}"
        f"<p>Positive class: <b>{html.escape(header.positive_class)}</b> (<code>{html.escape(header.label_column)} = "
        f"{html.escape(header.positive_value)}</code>), everywhere. "
        f"Cutoff {html_tables.number(header.cutoff)}: {header.cutoff_rule}. "
        f"File <code>{evaluation.signature.sha256}</code>.</p>{_harmonised(evaluation)}{files.links()}"
        f'<ul class="warn">{warnings}</ul>{"".join(sections)}</body></html>\n'
    )


def _harmonised(evaluation: Evaluation) -> str:
    """Between which scanner groups the signature is harmonised, and how many cases of each a cohort has."""
    facts = evaluation.signature.header.harmonisation
    if facts is None:
        return ""
    rows: list[list[Json]] = [["training", *(group.cases for group in facts.groups), "refused in training"]]
    for cohort in evaluation.scored:
        if cohort.scanners is not None and not cohort.training:
            counts = [int((cohort.scanners.number == i).sum()) for i in range(len(facts.groups))]
            unknown = ", ".join(f"{group} {count}" for group, count in cohort.unknown_scanners.items())
            rows.append([cohort.name, *counts, unknown or "none"])
    heads = ["cases of scanner groups", *(group.name for group in facts.groups), "others, left out"]
    return f"<p>{html.escape(facts.sentence)}</p>{html_tables.table(heads, rows)}"


def _overview(evaluation: Evaluation) -> str:
    lines = []
    nested = evaluation.facts["nested_cv"]
    if isinstance(nested, dict):
        lines.append(["training, nested cross-validation", nested["n"], _estimate(nested), "", ""])
    for name, row in _judged(evaluation.facts):
        lines.append([name, row["n"], _estimate(row), html_tables.number(row["p_above_chance"]), card.standing(row)])
    heads = ["where", "cases", "AUC (95 % interval)", "P by chance (exact, one-sided)", "orientation"]
    return html_tables.table(heads, lines)


def _judged(facts: Mapping[str, Json]) -> list[tuple[str, dict[str, Json]]]:
    """Cohorts that the signature had not seen."""
    return [(name, row) for name, row in _rows(facts) if row["role"] == "external"]


def _fitted(facts: Mapping[str, Json]) -> list[tuple[str, dict[str, Json]]]:
    return [(name, row) for name, row in _rows(facts) if row["role"] != "external"]


def _rows(facts: Mapping[str, Json]) -> list[tuple[str, dict[str, Json]]]:
    rows = facts["cohorts"]
    assert isinstance(rows, dict)
    return [(name, row) for name, row in rows.items() if isinstance(row, dict)]


def _nested(nested: Json, plots: Mapping[str, list[str]]) -> list[str]:
    if not isinstance(nested, dict):
        return []
    accuracy = nested["at_cutoff"]
    assert isinstance(accuracy, dict)
    lines: list[list[Json]] = [[name, html_tables.interval(value)] for name, value in accuracy.items()]
    cutoffs = nested["cutoffs"]
    assert isinstance(cutoffs, list)
    lines.insert(0, ["each at the cutoff of its fold", ", ".join(html_tables.number(c) for c in cutoffs)])
    return [
        "<h2>Training cohort, nested cross-validation</h2>",
        html_tables.table(["each case by a signature that had not seen it", "value (95 % interval)"],
                          [*lines, *_calibration(nested)]),
        f"<p>{html.escape(card.selection_stability(nested).replace('`', ''))}</p>",
        _figures(plots[figures.NESTED]),
    ]  # fmt: skip


def _calibration(row: Mapping[str, Json]) -> list[list[Json]]:
    """Lines of a table: Brier score, slope and intercepts with their intervals."""
    lines: list[list[Json]] = []
    for name in ("brier", "calibration_slope", "calibration_intercept"):
        value = {"value": row[name], "ci": row[f"{name}_ci"]} if row[name] is not None else None
        lines.append([name.replace("_", " "), html_tables.interval(value) or "not defined"])
    return [
        *lines,
        ["calibration in the large", html_tables.interval(row["calibration_in_the_large"]) or "not defined"],
    ]


def _cohort(row: Mapping[str, Json]) -> str:
    accuracy = row["at_cutoff"]
    assert isinstance(accuracy, dict)
    lines: list[list[Json]] = [[name, html_tables.interval(value)] for name, value in accuracy.items()]
    lines += _calibration(row)
    for name in ("average_precision", "prevalence"):
        lines.append([name.replace("_", " "), html_tables.interval({"value": row[name], "ci": row[f"{name}_ci"]})])
    lines.append(["mean probability", row["mean_probability"]])
    outside, conformal = row["outside_training_range"], row["conformal"]
    assert isinstance(outside, dict)
    lines.append(["outside the training range", outside["n"]])
    lines.append(["AUC of the rest", html_tables.interval(outside["auc_of_the_rest"])])
    if isinstance(conformal, dict) and "band" in conformal:
        counts = f"{conformal['high']} high, {conformal['low']} low, {conformal['indeterminate']} indeterminate"
        lines.append([f"conformal band at error rate {conformal['alpha']}", counts])
    elif isinstance(conformal, dict):
        lines.append(["conformal band", conformal["why_not"]])
    return html_tables.table([f"at cutoff {html_tables.number(row['cutoff'])}", "value (95 % interval)"], lines)


def _sites(by_site: Json) -> list[str]:
    if not isinstance(by_site, dict):
        return []
    lines: list[list[Json]] = [
        [r["site"], r["n"], r["positives"], html_tables.interval(r["auc"]) or r["why_not"]]
        for r in html_tables.rows(by_site["sites"])
    ]
    heads = ["left out", "cases", "positive", "AUC by a signature of the other sites"]
    plot = _forest(forest.each_site_by_the_others(by_site), "AUC of each site by the others (positive of all cases)")
    return ["<h2>Each site by the others</h2>", plot, html_tables.table(heads, lines)]


def _forest(rows: Sequence[forest.Row], label: str) -> str:
    return f'<div class="wide">{forest.plot(rows, label)}</div>'


def _as_answered(row: Mapping[str, Json]) -> list[str]:
    answered = row.get("as_answered")
    if not isinstance(answered, dict):
        return []
    accuracy, all_cases = answered["at_cutoff"], row["at_cutoff"]
    assert isinstance(accuracy, dict)
    assert isinstance(all_cases, dict)
    why = f"{answered['refused_by_features']} by their features, {answered['refused_by_distance']} by their distance"
    calls = f"{answered['high']} high, {answered['low']} low, {answered['indeterminate']} indeterminate"
    lines: list[list[Json]] = [
        ["cases", row["n"], answered["answered"]],
        ["not evaluated", "", f"{answered['refused']}: {why}"],
        ["AUC", _estimate(row), html_tables.interval(answered["auc"])],
    ]
    for name, value in accuracy.items():
        lines.append([name, html_tables.interval(all_cases[name]), html_tables.interval(value)])
    lines.append(["answers", "", calls])
    lines.append(["wrong among the calls high and low", "", html_tables.interval(answered["error_of_calls"])])
    heads = ["as the daemon would answer", "all cases", "those it evaluates"]
    return ["<h3>As the daemon would answer</h3>", html_tables.table(heads, lines)]


def _details(row: Mapping[str, Json]) -> list[str]:
    parts = [*baseline_sections.sections(row), *_as_answered(row), *subgroup_sections.sections(row)]
    if row.get("positive_nodes"):
        lines = [
            [
                r["positive_nodes"],
                r["n"],
                html_tables.number(r["median_probability"]),
                html_tables.interval(r["auc_against_none"]),
            ]
            for r in html_tables.rows(row["positive_nodes"])
        ]
        parts += [
            "<h3>Positive nodes</h3>",
            html_tables.table(["nodes", "cases", "median score", "AUC against none"], lines),
        ]
    if isinstance(reading := row.get("reading"), dict):
        parts += ["<h3>Signature and reader</h3>", _reading(reading)]
    if row.get("comparisons"):
        lines = [
            [
                r["other"],
                html_tables.interval(r["other_auc"]),
                html_tables.interval(r["difference"]),
                html_tables.number(r["p"]),
            ]
            for r in html_tables.rows(row["comparisons"])
        ]
        heads = ["signature", "AUC", "this minus other", "P (DeLong)"]
        parts += ["<h3>Other signatures</h3>", html_tables.table(heads, lines)]
        compared = [(str(r["other"]), r) for r in html_tables.rows(row["comparisons"])]
        parts += ["<h3>Calls at the cutoffs</h3>", html_tables.reclassification("this", compared)]
    if isinstance(survival := row.get("survival"), dict):
        lines = [
            [k.replace("_", " "), html_tables.interval(v) if isinstance(v, dict) else html_tables.number(v)]
            for k, v in survival.items()
        ]
        parts += ["<h3>Survival, high against low score</h3>", html_tables.table(["", ""], lines)]
    return parts


def _reading(reading: Mapping[str, Json]) -> str:
    ours, reader, tests = reading["signature"], reading["reader"], reading["mcnemar"]
    assert isinstance(ours, dict)
    assert isinstance(reader, dict)
    assert isinstance(tests, dict)
    lines: list[list[Json]] = []
    by = html_tables.rows([*tests.values()])[0]["test"]
    for name in ours:
        test = tests.get(name)
        lines.append(
            [
                name,
                html_tables.interval(ours[name]),
                html_tables.interval(reader[name]),
                html_tables.number(test["p"]) if isinstance(test, dict) else "",
            ]
        )
    return html_tables.table(["", "signature", "reader", f"P ({by})"], lines)


def _estimate(row: Mapping[str, Json]) -> str:
    return html_tables.interval({"value": row["auc"], "ci": row["ci"]})


def _figures(plots: list[str]) -> str:
    return f'<div class="row">{"".join(plots)}</div>'
