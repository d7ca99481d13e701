"""Which rows of a table are one patient: what is learnt from one of them must not be judged on another.

By `patient_key`, else by `patient_id` where that is not the rows' own name, and by nearly equal values: a follow-up,
the other side and the same exam under a second name are one patient. Without any of these each row is one.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pipeline.research.tables.feature_table import Table
from pipeline.research.tables.row_names import NOBODY
from pipeline.signature.record import Floats

Numbers = npt.NDArray[np.intp]

# Two rows are one patient's where this share of their features agrees to within so much, relatively.
SHARE, TOLERANCE = 0.99, 1e-6
# With fewer features that vary, equal values are no proof.
LEAST_FEATURES = 20
# So many features with the most different values are looked at for pairs that are worth a whole comparison.
PROBES = 8


def patients_of(table: Table) -> Numbers:
    """Per row (rows,) the number of its patient, 0, 1, … in the order of first appearance."""
    numbers = _by_name(table)
    for a, b in nearly_equal_rows(table):
        first, second = sorted((numbers[a], numbers[b]))
        numbers[numbers == second] = first
    _, first_rows, patients = np.unique(numbers, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first_rows))[patients.reshape(-1)].astype(np.intp)


def key_of(table: Table) -> str | None:
    """The id of the key under which a table names its patients; None where it does not, or rows differ."""
    ids = {str(cell).strip() for cell in table.others.get("patient_key_id", ())} - NOBODY
    return ids.pop() if len(ids) == 1 and "patient_key" in table.others else None


def keys(table: Table) -> tuple[str, ...]:
    """Per row the patient's digest; "" where the row has none or the table has no one key."""
    if key_of(table) is None:
        return ("",) * len(table)
    return tuple("" if (name := str(c).strip()) in NOBODY else name for c in table.others["patient_key"])


def _by_name(table: Table) -> Numbers:
    numbers = np.arange(len(table))
    for names in (_patient_names(table), _exams(table)):
        seen: dict[str, int] = {}
        for row, name in enumerate(names):
            if name and seen.setdefault(name, row) != row:
                first, second = sorted((numbers[seen[name]], numbers[row]))
                numbers[numbers == second] = first
    return numbers


def _patient_names(table: Table) -> list[str]:
    """The key of each row's patient, the id of a row without a key; "" where it has neither."""
    names = [""] * len(table)
    for column in ("patient_key", "patient_id"):
        cells = table.others.get(column, ())
        texts = ["" if (name := str(cell).strip()) in NOBODY else f"{column} {name}" for cell in cells]
        names = [name or text for name, text in zip(names, texts, strict=True)] if texts else names
    return names


def _exams(table: Table) -> list[str]:
    """Ids without the side that tells the two rows of an exam apart."""
    sides = table.sides
    return [] if sides is None else [i.removesuffix(f"/{s}") for i, s in zip(table.ids, sides, strict=True)]


def nearly_equal_rows(table: Table) -> Iterator[tuple[int, int]]:
    """Pairs of rows of which 99 % of the features agree to 1e-6. Published tables are taken as they are: none."""
    if not table.foreign_columns:
        yield from nearly_equal(table.features)


def nearly_equal(values: Floats, least: int = LEAST_FEATURES) -> Iterator[tuple[int, int]]:
    """Pairs of rows (rows, features) of which 99 % of the features agree to 1e-6; NaN where there is no value.

    None where fewer than `least` features vary.
    """
    if len(values) < 2:
        return
    values = values[:, _varying(values)]
    if values.shape[1] < least:
        return
    different = np.array([len(np.unique(column)) for column in values.T])
    pairs: set[tuple[int, int]] = set()
    for probe in np.argsort(-different, kind="stable")[:PROBES]:
        pairs |= _neighbours(values[:, probe])
    for a, b in sorted(pairs):
        both = ~(np.isnan(values[a]) | np.isnan(values[b]))
        if both.sum() >= least and _close(values[a][both], values[b][both]).mean() >= SHARE:
            yield a, b


def _neighbours(column: Floats) -> set[tuple[int, int]]:
    """Pairs of rows whose values agree, found along the sorted column."""
    order = [int(row) for row in np.argsort(column, kind="stable") if not np.isnan(column[row])]
    pairs = set()
    for place, row in enumerate(order):
        for other in order[place + 1 :]:
            if not _close(column[row], column[other]):
                break
            pairs.add((min(row, other), max(row, other)))
    return pairs


def _close(a: Floats | np.float64, b: Floats | np.float64) -> npt.NDArray[np.bool_]:
    return np.asarray(np.abs(a - b) <= TOLERANCE * np.maximum(np.abs(a), np.abs(b)))


def _varying(features: Floats) -> npt.NDArray[np.bool_]:
    filled = np.where(np.isnan(features), np.nanmean(features) if not np.isnan(features).all() else 0.0, features)
    return np.asarray(np.ptp(filled, axis=0) > 0)
