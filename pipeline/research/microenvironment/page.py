"""One HTML page that needs nothing else, the CSV tables, `microenvironment.json` and `methods.md`."""

from __future__ import annotations

import html
import json
from pathlib import Path

import numpy as np

from pipeline.records import Json
from pipeline.research.html_tables import STYLE, table
from pipeline.research.microenvironment import facts as facts_of
from pipeline.research.microenvironment import figures
from pipeline.research.microenvironment.analysis import Findings
from pipeline.research.microenvironment.cell_tables import Cells
from pipeline.research.microenvironment.cohort import Groups
from pipeline.research.microenvironment.differences import Differences
from pipeline.research.microenvironment.methods import methods
from pipeline.research.microenvironment.plan import differing
from pipeline.research.tables.reading import csv_of, shortened
from pipeline.signature.whole_files import write_atomically

_MORE_STYLE = """
.row figure { flex: 1 1 26rem; max-width: 40rem; margin: 0 } figure { margin: 1rem 0 } img { max-width: 100% }
figcaption { color: #555; font-size: 13px } .methods { background: #f6f6f6; padding: .2rem 1.2rem }
.scroll { overflow-x: auto } .scroll th, .scroll td { padding: .3rem .45rem; font-size: 14px }
"""
_INPUT_HEADS = [
    "matrix", "file", "scale", "patients", "missing", "others", "other tissue", "repeated", "rows", "mangled",
    "duplicated", "empty cells",
]  # fmt: skip
_TITLES = {"cells": "cells", "genes": "genes that differ", "lncrna": "lncRNAs", "methylation": "methylated sites"}
_RING = "A dot: P < 0.05; a ring: q < 0.05."
_SHOWN_GENES = 20


def write(findings: Findings, folder: Path) -> dict[str, Json]:
    """Write everything into `folder` (made if missing); returns what `microenvironment.json` holds.

    `cells.csv` and `microenvironment.json` hold the patients' ids as the feature table has them.
    """
    facts = facts_of.facts(findings)
    for name, frame in facts_of.tables(findings).items():
        write_atomically(folder / name, csv_of(frame))
    write_atomically(folder / "methods.md", methods(findings).encode())
    text = json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(folder / "microenvironment.json", text.encode())
    write_atomically(folder / "report.html", page(findings, facts).encode())
    return facts


def page(findings: Findings, facts: dict[str, Json]) -> str:
    """The HTML document."""
    sections = [
        _inputs(findings, facts),
        _genes(findings, facts),
        _sets(findings, facts),
        _cells(findings, facts),
        *(_markers(kind, findings, facts) for kind in ("lncrna", "methylation")),
        _correlations(findings, facts),
        _methods(findings),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Microenvironment</title>'
        f"<style>{STYLE}{_MORE_STYLE}</style></head><body><h1>Radiomics and the tumour's microenvironment</h1>"
        f"{''.join(sections)}</body></html>"
    )


def _paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def _figure(picture: str, caption: str) -> str:
    return f"<figure>{picture}<figcaption>{html.escape(caption)}</figcaption></figure>"


def _inputs(findings: Findings, facts: dict[str, Json]) -> str:
    cohort = findings.cohort
    parts = [_paragraph(f"{len(cohort.patients)} patients with {cohort.features.shape[1]} features ({cohort.file}).")]
    if findings.groups is None:
        parts.append(_paragraph("No groups: give --score or --label to compare genes and to select markers."))
    for what, groups in (("Genes and cells", findings.groups), ("lncRNAs and methylated sites", findings.status)):
        if groups is not None:
            parts.append(_paragraph(f"{what} are compared by {_grouping(groups)}."))
    inputs = facts["inputs"]
    assert isinstance(inputs, dict)
    if inputs:
        parts.append(f'<div class="scroll">{table(_INPUT_HEADS, facts_of.inputs_table(inputs))}</div>')
    lists = []
    for kind, matrix in findings.matrices.items():
        rows, listed = matrix.intake.rows, matrix.intake.not_numeric
        for names, why in (
            (rows.mangled, "names that a spreadsheet made into dates or numbers, left out"),
            (rows.duplicated, "names with several rows, of which that with the largest mean is used"),
            (listed, "columns without numbers, left out"),
        ):
            if names:
                lists.append(f"{kind}: {len(names)} {why}: {shortened(names)}")
    lists += findings.notes
    notes = "".join(f"<li>{html.escape(text)}</li>" for text in lists)
    return "".join(parts) + (f'<ul class="warn">{notes}</ul>' if notes else "")


