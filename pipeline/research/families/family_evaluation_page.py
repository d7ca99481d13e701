"""A family's evaluation written out: `evaluation.json`, one HTML page, and each member's own evaluation in a folder."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from pathlib import Path

from pipeline.records import Json
from pipeline.research import html_tables
from pipeline.research.evaluation.evaluation_page import write_evaluation
from pipeline.research.families import metrics_table
from pipeline.research.families.evaluate_family import FamilyEvaluation
from pipeline.research.tables.reading import csv_of
from pipeline.signature import card
from pipeline.signature.methods import Making
from pipeline.signature.whole_files import write_atomically


def write_family_evaluation(
    judged: FamilyEvaluation, folder: Path, makings: Mapping[str, Making] | None = None
) -> None:
    """Write everything into `folder`; what is told of one member alone into a folder of its name.

    `makings`: by a member's SHA-256, what is known of how its numbers were made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for one in judged.evaluations:
        write_evaluation(one, folder / one.signature.header.name, (makings or {}).get(one.signature.sha256))
    comparison = judged.facts["comparison"]
    assert isinstance(comparison, dict)
    for cohort, compared in comparison.items():
        tables = metrics_table.frames(compared) if isinstance(compared, dict) and "metrics" in compared else {}
        for name, frame in tables.items():
            write_atomically(folder / f"{name}_{cohort}.csv", csv_of(frame))
    text = json.dumps(judged.facts, indent=1, allow_nan=False, ensure_ascii=False)
    write_atomically(folder / "evaluation.json", text.encode())
    write_atomically(folder / "report.html", page(judged).encode())


def page(judged: FamilyEvaluation) -> str:
    """The report as one HTML document: no script, nothing from the network."""
    header, title = judged.family.members[0].header, html.escape(judged.family.title)
    against = [
        f"{one.signature.header.title}: {sentence}"
        for one in judged.evaluations
        for sentence in card.conclusions(one.facts)
    ]
    loud = "".join(f'<p class="loud">{html.escape(sentence)}</p>' for sentence in against)
    warned = "".join(f"<li>{html.escape(text)}</li>" for text in _warnings(judged))
    comparison = judged.facts["comparison"]
    assert isinstance(comparison, dict)
    sections = "".join(_cohort(judged, name, row) for name, row in comparison.items() if isinstance(row, dict))
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Evaluation of the family {title}</title>'
        f"<style>{html_tables.STYLE}</style></head><body><h1>Evaluation of the family {title}</h1>{loud}"
        f"<p>Positive class: <b>{html.escape(header.positive_class)}</b> (<code>{html.escape(header.label_column)} = "
        f"{html.escape(header.positive_value)}</code>), everywhere. Each member is judged on the exams that have all "
        "it reads; figures, calibration and subgroups of one are in the folder of its name.</p>"
        f'<ul class="warn">{warned}</ul>{sections}</body></html>\n'
    )


def _warnings(judged: FamilyEvaluation) -> list[str]:
    """What is to be known of members, each sentence once."""
    limits = [text for one in judged.evaluations for text in card.limits(one.signature, one.facts)]
    loud = {text for one in judged.evaluations for text in card.conclusions(one.facts)}
    return [text for text in dict.fromkeys(limits) if text not in loud]


def _cohort(judged: FamilyEvaluation, name: str, compared: Mapping[str, Json]) -> str:
    members = html_tables.rows(judged.facts["members"])
    lines: list[list[Json]] = []
    for number, member in enumerate(members, 1):
        cohorts = member["cohorts"]
        assert isinstance(cohorts, dict)
        row = cohorts[name]
        assert isinstance(row, dict)
        if "why_not" in row:
            lines.append([number, member["name"], "", "", "", str(row["why_not"]), ""])
            continue
        nested = member["nested_cv"] if row["role"] != "external" else None
        auc = f"{_estimate(nested)}, nested" if isinstance(nested, dict) else _estimate(row)
        outside = row["outside_training_range"]
        assert isinstance(outside, dict)
        counts: list[Json] = [row["n"], row["positives"], row["incomplete_cases_left_out"]]
        lines.append([number, member["name"], *counts, auc, outside["n"]])
    heads = ["", "signature", "exams", "positive", "incomplete", "AUC (95 % interval)", "outside the training range"]
    return f"<h2>Cohort {html.escape(name)}</h2>{html_tables.table(heads, lines)}{_comparison(compared)}"


def _comparison(compared: Mapping[str, Json]) -> str:
    title = "<h3>On the same exams</h3>"
    if "why_not" in compared:
        return f"{title}<p>Not compared: {html.escape(str(compared['why_not']))}.</p>"
    first, *others = html_tables.rows(compared["members"])
    lines: list[list[Json]] = [[first["name"], _estimate(first), "", "", ""]]
    for row in others:
        without = row["without"]
        assert isinstance(without, list)
        difference = html_tables.interval(row["difference"])
        shown: list[Json] = [html_tables.interval(row["other_auc"]), difference, html_tables.number(row["p"])]
        lines.append([row["name"], *shown, ", ".join(map(str, without))])
    heads = ["signature", "AUC", f"{first['name']} minus it", "P (DeLong)", "what it does without"]
    calls = html_tables.reclassification(str(first["name"]), [(str(row["name"]), row) for row in others])
    return (
        f"{title}<p>{compared['n']} exams, {compared['positives']} positive, that every member above reads. Intervals "
        f"at 95 %.</p>{html_tables.table(heads, lines)}<p>High or low at each one's own cutoff. Net per class: share "
        f"moved to the right call minus share moved to the wrong one; NRI is their sum.</p>{calls}{_metrics(compared)}"
    )


def _metrics(compared: Mapping[str, Json]) -> str:
    if "metrics" not in compared:
        return ""
    where = f"The same {compared['n']} exams of this cohort, {compared['positives']} positive."
    return metrics_table.section(compared, "by DeLong's test", where)


def _estimate(row: Mapping[str, Json]) -> str:
    return html_tables.interval({"value": row["auc"], "ci": row["ci"]})
