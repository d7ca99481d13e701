"""What names the rows of a table and what they are: ids with their sides, and the outcome."""

from __future__ import annotations

from collections import Counter
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.research.tables.faults import Faults, row_list
from pipeline.signature.level_split import LevelSplit

SIDES = ("side", "laterality")
# Of an id or an outcome, what stands for none; `none` may well be one.
NOBODY: Final = frozenset(("", "nan", "None", "NA", "NaN", "N/A", "#N/A", "<NA>"))


def as_text(value: object) -> str:
    """A label or id as text; 1, 1.0 and "1.0" are the same."""
    text = str(value).strip()
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() and ("." in text or not isinstance(value, str)) else text


def ids_of(frame: pd.DataFrame, column: str | None, faults: Faults) -> tuple[str, ...]:
    """The rows' names: of the column, with the side where an exam has two rows; else their numbers."""
    ids = tuple(map(as_text, frame[column])) if column else tuple(str(i + 1) for i in range(len(frame)))
    ids = _by_side(ids, frame)
    empty = [row + 1 for row, i in enumerate(ids) if i in NOBODY]
    if empty:
        faults.add("missing-ids", f"no id in column {column} in rows {row_list(empty)}")
    seen: dict[str, int] = {}
    pairs = [(seen[i], row) for row, i in enumerate(ids) if i not in NOBODY and seen.setdefault(i, row) != row]
    if pairs:
        listed = ", ".join(f"{a + 1} and {b + 1}" for a, b in pairs[:100])
        more = f" and {len(pairs) - 100} more" if len(pairs) > 100 else ""
        faults.add("duplicate-patients", f"the same id in column {column} in rows {listed}{more}")
    return ids


def labels_of(
    cells: pd.Series, positive: str, negative: str | None, faults: Faults
) -> tuple[npt.NDArray[np.bool_], str | None]:
    """Which rows are positive, and the other class's value; found out where only two occur."""
    where, labels = f"column {cells.name}", [as_text(c) for c in cells]
    empty = [i + 1 for i, text in enumerate(labels) if text in NOBODY - {positive, negative}]
    if empty:
        faults.add("missing-labels", f"no label in rows {row_list(empty)}", where)
    values = sorted(set(labels) - (NOBODY - {positive, negative}))
    other_values = [v for v in values if v != positive]
    if negative is None and len(other_values) == 1:
        negative = other_values[0]
    strange = [v for v in values if v not in (positive, negative)]
    if negative is not None and strange:
        rows = [i + 1 for i, text in enumerate(labels) if text in strange]
        faults.add(
            "unknown-labels",
            f"labels {', '.join(strange[:100])} are not in the vocabulary ({positive}, {negative}): rows "
            f"{row_list(rows)}",
            where,
        )
    elif positive not in values:
        faults.add("one-class", f"no case is {positive}, the positive class; found {', '.join(values[:10])}", where)
    elif negative is None:
        classes = f"only {positive}" if len(values) == 1 else f"{', '.join(values[:10])}: say which with --negative"
        faults.add("one-class", f"two classes are needed, found {classes}", where)
    elif negative not in values:
        faults.add("one-class", f"every case is {positive}; one class only", where)
    return np.array([text == positive for text in labels], dtype=np.bool_), negative


def merged_levels(cells: pd.Series, split: LevelSplit) -> pd.Series:
    """The cells with each level replaced by the class that it is part of; others stay, for `labels_of` to refuse."""
    classes = dict.fromkeys(split.positive, split.positive_class)
    classes |= dict.fromkeys(split.negative, split.negative_class)
    return cells.map(lambda cell: classes.get(as_text(cell), cell))


def _by_side(ids: tuple[str, ...], frame: pd.DataFrame) -> tuple[str, ...]:
    """Two rows of one exam are told apart by their side, where a column has it: `ID/L` and `ID/R`."""
    column = next((c for c in SIDES if c in frame.columns), None)
    if column is None or len(set(ids)) == len(ids):
        return ids
    counts = Counter(ids)
    return tuple(
        f"{i}/{side}" if counts[i] > 1 and (side := str(cell).strip()) not in NOBODY else i
        for i, cell in zip(ids, frame[column], strict=True)
    )