def _grouping(groups: Groups) -> str:
    cut = "" if groups.cutoff is None else f", high from {groups.cutoff:.4g} on"
    first, second = groups.count(first=True), groups.count(first=False)
    return f"{groups.by}: {first} patients with {groups.first}, {second} with {groups.second}{cut}"


def _chance(summary: Json, what: str) -> str:
    """How many P values are small, and how many chance would make."""
    assert isinstance(summary, dict)
    shuffled, expected = summary["shuffled"], summary["expected_by_chance"]
    assert isinstance(shuffled, dict)
    assert isinstance(shuffled["range"], list)
    assert isinstance(expected, (int, float))
    low, high = shuffled["range"]
    return _paragraph(
        f"{summary['tested']} {what} tested: {summary['p_below']} with P < {summary['level']}, where chance alone "
        f"would give {expected:.0f} (between {low:.0f} and {high:.0f} in 95 % of exchanges of the patients); "
        f"{summary['q_below_0_05']} with q < 0.05."
    )


def _genes(findings: Findings, facts: dict[str, Json]) -> str:
    deg, groups = findings.deg, findings.groups
    if deg is None or groups is None:
        return ""
    chosen, summary = differing(deg.table, findings.plan), facts["deg_summary"]
    assert isinstance(summary, dict)
    rule = f"moderated q < {findings.plan.deg_q:g}"
    if findings.plan.deg_fold:
        rule += f" and an absolute log2 fold change of at least {findings.plan.deg_fold:g}"
    parts = [
        "<h2>Genes</h2>",
        _chance(summary, "genes"),
        _paragraph(
            f"{summary['differing']} genes differ ({rule}): {summary['up']} are higher in {groups.first}, "
            f"{summary['down']} lower."
        ),
        _not_tested(deg),
        _figure(figures.volcano(deg.table, list(chosen.index), (groups.first, groups.second)), "Volcano plot."),
    ]
    first = facts_of.deg_table(deg).head(_SHOWN_GENES)
    lines: list[list[Json]] = [
        [str(cell) if isinstance(cell, str) else float(cell) for cell in row] for row in first.to_numpy()
    ]
    parts.append(f'<div class="scroll">{table(list(first.columns), lines)}</div>')
    return "".join(parts) + _paragraph("All genes: genes.csv.")


def _not_tested(tests: Differences) -> str:
    """Which names were not tested, and why."""
    parts = [
        f"{len(names)} {why} ({shortened(names)})"
        for names, why in ((tests.constant, "without spread"), (tests.too_few, "with too few values"))
        if names
    ]
    return _paragraph(f"Not tested: {'; '.join(parts)}.") if parts else ""


def _sets(findings: Findings, facts: dict[str, Json]) -> str:
    enrichment, summary = findings.enrichment, facts["enrichment_summary"]
    if enrichment is None or not isinstance(summary, dict):
        return ""
    parts = [
        "<h2>Gene sets</h2>",
        _paragraph(
            f"{summary['selected']} genes that differ against a background of {summary['background']}: "
            f"{summary['p_and_q_below_0_05']} of {summary['tested']} sets have P < 0.05 and q < 0.05. q is over "
            f"{summary['family']}. {summary['without_genes']} sets have no gene in the background and cannot be tested."
        ),
    ]
    if (enrichment.table["overlap"] > 0).any():
        bars, dots = figures.term_bars(enrichment.table), figures.term_dots(enrichment.table)
        caption = f"Of the sets with a gene that differs the {figures.MOST_TERMS} smallest P, significant or not"
        parts.append(f'<div class="row">{_figure(bars, caption + ".")}{_figure(dots, caption + ", their q.")}</div>')
    else:
        parts.append(_paragraph("No set has a gene that differs: there is nothing to draw."))
    return "".join(parts)


