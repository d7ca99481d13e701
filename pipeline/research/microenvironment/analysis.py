"""The whole analysis: what each matrix says of the patients whose radiomic features are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import InputRejected
from pipeline.research.microenvironment import cell_tables, correlations, markers, scales
from pipeline.research.microenvironment.cell_tables import Cells
from pipeline.research.microenvironment.cohort import LEAST_OF_A_GROUP, Cohort, Groups, by_label, by_score, read_cohort
from pipeline.research.microenvironment.differences import Differences, differences
from pipeline.research.microenvironment.enrichment import Enrichment, over_represented
from pipeline.research.microenvironment.gene_sets import Collection, read_collections, read_names
from pipeline.research.microenvironment.matrices import Matrix, read_matrix
from pipeline.research.microenvironment.mixtures import deconvolved
from pipeline.research.microenvironment.plan import KINDS, Kind, Plan, Progress, Sources, differing
from pipeline.research.microenvironment.relations import related
from pipeline.signature.record import Floats


@dataclass(frozen=True)
class Findings:
    """Everything that was worked out; what was not asked for, or had no groups, is None or absent."""

    plan: Plan
    cohort: Cohort
    groups: Groups | None
    status: Groups | None
    matrices: Mapping[Kind, Matrix]
    scales: Mapping[Kind, scales.Scale]
    collections: tuple[Collection, ...]
    deg: Differences | None
    enrichment: Enrichment | None
    cells: Cells | None
    cell_differences: Differences | None
    markers: Mapping[Kind, markers.Markers]
    correlations: tuple[correlations.Correlations, ...]
    notes: tuple[str, ...]


def analyse(sources: Sources, plan: Plan, progress: Progress = lambda what, done, total: None) -> Findings:
    """Read everything, then test.

    Raises:
        InputRejected: a file is not what it should be, with figures.
    """
    cohort = read_cohort(sources.features, score=plan.score, label=plan.label, id_column=plan.id_column)
    status = by_label(cohort, plan.positive) if plan.label else None
    groups = by_score(cohort, plan.cutoff) if plan.score else status
    paths = {kind: path for kind in KINDS if (path := getattr(sources, kind)) is not None}
    if not paths and sources.cells is None:
        raise InputRejected("no matrix is given: --expression, --lncrna, --methylation or --cells", code="no-matrix")
    matrices: dict[Kind, Matrix] = {}
    for done, (kind, path) in enumerate(paths.items()):
        progress("reading matrices", done, len(paths))
        matrices[kind] = read_matrix(path, cohort.patients)
    scale = {kind: _scale(kind, matrix, plan) for kind, matrix in matrices.items()}
    collections = read_collections(sources.gene_sets)
    notes: list[str] = []
    deg = enrichment = None
    if "expression" in matrices and groups is not None:
        progress("genes", 0, 1)
        deg = _compared(matrices["expression"], scale["expression"], groups, plan, "expression")
        enrichment = _enriched(deg, collections, sources.background, matrices["expression"], plan)
    cells = _cells(sources, plan, cohort, matrices.get("expression"), scale.get("expression"), notes, progress)
    selected: dict[Kind, markers.Markers] = {}
    for kind in KINDS[1:]:
        if kind in matrices and (status or groups) is not None:
            progress(kind, 0, 1)
            selected[kind] = _selected(kind, matrices[kind], scale[kind], status or groups, plan)
    progress("correlations", 0, 1)
    relations = related(plan, cohort, groups, status, matrices, scale, deg, cells, selected, notes)
    return Findings(
        plan, cohort, groups, status, matrices, scale, collections, deg, enrichment, cells,
        _cell_differences(cells, groups, plan), selected, relations, tuple(notes),
    )  # fmt: skip


def _scale(kind: Kind, matrix: Matrix, plan: Plan) -> scales.Scale:
    stated = plan.scales.get(kind)
    if stated is not None:
        scales.refuse_impossible(matrix, stated, methylation=kind == "methylation")
    return stated or (scales.methylation_scale_of if kind == "methylation" else scales.scale_of)(matrix.values)


def _compared(matrix: Matrix, scale: scales.Scale, groups: Groups, plan: Plan, kind: Kind) -> Differences:
    values, first = _grouped(matrix, scale, groups, plan, kind)
    return differences(values, matrix.names, first, level=plan.level, seed=plan.seed)


def _grouped(matrix: Matrix, scale: scales.Scale, groups: Groups, plan: Plan, kind: Kind) -> tuple[Floats, np.ndarray]:
    """Values to compare of the patients in a group, and who is in the first one."""
    which = [row for row, patient in enumerate(matrix.patients) if patient in groups.members]
    first = np.array([groups.members[matrix.patients[row]] for row in which], dtype=np.bool_)
    counts = int(first.sum()), int((~first).sum())
    if min(counts) < LEAST_OF_A_GROUP:
        raise InputRejected(
            f"{matrix.intake.file} has {counts[0]} patients that are {groups.first} and {counts[1]} that are "
            f"{groups.second} by {groups.by}; at least {LEAST_OF_A_GROUP} of each are needed",
            code="one-class",
        )
    return scales.to_compare(matrix, scale, stated=kind in plan.scales)[which], first


def _enriched(
    deg: Differences, collections: tuple[Collection, ...], background: Path | None, matrix: Matrix, plan: Plan
) -> Enrichment | None:
    """Gene sets among the genes that differ; the background is the genes tested, or those of a list."""
    if not collections:
        return None
    universe = {str(name) for name in deg.table.index}
    if background is not None:
        listed = read_names(background)
        if not listed & set(matrix.names):
            raise InputRejected(
                f"{background.name}: none of its {len(listed)} genes is in {matrix.intake.file}",
                code="no-genes-in-common",
            )
        universe = listed
    chosen = differing(deg.table, plan)
    up, down = (set(chosen.index[which]) for which in (chosen["difference"] > 0, chosen["difference"] < 0))
    return over_represented(collections, up, down, universe)


def _cells(
    sources: Sources, plan: Plan, cohort: Cohort, matrix: Matrix | None, scale: scales.Scale | None, notes: list[str],
    progress: Progress,
) -> Cells | None:  # fmt: skip
    """Cells from elsewhere, or from the expression matrix and a signature matrix."""
    cells = None
    if sources.cells is not None:
        cells = cell_tables.read_cells(sources.cells, cohort.patients)
    elif sources.cell_signature is not None:
        if matrix is None or scale is None:
            raise InputRejected("--cell-signature needs --expression", code="no-matrix")
        cells = deconvolved(sources.cell_signature, matrix, scale, plan, notes, progress)
    return cells if cells is None or plan.cells_p is None else cell_tables.below(cells, plan.cells_p)


def _cell_differences(cells: Cells | None, groups: Groups | None, plan: Plan) -> Differences | None:
    if cells is None or groups is None:
        return None
    which = [row for row, patient in enumerate(cells.patients) if patient in groups.members]
    first = np.array([groups.members[cells.patients[row]] for row in which], dtype=np.bool_)
    return differences(cells.values[which], cells.names, first, level=plan.level, seed=plan.seed)


def _selected(kind: Kind, matrix: Matrix, scale: scales.Scale, groups: Groups | None, plan: Plan) -> markers.Markers:
    assert groups is not None
    values, first = _grouped(matrix, scale, groups, plan, kind)
    return markers.select(
        kind, values, matrix.names, first, level=plan.level, trees=plan.trees, top=plan.top, seed=plan.seed,
        workers=plan.workers,
    )  # fmt: skip
