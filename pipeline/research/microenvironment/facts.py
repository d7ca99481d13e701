"""`microenvironment.json` and the CSV tables."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from pipeline.records import Json
from pipeline.research.microenvironment.analysis import Findings
from pipeline.research.microenvironment.cell_tables import Cells
from pipeline.research.microenvironment.cohort import Groups
from pipeline.research.microenvironment.differences import Differences
from pipeline.research.microenvironment.markers import Markers
from pipeline.research.microenvironment.matrices import Intake
from pipeline.research.microenvironment.plan import differing

_BY_GROUP = ["name", "difference", "t", "p", "q"]
_DEG = {"name": "gene", "difference": "log_fold_change"}
_DEG_COLUMNS = ["gene", "log_fold_change", "t", "p", "q", "moderated_t", "moderated_p", "moderated_q"]


def facts(findings: Findings) -> dict[str, Json]:
    """`microenvironment.json`. It holds the patients' ids beside their cells."""
    cells = findings.cells
    return {
        "schema": "axrad.microenvironment/1",
        "features": _features(findings),
        "groups": _groups(findings.groups),
        "status": _groups(findings.status),
        "inputs": _inputs(findings),
        "gene_sets": [
            {"set": c.name, "file": c.file, "sha256": c.sha256, "sets": len(c.sets), "mangled": list(c.mangled)}
            for c in findings.collections
        ],
        "deg": [] if findings.deg is None else [*_records(deg_table(findings.deg))],
        "deg_summary": None if findings.deg is None else deg_summary(findings),
        "enrichment": _enriched(findings),
        "enrichment_summary": _enrichment_summary(findings),
        "cells": {} if cells is None else _by_patient(cells),
        "cells_summary": None if cells is None else cells_summary(findings),
        **{kind: _selected(findings.markers.get(kind)) for kind in ("lncrna", "methylation")},
        "markers_summary": {kind: markers_summary(m) for kind, m in findings.markers.items()},
        "correlations": [
            {"kind": c.kind, **row} for c in findings.correlations for row in _records(c.table)
        ],
        "chance": {
            c.kind: {**_chance(c.level, len(c.table), c.below, c.table["q"], c.chance), "candidates": c.candidates}
            for c in findings.correlations
        },
        "notes": list(findings.notes),
    }  # fmt: skip


def tables(findings: Findings) -> dict[str, pd.DataFrame]:
    """The CSV files by their names."""
    named: dict[str, pd.DataFrame] = {}
    if findings.deg is not None:
        named["genes.csv"] = deg_table(findings.deg)
    if findings.enrichment is not None:
        named["gene_sets.csv"] = findings.enrichment.table
    if (cells := findings.cells) is not None:
        frame = pd.DataFrame(cells.values, columns=list(cells.names))
        beside = {"p": cells.p, "correlation": cells.correlation, "rmse": cells.rmse}
        frame = frame.assign(**{k: v for k, v in beside.items() if v is not None})
        frame.insert(0, "patient", list(cells.patients))
        named["cells.csv"] = frame
    if findings.cell_differences is not None:
        named["cells_by_group.csv"] = findings.cell_differences.table.reset_index()
    for kind, chosen in findings.markers.items():
        gini = chosen.selected["gini"]
        named[f"{kind}.csv"] = chosen.tests.table.assign(gini=gini).reset_index().sort_values("p", kind="stable")
    if findings.correlations:
        parts = [c.table.assign(kind=c.kind) for c in findings.correlations]
        named["correlations.csv"] = pd.concat(parts, ignore_index=True)
    return named


def deg_table(deg: Differences) -> pd.DataFrame:
    """The genes, the smallest moderated P first."""
    table = deg.table.reset_index().rename(columns=_DEG)[_DEG_COLUMNS]
    return table.sort_values("moderated_p", kind="stable", ignore_index=True)


def deg_summary(findings: Findings) -> dict[str, Json]:
    """How many genes differ, and how many would by chance."""
    deg = findings.deg
    assert deg is not None
    chosen = differing(deg.table, findings.plan)
    return {
        **_chance(deg.level, len(deg.table), deg.below, deg.table["q"], deg.chance),
        "differing": len(chosen),
        "up": int((chosen["difference"] > 0).sum()),
        "down": int((chosen["difference"] < 0).sum()),
        "rule": {"moderated_q_below": findings.plan.deg_q, "log_fold_change_at_least": findings.plan.deg_fold},
        "prior_df": deg.prior.df if np.isfinite(deg.prior.df) else None,
        "prior_variance": deg.prior.variance if np.isfinite(deg.prior.variance) else None,
        "constant": list(deg.constant),
        "too_few_values": len(deg.too_few),
    }


def cells_summary(findings: Findings) -> dict[str, Json]:
    """How the cells came about, and how well they fit."""
    cells = findings.cells
    assert cells is not None
    fit = cells.fit
    by_group = findings.cell_differences
    return {
        "origin": cells.origin,
        "kind": cells.kind,
        "patients": len(cells.patients),
        "missing": len(findings.cohort.patients) - len(cells.patients),
        "p_below_0_05": None if cells.p is None else int((cells.p < 0.05).sum()),
        "genes": None if fit is None else fit.genes,
        "genes_absent": None if fit is None else fit.genes_absent,
        "permutations": None if fit is None else len(fit.null),
        "by_group": [] if by_group is None else [*_records(by_group.table.reset_index()[_BY_GROUP])],
    }  # fmt: skip


