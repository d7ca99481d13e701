"""The values of one exam in the order of a signature's columns."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipeline.errors import InputRejected
from pipeline.signature import names
from pipeline.signature.record import Floats


def vector(
    columns: tuple[str, ...], features: Mapping[str, float], clinical: Mapping[str, object]
) -> tuple[Floats, list[str]]:
    """One case as a row in the order of `columns`, and the names of what it lacks (NaN in the row)."""
    row = np.full(len(columns), np.nan)
    for j, column in enumerate(columns):
        name = column.split("=")[0]
        if column in features:
            row[j] = features[column]
        elif name in clinical:
            row[j] = clinical_value(column, clinical[name], "the clinical data of this exam")
    lacking = dict.fromkeys(
        c.split("=")[0] if "=" in c else c for c, v in zip(columns, row, strict=True) if not np.isfinite(v)
    )
    return row, list(lacking)


def clinical_value(column: str, cell: object, place: str) -> float:
    """A cell as the value of a clinical column, NaN where it is empty. Raises InputRejected, naming `place`."""
    try:
        return clinical_cell(column, cell)
    except ValueError as error:
        raise InputRejected(f"{place}: {error}", code="clinical-value") from None


def clinical_cell(column: str, cell: object) -> float:
    """As `clinical_value`. Raises ValueError, naming the column."""
    name, _, level = column.partition("=")
    try:
        if level:
            category = names.clinical_category(name, cell)
            return np.nan if category is None else float(category == level)
        number = names.clinical_number(name, cell)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return np.nan if number is None else number
