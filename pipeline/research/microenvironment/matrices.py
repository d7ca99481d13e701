"""Matrices of a cohort: genes, lncRNAs, methylated sites or cells of its patients, read and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.errors import InputRejected
from pipeline.research.microenvironment import barcodes, symbols
from pipeline.research.microenvironment.grids import Grid, read_grid
from pipeline.research.tables.reading import shortened
from pipeline.signature.record import Floats

# Fewer patients than these in common are no cohort.
LEAST_PATIENTS = 10


@dataclass(frozen=True)
class Intake:
    """What was read of a file and what was left out, in figures."""

    file: str
    sha256: str
    patients_in: str
    samples: barcodes.Samples
    rows: symbols.Rows
    missing_cells: int
    not_numeric: tuple[str, ...] = ()


@dataclass(frozen=True)
class Matrix:
    """`values`: (patients, names) float64, NaN where a cell is empty; nothing is imputed."""

    patients: tuple[str, ...]
    names: tuple[str, ...]
    values: Floats
    intake: Intake

    def of(self, patients: Sequence[str]) -> Floats:
        """The rows of these patients, in their order."""
        where = {patient: row for row, patient in enumerate(self.patients)}
        return self.values[[where[patient] for patient in patients]]


def read_matrix(path: Path, cohort: Sequence[str]) -> Matrix:
    """Read a matrix of the cohort's patients, in rows or in columns: where more of the cohort's names are.

    Args:
        path: CSV, TSV or Parquet, also compressed by gzip.
        cohort: the patients of the feature table, TCGA barcodes shortened to the patient.

    Raises:
        InputRejected: it cannot be read, has none or too few of the patients, names a patient twice, or has cells
            that are no numbers.
    """
    grid = read_grid(path)
    column, matches = _patients_column(grid, set(cohort))
    in_titles = len({barcodes.patient_of(title) for title in grid.titles} & set(cohort))
    if max(matches, in_titles) == 0:
        raise InputRejected(
            f"{grid.name} has none of the {len(cohort)} patients of the feature table: neither among its "
            f"{len(grid.titles)} titles nor in its first column of {len(grid.frame)} rows. Names must agree, but for "
            "TCGA barcodes, which are shortened to the patient.",
            code="other-patients",
        )
    if min(matches, in_titles) * 2 >= max(matches, in_titles, 2):
        raise InputRejected(
            f"{grid.name} has patients on both sides: {in_titles} among its titles and {matches} in a column; one side "
            "must be genes or sites",
            code="patients-on-both-sides",
        )
    matrix = _patients_in_columns(grid, cohort) if in_titles >= matches else _patients_in_rows(grid, cohort, column)
    if len(matrix.patients) < LEAST_PATIENTS:
        other = matrix.intake.samples.other_tissue
        no_tumours = f" ({other} samples of them are no primary tumours by their barcode)" if other else ""
        raise InputRejected(
            f"{grid.name} has {len(matrix.patients)} of the {len(cohort)} patients of the feature table{no_tumours}; "
            f"at least {LEAST_PATIENTS} are needed",
            code="other-patients",
        )
    return matrix


def _patients_column(grid: Grid, cohort: set[str]) -> tuple[int, int]:
    """The column with most names of the cohort's patients, and how many it has."""
    texts = [0, *(int(c) for c in grid.frame.columns[1:] if grid.frame[c].dtype == object and len(grid.titles) < 5000)]
    counts = {c: len({barcodes.patient_of(cell) for cell in grid.texts(c)} & cohort) for c in texts}
    best = max(counts, key=lambda c: counts[c])
    return best, counts[best]


def _patients_in_columns(grid: Grid, cohort: Sequence[str]) -> Matrix:
    # The first column has the names.
    samples = _one_each(barcodes.samples_of(grid.titles[1:], cohort), grid, "columns")
    patients = [patient for patient in cohort if patient in samples.positions]
    values = grid.numbers([samples.positions[patient] + 1 for patient in patients]).T
    return _matrix(grid, patients, grid.texts(0), values, samples, "columns")


def _patients_in_rows(grid: Grid, cohort: Sequence[str], column: int) -> Matrix:
    samples = _one_each(barcodes.samples_of(grid.texts(column), cohort), grid, "rows")
    patients = [patient for patient in cohort if patient in samples.positions]
    rows = [samples.positions[patient] for patient in patients]
    part = Grid(grid.name, grid.sha256, grid.titles, grid.frame.iloc[rows].reset_index(drop=True))
    columns = [int(c) for c in grid.frame.columns if c != column]
    numeric = [c for c in columns if _is_numeric(part, c)]
    left_out = tuple(grid.titles[c] for c in columns if c not in set(numeric))
    return _matrix(grid, patients, [grid.titles[c] for c in numeric], part.numbers(numeric), samples, "rows", left_out)


def _is_numeric(grid: Grid, column: int) -> bool:
    """Whether a column holds any number: one of words alone describes patients and is no gene."""
    cells = grid.frame[column]
    if cells.dtype != object:
        return True
    return any(char.isdigit() for text in grid.texts(column)[:50] for char in text[:3])


def _one_each(samples: barcodes.Samples, grid: Grid, side: str) -> barcodes.Samples:
    if samples.contradictory:
        first = 2 if side == "columns" else 1
        raise InputRejected(
            f"{grid.name}: {side} {shortened([p + first for p in samples.contradictory])} name patients that another "
            "one names too; leave one for each patient",
            code="duplicate-patients",
        )
    return samples


def _matrix(
    grid: Grid, patients: Sequence[str], names: Sequence[str], values: Floats, samples: barcodes.Samples, side: str,
    not_numeric: tuple[str, ...] = (),
) -> Matrix:  # fmt: skip
    rows = symbols.rows_of(names, values)
    if not rows.names:
        raise InputRejected(f"{grid.name} has no row with a usable name", code="no-genes")
    values = np.ascontiguousarray(values[:, list(rows.positions)])
    # A sample without any value is none: it is counted with the missing ones, and costs no gene its other patients.
    whole = np.isfinite(values).any(axis=1)
    if len(patients) and not (whole.any() and np.nanmin(values) < np.nanmax(values)):
        what = f"is {np.nanmin(values):.4g}" if whole.any() else "is empty"
        raise InputRejected(f"{grid.name}: every cell of the cohort's patients {what}", code="no-values")
    patients, values = [patients[row] for row in np.flatnonzero(whole).tolist()], values[whole]
    samples = replace(samples, missing=samples.missing + int((~whole).sum()))
    intake = Intake(grid.name, grid.sha256, side, samples, rows, int(np.isnan(values).sum()), not_numeric)
    return Matrix(tuple(patients), rows.names, values, intake)
