"""The parts of the page on what a signature has to beat, and on another prevalence, from the facts of one cohort."""

from __future__ import annotations

import html
from collections.abc import Mapping

from pipeline.records import Json
from pipeline.research import html_tables


def sections(row: Mapping[str, Json]) -> list[str]:
    """HTML of both."""
    return [*_baselines(row), *_prevalence(row.get("at_prevalence"))]


def _baselines(row: Mapping[str, Json]) -> list[str]:
    lines: list[list[Json]] = []
    for r in html_tables.rows(row["baselines"]):
        alone, why = html_tables.interval(r.get("auc")), r["why_not"]
        line = [r["variable"], r["n"], alone or why, html_tables.interval(r.get("auc_signature"))]
        lines.append([*line, html_tables.interval(r.get("difference")), html_tables.number(r.get("p"))])
    heads = ["alone", "cases", "its AUC", "the signature's AUC", "signature minus it", "P (DeLong)"]
    missing = row["baselines_missing"]
    assert isinstance(missing, list)
    parts = ["<h3>What it has to beat</h3>", html_tables.table(heads, lines) if lines else ""]
    if any(r["variable"] == "clinical facts" for r in html_tables.rows(row["baselines"])):
        parts.append("<p>The clinical facts together are cross-validated on this cohort.</p>")
    if missing:
        parts.append(f"<p>Not in the table, so not compared: {html.escape(', '.join(map(str, missing)))}.</p>")
    return [*parts, *_beyond_clinical(row["beyond_clinical"])]


def _beyond_clinical(clinical: Json) -> list[str]:
    if not isinstance(clinical, dict):
        return ["<p>Beyond clinical facts: the table has none.</p>"]
    if clinical["why_not"]:
        return [_paragraph(clinical, str(clinical["why_not"]))]
    parts = [
        _paragraph(
            clinical,
            f"AUC {html_tables.interval(clinical['auc_clinical'])} by clinical facts alone, "
            f"{html_tables.interval(clinical['auc_with_signature'])} with the signature, difference "
            f"{html_tables.interval(clinical['difference'])}; {clinical['test']}, "
            f"P = {html_tables.number(clinical['p'])}. Both are fitted to these cases.",
        )
    ]
    held_out = clinical["cross_validated"]
    assert isinstance(held_out, dict)
    if held_out["why_not"]:
        return [*parts, f"<p>Held-out cases: {html.escape(str(held_out['why_not']))}.</p>"]
    lines: list[list[Json]] = [
        ["AUC", *(html_tables.interval(held_out[n]) for n in ("auc_clinical", "auc_with_signature", "difference"))]
    ]
    for r in html_tables.rows(held_out["net_benefit"]):
        line = [r["clinical"], r["with_signature"], html_tables.interval(r["difference"])]
        lines.append([f"net benefit at {r['threshold']:g}", *line])
    heads = ["held-out cases of this cohort", "clinical facts", "with the signature", "difference"]
    return [*parts, html_tables.table(heads, lines)]


def _paragraph(clinical: Mapping[str, Json], sentence: str) -> str:
    return f"<p>Beyond clinical facts ({clinical.get('n', 0)} cases): {html.escape(sentence)}</p>"


def _prevalence(facts: Json) -> list[str]:
    if not isinstance(facts, dict):
        return []
    lines: list[list[Json]] = [
        ["prevalence of this cohort", html_tables.interval(facts["observed_prevalence"])],
        ["prevalence in training", facts["training_prevalence"]],
        ["PPV", html_tables.interval(facts["ppv"]) or "nobody is called high"],
        ["NPV", html_tables.interval(facts["npv"]) or "nobody is called low"],
        ["mean probability", facts["mean_probability"]],
        ["cutoff", facts["cutoff"]],
        ["calibration in the large", html_tables.interval(facts["calibration_in_the_large"]) or "not defined"],
        ["Brier score", html_tables.interval({"value": facts["brier"], "ci": facts["brier_ci"]})],
    ]
    other = "" if facts["observed_is_compatible"] else " This cohort's own prevalence is another one."
    return [
        f"<h3>At a prevalence of {html_tables.number(facts['prevalence'])}</h3>",
        html_tables.table(["log odds moved, calls as they are", "value (95 % interval)"], lines),
        "<p>That holds if scores within each class are distributed as in training. The daemon goes on with the "
        f"probabilities of the signature file.{other}</p>",
    ]
