"""In what scale a matrix is: counts, linear, logarithmic, centred; and how it is compared."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from pipeline.errors import InputRejected
from pipeline.research.microenvironment.matrices import Matrix
from pipeline.signature.record import Floats

Scale = Literal["counts", "linear", "log2", "centred", "beta", "percent", "m"]
SCALES: tuple[str, ...] = get_args(Scale)
# CIBERSORT takes a mixture with no value of 50 or more for logarithms, which no array or sequencer exceeds.
LARGEST_LOGARITHM = 50.0
# This share of whole numbers makes counts.
_WHOLE = 0.999
WORDS = {
    "counts": "counts",
    "linear": "normalised values that are not logarithmic",
    "log2": "logarithms",
    "centred": "values centred gene by gene (log ratios or z scores)",
    "beta": "beta values (0 to 1)",
    "percent": "percent methylated",
    "m": "M values",
}


def scale_of(values: Floats) -> Scale:
    """The scale of expression values (patients, genes), from the values alone.

    Counts: whole numbers. Centred: negative values, and the mean of most genes near 0. Logarithms: negative values, or
    none of 50 and more. Linear: the others.
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return "linear"
    low, high = float(finite.min()), float(finite.max())
    if low >= 0 and high > 1 and float((finite == np.rint(finite)).mean()) >= _WHOLE:
        return "counts"
    if low < 0:
        columns = values[:, np.isfinite(values).all(axis=0)]
        columns = columns if columns.size else values
        near_zero = np.abs(np.nanmean(columns, axis=0)) < 0.25 * np.nanstd(columns, axis=0)
        return "centred" if float(near_zero.mean()) > 0.5 else "log2"
    return "log2" if high < LARGEST_LOGARITHM else "linear"


def methylation_scale_of(values: Floats) -> Scale:
    """Beta values lie between 0 and 1, percent between 0 and 100, M values are logarithms of ratios."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if low < 0:
        return "m"
    return "beta" if high <= 1 else "percent" if high <= 100 else "m"


def refuse_impossible(matrix: Matrix, scale: Scale, *, methylation: bool) -> None:
    """Refuse a stated scale that is not of such a matrix, or that its values cannot have.

    Raises:
        InputRejected: with the smallest and largest value.
    """
    finite = matrix.values[np.isfinite(matrix.values)]
    low, high = float(finite.min()), float(finite.max())
    other = (scale in ("beta", "percent", "m")) != methylation
    ends = {"counts": (0, np.inf), "linear": (0, np.inf), "beta": (0, 1), "percent": (0, 100)}
    least, most = ends.get(scale, (-LARGEST_LOGARITHM, LARGEST_LOGARITHM))
    if other or low < least or high > most:
        why = "which is no scale of such a matrix" if other else f"but its values go from {low:.4g} to {high:.4g}"
        raise InputRejected(f"{matrix.intake.file} is said to be {WORDS[scale]}, {why}", code="wrong-scale")


def to_compare(matrix: Matrix, scale: Scale, *, stated: bool) -> Floats:
    """Values (patients, genes) on the scale on which groups are compared: logarithms to base 2, methylation as it is.

    Linear values become log2(x + 1); counts that the user has stated to be such, log2 of counts per million + 1.

    Raises:
        InputRejected: counts that nobody called so, or a patient without counts.
    """
    values = matrix.values
    if scale == "counts":
        sums = np.nansum(values, axis=1)
        if not stated:
            raise InputRejected(
                f"{matrix.intake.file} holds counts: all {values.size} cells are whole numbers, the largest "
                f"{np.nanmax(values):.0f}, and the patients' sums go from {sums.min():.0f} to {sums.max():.0f}. Give "
                "normalised values, or say --scale MATRIX=counts to compare log2(counts per million + 1).",
                code="counts",
            )
        if (sums <= 0).any():
            raise InputRejected(
                f"{matrix.intake.file}: {int((sums <= 0).sum())} patients have no counts", code="counts"
            )
        return np.asarray(np.log2(values / sums[:, None] * 1e6 + 1))
    return np.asarray(np.log2(values + 1)) if scale == "linear" else values


def to_mix(matrix: Matrix, scale: Scale) -> Floats:
    """Values (patients, genes) that add up as cells do: logarithms raised to powers of 2, others as they are.

    Raises:
        InputRejected: centred values, from which no mixture can be had.
    """
    if scale == "centred":
        raise InputRejected(
            f"{matrix.intake.file} holds {WORDS[scale]}; cells cannot be told from them. Give normalised values, "
            "logarithmic or not.",
            code="wrong-scale",
        )
    return np.asarray(np.exp2(matrix.values)) if scale == "log2" else matrix.values
