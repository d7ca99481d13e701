"""Cells of a cohort from its expression matrix: the scale of the mixtures, then their deconvolution."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.research.microenvironment import cell_tables, scales
from pipeline.research.microenvironment.cell_tables import Cells
from pipeline.research.microenvironment.deconvolution import CellSignature, fractions_of
from pipeline.research.microenvironment.matrices import Matrix
from pipeline.research.microenvironment.plan import Plan, Progress
from pipeline.research.tables.reading import shortened
from pipeline.signature.record import Floats


def deconvolved(
    path: Path, matrix: Matrix, scale: scales.Scale, plan: Plan, notes: list[str], progress: Progress
) -> Cells:
    """Fractions by the signature matrix at `path`; what was decided on the way is added to `notes`.

    Raises:
        InputRejected: the signature matrix is none, has too few of the genes, or the values cannot be mixtures.
    """
    signature, unusable = cell_tables.read_cell_signature(path, matrix.names)
    if unusable:
        notes.append(f"{path.name}: names of genes that are mangled or occur twice: {shortened(unusable)}")
    mixtures, how = _mixtures(matrix, scale, signature, plan)
    notes.append(f"Mixtures for the deconvolution: {how}.")
    fit = fractions_of(
        mixtures, matrix.names, signature, permutations=plan.permutations, seed=plan.seed, workers=plan.workers,
        quantile_normalisation=plan.quantile_normalisation,
        progress=lambda done, total: progress("deconvolution", done, total),
    )  # fmt: skip
    return Cells(
        matrix.patients, signature.cells, fit.fractions, f"deconvolution by {path.name}", "fractions", fit.p,
        fit.correlation, fit.rmse, None, fit,
    )  # fmt: skip


def _mixtures(matrix: Matrix, scale: scales.Scale, signature: CellSignature, plan: Plan) -> tuple[Floats, str]:
    """Linear values (patients, genes), and what was done to have them.

    Small values are logarithms where the signature matrix has large ones, as CIBERSORT takes it. Where both are small
    and nobody has stated the scale, both ways are fitted, and the one counts that explains the mixtures better.
    """
    values = scales.to_mix(matrix, scale)
    small = float(signature.values.max()) < scales.LARGEST_LOGARITHM
    if scale != "log2":
        return values, "as they are"
    if "expression" in plan.scales or not small:
        return values, "logarithms, raised to powers of 2"
    fits = [
        fractions_of(v, matrix.names, signature, permutations=0, workers=plan.workers) for v in (matrix.values, values)
    ]
    linear, raised = (float(np.nanmedian(fit.correlation)) for fit in fits)
    why = (
        "no value of 50 or more there or in the signature matrix; the median correlation of the fit is "
        f"{linear:.3f} as they are and {raised:.3f} raised to powers of 2"
    )
    return (matrix.values, f"as they are: {why}") if linear >= raised else (values, f"raised to powers of 2: {why}")