def markers_summary(chosen: Markers) -> dict[str, Json]:
    """How many markers were tested, and how many have a small P, here and by chance."""
    tests = chosen.tests
    return {
        **_chance(tests.level, len(tests.table), tests.below, tests.table["q"], tests.chance),
        "constant": list(tests.constant),
        "too_few_values": len(tests.too_few),
        "in_forest": chosen.ranked,
        "incomplete": chosen.incomplete,
        "selected": len(chosen.selected),
    }


def _chance(level: float, count: int, below: int, q: pd.Series, chance: tuple[float, float, float]) -> dict[str, Json]:
    return {
        "tested": count,
        "level": level,
        "p_below": below,
        "expected_by_chance": level * count,
        "shuffled": {"median": chance[1], "range": [chance[0], chance[2]]},
        "q_below_0_05": int((q < 0.05).sum()),
    }


def _features(findings: Findings) -> Json:
    cohort = findings.cohort
    return {
        "file": cohort.file,
        "sha256": cohort.sha256,
        "patients": len(cohort.patients),
        "features": cohort.features.shape[1],
        "score": None if cohort.score is None else str(cohort.score.name),
        "without_score": None if cohort.score is None else int(cohort.score.isna().sum()),
        "left_out": list(cohort.left_out),
    }


def _groups(groups: Groups | None) -> Json:
    if groups is None:
        return None
    return {
        "by": groups.by,
        "first": groups.first,
        "second": groups.second,
        "cutoff": groups.cutoff,
        "n_first": groups.count(first=True),
        "n_second": groups.count(first=False),
    }


def _inputs(findings: Findings) -> dict[str, Json]:
    """What was read of each matrix and of a table of cells, by kind."""
    cells = findings.cells
    rows: dict[str, Json] = {
        kind: _input(matrix.intake, len(matrix.patients), len(matrix.names), findings.scales[kind])
        for kind, matrix in findings.matrices.items()
    }
    if cells is not None and cells.intake is not None:
        rows["cells"] = _input(cells.intake, len(cells.patients), len(cells.names), cells.kind)
    return rows


def _input(intake: Intake, patients: int, names: int, scale: str) -> Json:
    return {
        "file": intake.file,
        "sha256": intake.sha256,
        "patients_in": intake.patients_in,
        "scale": scale,
        "patients": patients,
        "missing": intake.samples.missing,
        "other_patients": intake.samples.others,
        "other_tissue": intake.samples.other_tissue,
        "repeated_samples": intake.samples.repeated,
        "names": names,
        "mangled": list(intake.rows.mangled),
        "duplicated": list(intake.rows.duplicated),
        "unnamed": intake.rows.unnamed,
        "missing_cells": intake.missing_cells,
        "not_numeric": list(intake.not_numeric),
    }


def _enriched(findings: Findings) -> list[Json]:
    if findings.enrichment is None:
        return []
    return [*_records(findings.enrichment.table.drop(columns="genes"))]


def _enrichment_summary(findings: Findings) -> Json:
    enrichment = findings.enrichment
    if enrichment is None:
        return None
    table = enrichment.table
    return {
        "background": enrichment.background,
        "selected": enrichment.selected,
        "tested": len(table),
        "without_genes": enrichment.without_genes,
        "family": "all sets of all files with a gene in the background, those without overlap included",
        "p_and_q_below_0_05": int(((table["p"] < 0.05) & (table["q"] < 0.05)).sum()),
    }


def _by_patient(cells: Cells) -> dict[str, Json]:
    return {
        patient: {name: _number(value) for name, value in zip(cells.names, row, strict=True)}
        for patient, row in zip(cells.patients, cells.values, strict=True)
    }


def _selected(chosen: Markers | None) -> list[Json]:
    return [] if chosen is None else [*_records(chosen.selected.rename_axis("name").reset_index())]


def _records(table: pd.DataFrame) -> list[dict[str, Json]]:
    return [{str(key): _number(value) for key, value in row.items()} for row in table.to_dict("records")]


def _number(value: object) -> Json:
    """A cell as JSON has it; what is no finite number is null."""
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return str(value)


def inputs_table(inputs: Mapping[str, Json]) -> list[list[Json]]:
    """Rows for the page: per matrix what was read, and what was left out."""
    rows: list[list[Json]] = []
    for kind, one in inputs.items():
        assert isinstance(one, dict)
        mangled, duplicated = one["mangled"], one["duplicated"]
        assert isinstance(mangled, list)
        assert isinstance(duplicated, list)
        rows.append(
            [kind, one["file"], one["scale"], one["patients"], one["missing"], one["other_patients"],
             one["other_tissue"], one["repeated_samples"], one["names"], len(mangled), len(duplicated),
             one["missing_cells"]]
        )  # fmt: skip
    return rows
