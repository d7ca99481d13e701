"""Cells of a cohort: the signature matrix that tells them apart, and fractions that were computed elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.errors import InputRejected
from pipeline.research.microenvironment.deconvolution import CellSignature, Fractions
from pipeline.research.microenvironment.grids import read_grid
from pipeline.research.microenvironment.matrices import Intake, Matrix, read_matrix
from pipeline.research.microenvironment.symbols import rows_of
from pipeline.research.tables.reading import shortened
from pipeline.signature.record import Floats

# What CIBERSORT writes beside the cells, in its versions' spellings, letters alone.
_P, _CORRELATION, _RMSE = ("pvalue",), ("correlation", "pearsoncorrelation"), ("rmse",)
_BESIDE = (*_P, *_CORRELATION, *_RMSE, "absolutescoresigscore", "absolutescorenosumto", "absolutescore")
_SUM_TOLERANCE = 0.01


@dataclass(frozen=True)
class Cells:
    """Cells of the cohort's patients.

    `values`: (patients, cells), NaN where unknown. `origin`: how they came about. `kind`: fractions (each patient's sum
    is 1), scores (no value below 0, other sums), or standardised values. `p`, `correlation`, `rmse`: (patients,) or
    None.
    """

    patients: tuple[str, ...]
    names: tuple[str, ...]
    values: Floats
    origin: str
    kind: str
    p: Floats | None = None
    correlation: Floats | None = None
    rmse: Floats | None = None
    intake: Intake | None = None
    fit: Fractions | None = None


def read_cell_signature(path: Path, genes: Collection[str]) -> tuple[CellSignature, tuple[str, ...]]:
    """Read a signature matrix, genes in rows or in columns, and the names of genes in it that are not usable.

    Raises:
        InputRejected: none of its genes is among `genes`, it has empty or negative cells, or fewer than two cells.
    """
    grid = read_grid(path)
    known = set(genes)
    if len(known & set(grid.titles)) > len(known & set(grid.texts(0))):
        grid = grid.turned()
    if not known & set(grid.texts(0)):
        raise InputRejected(
            f"{grid.name}: none of its {len(grid.frame)} genes is among the {len(known)} of the expression matrix",
            code="no-genes-in-common",
        )
    values = grid.numbers(list(range(1, len(grid.titles)))).T
    rows = rows_of(grid.texts(0), values)
    chosen = values[:, list(rows.positions)].T
    if chosen.shape[1] < 2:
        raise InputRejected(f"{grid.name} has {chosen.shape[1]} cells; at least two are needed", code="no-cells")
    if not np.isfinite(chosen).all() or float(chosen.min()) < 0:
        raise InputRejected(
            f"{grid.name}: {int((~np.isfinite(chosen)).sum())} empty and {int((chosen < 0).sum())} negative cells; a "
            "signature matrix has linear values throughout",
            code="wrong-scale",
        )
    _refuse_alike(grid.titles[1:], chosen, grid.name)
    return CellSignature(rows.names, grid.titles[1:], chosen), (*rows.mangled, *rows.duplicated)


def _refuse_alike(cells: Sequence[str], values: Floats, file: str) -> None:
    """Refuse cells (genes, cells) of one name or with the same values: nothing tells them apart."""
    _, first, same = np.unique(values, axis=1, return_index=True, return_inverse=True)
    alike = [cells[j] for j, group in enumerate(same.reshape(-1)) if first[group] != j]
    repeated = sorted({cell for cell in cells if cells.count(cell) > 1})
    if alike or repeated:
        what = f"of one name: {shortened(repeated)}" if repeated else f"with the values of another: {shortened(alike)}"
        raise InputRejected(f"{file} has cells {what}", code="cells-alike")


def read_cells(path: Path, cohort: Sequence[str]) -> Cells:
    """Read the results of a CIBERSORT run elsewhere, or another table of patients and cells.

    Raises:
        InputRejected: as `read_matrix` does, or it has no cells.
    """
    matrix = read_matrix(path, cohort)
    cells = [j for j, name in enumerate(matrix.names) if _letters(name) not in _BESIDE]
    if len(cells) < 2:
        raise InputRejected(f"{path.name} has {len(cells)} columns of cells", code="no-cells")
    values = matrix.values[:, cells]
    return Cells(
        matrix.patients, tuple(matrix.names[j] for j in cells), values, f"read from {path.name}", _kind(values),
        _p_values(matrix), _column(matrix, _CORRELATION), _column(matrix, _RMSE), matrix.intake,
    )  # fmt: skip


def below(cells: Cells, level: float) -> Cells:
    """The patients whose fit has a P below `level`.

    Raises:
        InputRejected: there is no P, or fewer than three patients have one so small.
    """
    if cells.p is None:
        raise InputRejected(
            "the table of cells has no column of P-values between 0 and 1 (9999 stands where CIBERSORT drew no "
            "permutations)",
            code="no-p-values",
        )
    which = cells.p < level
    if which.sum() < 3:
        raise InputRejected(f"the fit of cells has P < {level:g} in {int(which.sum())} patients", code="other-patients")
    p, correlation, rmse = (None if part is None else part[which] for part in (cells.p, cells.correlation, cells.rmse))
    patients = tuple(patient for patient, keep in zip(cells.patients, which, strict=True) if keep)
    return replace(cells, patients=patients, values=cells.values[which], p=p, correlation=correlation, rmse=rmse)


def _kind(values: Floats) -> str:
    if np.nanmin(values) < 0:
        return "standardised values"
    sums = np.nansum(values, axis=1)
    near = np.abs(sums - 1) <= _SUM_TOLERANCE
    if near.all():
        return "fractions"
    if near.mean() > 0.5:
        wrong = np.flatnonzero(~near)
        raise InputRejected(
            f"cells do not sum to 1 in {len(wrong)} of {len(sums)} patients: of those in the feature table, number "
            f"{shortened([int(w) + 1 for w in wrong])}",
            code="no-fractions",
        )
    return "scores"


def _column(matrix: Matrix, spellings: Sequence[str]) -> Floats | None:
    return next((matrix.values[:, j] for j, n in enumerate(matrix.names) if _letters(n) in spellings), None)


def _p_values(matrix: Matrix) -> Floats | None:
    """The column of P; None where there is none, or it holds something else."""
    p = _column(matrix, _P)
    known = np.empty(0) if p is None else p[np.isfinite(p)]
    return p if known.size and known.min() >= 0 and known.max() <= 1 else None


def _letters(name: str) -> str:
    return "".join(char for char in name.lower() if char.isalpha())
