"""The whole analysis: what each matrix says of the patients whose radiomic features are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from pipeline.errors import InputRejected
from pipeline.research.microenvironment import cell_tables, correlations, deconvolution, markers, scales
from pipeline.research.microenvironment.cell_tables import Cells
from pipeline.research.microenvironment.cohort import LEAST_OF_A_GROUP, Cohort, Groups, by_label, by_score, read_cohort
from pipeline.research.microenvironment.differences import Differences, differences
from pipeline.research.microenvironment.enrichment import Enrichment, over_represented
from pipeline.research.microenvironment.gene_sets import Collection, read_gene_sets
from pipeline.research.microenvironment.matrices import Matrix, read_matrix
from pipeline.research.tables.reading import shortened
from pipeline.signature.record import Floats

Kind = Literal["expression", "lncrna", "methylation"]
KINDS: tuple[Kind, ...] = ("expression", "lncrna", "methylation")
# So many features at most are correlated unless the user names them; the paper's number.
MOST_FEATURES = 180
# Without groups so many markers at most are correlated untested.
MOST_UNTESTED = 200
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Sources:
    """The files."""

    features: Path
    expression: Path | None = None
    lncrna: Path | None = None
    methylation: Path | None = None
    gene_sets: tuple[Path, ...] = ()
    background: Path | None = None
    cell_signature: Path | None = None
    cells: Path | None = None


@dataclass(frozen=True)
class Plan:
    """What is asked. `level`: of P; `deg_q`, `deg_fold`: genes with a smaller moderated q and at least so large a log
    fold change differ; `scales`: what the user says of a matrix, by its kind."""

    score: str | None = None
    label: str | None = None
    positive: str | None = None
    id_column: str | None = None
    cutoff: float | None = None
    features: tuple[str, ...] = ()
    scales: Mapping[Kind, scales.Scale] = field(default_factory=dict)
    level: float = 0.05
    deg_q: float = 0.05
    deg_fold: float = 0.0
    permutations: int = deconvolution.PERMUTATIONS
    quantile_normalisation: bool = False
    cells_p: float | None = None
    trees: int = 500
    top: int = markers.TOP
    seed: int = 0
    workers: int = 1


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
    collections = tuple(read_gene_sets(path) for path in sources.gene_sets)
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
    related = _related(plan, cohort, groups, matrices, scale, deg, cells, selected, notes)
    return Findings(
        plan, cohort, groups, status, matrices, scale, collections, deg, enrichment, cells,
        _cell_differences(cells, groups, plan), selected, related, tuple(notes),
    )  # fmt: skip


def differing(table: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """The genes of a table of differences that differ by the plan."""
    return table[(table["moderated_q"] < plan.deg_q) & (table["difference"].abs() >= plan.deg_fold)]


def _scale(kind: Kind, matrix: Matrix, plan: Plan) -> scales.Scale:
    stated = plan.scales.get(kind)
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
        listed = set(background.read_text(encoding="utf-8-sig").split())
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
        cells = _deconvolved(sources.cell_signature, matrix, scale, plan, notes, progress)
    return cells if cells is None or plan.cells_p is None else cell_tables.below(cells, plan.cells_p)


def _deconvolved(
    path: Path, matrix: Matrix, scale: scales.Scale, plan: Plan, notes: list[str], progress: Progress
) -> Cells:
    signature, unusable = cell_tables.read_cell_signature(path, matrix.names)
    if unusable:
        notes.append(f"{path.name}: names of genes that are mangled or occur twice: {shortened(unusable)}")
    stated = "expression" in plan.scales
    mixtures, how = scales.to_mix(matrix, scale, float(signature.values.max()), stated=stated)
    notes.append(f"Mixtures for the deconvolution: {how}.")
    fit = deconvolution.fractions_of(
        mixtures, matrix.names, signature, permutations=plan.permutations, seed=plan.seed, workers=plan.workers,
        quantile_normalisation=plan.quantile_normalisation,
        progress=lambda done, total: progress("deconvolution", done, total),
    )  # fmt: skip
    return Cells(
        matrix.patients, signature.cells, fit.fractions, f"deconvolution by {path.name}", "fractions", fit.p,
        fit.correlation, fit.rmse, None, fit,
    )  # fmt: skip


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


def _related(
    plan: Plan, cohort: Cohort, groups: Groups | None, matrices: Mapping[Kind, Matrix],
    scale: Mapping[Kind, scales.Scale], deg: Differences | None, cells: Cells | None,
    selected: Mapping[Kind, markers.Markers], notes: list[str],
) -> tuple[correlations.Correlations, ...]:  # fmt: skip
    """Key features and the score against cells, differing genes, lncRNAs and sites, each kind a family of its own."""
    features = key_features(cohort, groups, plan, notes)
    related = []
    if cells is not None:
        frame = pd.DataFrame(cells.values, index=list(cells.patients), columns=list(cells.names))
        related.append(_correlated("cells", features, frame, plan))
    for kind, matrix in matrices.items():
        names: list[str] = list(selected[kind].selected.index) if kind in selected else []
        if kind == "expression":
            chosen = None if deg is None else differing(deg.table, plan).nsmallest(plan.top, "moderated_p")
            names = [] if chosen is None else list(chosen.index)
        elif kind not in selected and len(matrix.names) <= MOST_UNTESTED:
            names = list(matrix.names)
        if not names:
            notes.append(f"No correlations with {kind}: no marker was selected.")
            continue
        values = scales.to_compare(matrix, scale[kind], stated=kind in plan.scales)
        where = {name: j for j, name in enumerate(matrix.names)}
        frame = pd.DataFrame(values[:, [where[n] for n in names]], index=list(matrix.patients), columns=names)
        related.append(_correlated("genes" if kind == "expression" else kind, features, frame, plan))
    return tuple(related)


def _correlated(kind: str, features: pd.DataFrame, frame: pd.DataFrame, plan: Plan) -> correlations.Correlations:
    common = [patient for patient in features.index if patient in set(frame.index)]
    return correlations.correlations(kind, features.loc[common], frame.loc[common], level=plan.level, seed=plan.seed)


def key_features(cohort: Cohort, groups: Groups | None, plan: Plan, notes: list[str]) -> pd.DataFrame:
    """The score and the features that are correlated: those named, all up to 180, or the 180 that differ most.

    Raises:
        InputRejected: a named feature is not in the table, or there are more than 180 and no groups to choose by.
    """
    features = cohort.features
    if plan.features:
        missing = [name for name in plan.features if name not in features.columns]
        if missing:
            raise InputRejected(f"{cohort.file} has no feature {shortened(missing)}", code="missing-columns")
        features = features[list(plan.features)]
    elif features.shape[1] > MOST_FEATURES:
        if groups is None:
            raise InputRejected(
                f"{cohort.file} has {features.shape[1]} features; name the key features with --feature (at most "
                f"{MOST_FEATURES} are taken unnamed), or groups with --score or --label",
                code="too-many-features",
            )
        which = [patient for patient in cohort.patients if patient in groups.members]
        first = np.array([groups.members[patient] for patient in which], dtype=np.bool_)
        tests = differences(features.loc[which].to_numpy(), tuple(map(str, features.columns)), first, shuffles=0)
        features = features[list(tests.table["p"].nsmallest(MOST_FEATURES).index)]
        notes.append(
            f"Of {cohort.features.shape[1]} features the {MOST_FEATURES} with the smallest P between {groups.first} "
            f"and {groups.second} by {groups.by} are correlated."
        )
    return features if cohort.score is None else pd.concat([cohort.score, features], axis=1)