def _cells(findings: Findings, facts: dict[str, Json]) -> str:
    cells, summary = findings.cells, facts["cells_summary"]
    if cells is None or not isinstance(summary, dict):
        return ""
    text = f"{len(cells.names)} cell types of {len(cells.patients)} patients, {cells.origin} ({cells.kind})."
    text += f" {summary['missing']} patients of the feature table have none."
    if cells.fit is not None:
        have, lack = cells.fit.genes, cells.fit.genes_absent
        text += f" Of the genes of the signature matrix {have} are in the expression matrix, {lack} are not."
    if summary["p_below_0_05"] is not None:
        text += f" The fit has P < 0.05 in {summary['p_below_0_05']} patients; --cells-p 0.05 leaves the others out."
    parts = ["<h2>Immune cells</h2>", _paragraph(text)]
    if cells.kind != "standardised values":
        order, split, names = _by_group(cells, findings.groups)
        parts.append(_figure(figures.cell_bars(cells, order, split, names), "Cells of each patient."))
    by_group, groups = findings.cell_differences, findings.groups
    if by_group is not None and groups is not None:
        rows = by_group.table.sort_values("p").reset_index()[["name", "difference", "t", "p", "q"]].to_numpy()
        lines: list[list[Json]] = [[str(row[0]), *(float(cell) for cell in row[1:])] for row in rows]
        parts.append(table(["cell", f"{groups.first} − {groups.second}", "Welch's t", "P", "q"], lines))
    return "".join(parts)


def _by_group(cells: Cells, groups: Groups | None) -> tuple[list[int], int | None, tuple[str, str]]:
    """Patients in the order of the bars: by group, then by the commonest cell."""
    commonest = cells.values[:, int(np.nanmean(cells.values, axis=0).argmax())]
    order = list(np.argsort(-np.nan_to_num(commonest), kind="stable"))
    if groups is None:
        return order, None, ("", "")
    first = [row for row in order if groups.members.get(cells.patients[row]) is True]
    second = [row for row in order if groups.members.get(cells.patients[row]) is False]
    return first + second, len(first), (groups.first, groups.second)


def _markers(kind: str, findings: Findings, facts: dict[str, Json]) -> str:
    groups = findings.status or findings.groups
    summaries = facts["markers_summary"]
    assert isinstance(summaries, dict)
    for name, chosen in findings.markers.items():
        if name == kind and groups is not None:
            title = _TITLES[kind]
            text = f"{chosen.ranked} entered the random forest, {len(chosen.selected)} were selected."
            if chosen.incomplete:
                text += f" {chosen.incomplete} with P < {chosen.tests.level} have empty cells and did not enter."
            parts = [f"<h2>{title[0].upper() if title[0] == 'm' else title[0]}{title[1:]}</h2>"]
            parts += [_chance(summaries[kind], title), _not_tested(chosen.tests), _paragraph(text)]
            if len(chosen.selected):
                picture = figures.importance(chosen.selected, (groups.first, groups.second))
                parts.append(f'<div class="row">{_figure(picture, "The largest mean decreases in Gini.")}</div>')
            return "".join(parts)
    return ""


def _correlations(findings: Findings, facts: dict[str, Json]) -> str:
    chances = facts["chance"]
    assert isinstance(chances, dict)
    if not findings.correlations:
        return ""
    parts = [
        "<h2>Features and markers</h2>",
        _paragraph(
            "Markers that were chosen by a group correlate with every feature that goes with the group. So q of chosen "
            "markers is over all pairs of features with all markers that they were chosen from, and the range of "
            "chance is from exchanges of the patients after each of which markers are chosen again."
        ),
    ]
    for one in findings.correlations:
        title = _TITLES[one.kind]
        if one.candidates > one.table["b"].nunique():
            title += f" chosen from {one.candidates}"
        parts.append(_chance(chances[one.kind], f"pairs of features and {title}"))
        if one.constant:
            parts.append(_paragraph(f"With one value, hence no correlation: {shortened(one.constant)}."))
        if len(one.table):
            shown = "" if one.table["a"].nunique() <= figures.MOST_ROWS else " The features with the smallest P."
            parts.append(_figure(figures.relations(one, _TITLES[one.kind]), f"Spearman correlation. {_RING}{shown}"))
    return "".join(parts)


def _methods(findings: Findings) -> str:
    paragraphs = methods(findings).split("\n\n")[1:]
    return f'<h2>Methods</h2><div class="methods">{"".join(map(_paragraph, paragraphs))}</div>'
