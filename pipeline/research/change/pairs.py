"""Two feature tables of the same patients, before and after treatment, put side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.errors import InputRejected
from pipeline.research.tables.reading import read_frame, refuse_repeated_columns, shortened
from pipeline.research.tables.row_names import NOBODY, as_text
from pipeline.signature.names import COMPANIONS, EXTRACTION_HASH, PROTOCOL, is_feature

Floats = npt.NDArray[np.float64]
_IDS = ("patient_id", "id", "ID", "case_id")  # what stays the same from one exam of a patient to the next
_HASHES = (EXTRACTION_HASH, PROTOCOL + EXTRACTION_HASH, "settings_hash")


@dataclass(frozen=True)
class Pairs:
    """`before` and `after`: float64 (patients, features), rows and columns alike. Finite throughout.

    `unpaired_before`, `unpaired_after`: patients that only one table has. `incomplete`: pairs left out for an empty
    cell. `response`: of each pair, as text, where it was asked for; "" where a patient has none.
    """

    columns: tuple[str, ...]
    before: Floats
    after: Floats
    unpaired_before: int
    unpaired_after: int
    incomplete: int
    digests: tuple[str, str]
    response: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.before)


def read(
    before: Path,
    after: Path,
    *,
    id_column: str | None = None,
    complete_cases: bool = False,
    foreign_columns: bool = False,
    response: str | None = None,
) -> Pairs:
    """Read two CSV or Parquet tables and pair their rows by id. `response`: a column of either table.

    `foreign_columns`: every numeric column is a feature, whatever its name (published tables).

    Raises InputRejected: an id is empty or repeated, the feature columns differ, a cell is no number or (without
    `complete_cases`) empty, the extraction settings differ, fewer than three pairs remain, or both tables have a
    response and they differ.
    """
    (first, one), (second, other) = (_table(path, id_column) for path in (before, after))
    answers = None if response is None else _response(first, second, response)
    first, second = (table.drop(columns=[response], errors="ignore") for table in (first, second))
    columns = [_features(table, foreign_columns) for table in (first, second)]
    differ = sorted(set(columns[0]) ^ set(columns[1]))
    if differ or not columns[0]:
        raise InputRejected(
            f"The two tables do not have the same feature columns: {shortened(differ) or 'none at all'}."
        )
    _same_extraction(first, second)
    common = [i for i in first.index if i in second.index]
    x, y = (_numbers(table.loc[common], columns[0], path) for table, path in ((first, before), (second, after)))
    whole = np.isfinite(x).all(axis=1) & np.isfinite(y).all(axis=1)
    if not whole.all() and not complete_cases:
        full = np.atleast_1d((np.isfinite(x) & np.isfinite(y)).all(axis=0))
        empty = [c for c, ok in zip(columns[0], full, strict=True) if not ok]
        raise InputRejected(
            f"{int((~whole).sum())} of {len(common)} pairs have empty cells, in {shortened(empty)}; "
            "--complete-cases leaves those pairs out."
        )
    if whole.sum() < 3:
        raise InputRejected(f"Only {int(whole.sum())} patients are complete in both tables; a paired test needs three.")
    return Pairs(
        tuple(columns[0]), x[whole], y[whole], len(first) - len(common), len(second) - len(common),
        int((~whole).sum()), (one, other),
        () if answers is None else tuple(answers.reindex(np.array(common, dtype=object)[whole]).fillna("")),
    )  # fmt: skip


def _response(first: pd.DataFrame, second: pd.DataFrame, column: str) -> pd.Series:
    """The response by patient's id, "" where none is told."""
    parts = [table[column].map(as_text) for table in (first, second) if column in table.columns]
    if not parts:
        raise InputRejected(f"Neither table has the column {column}.", code="missing-columns")
    parts = [part[~part.isin([*NOBODY])] for part in parts]
    common = parts[0].index.intersection(parts[-1].index)
    differ = int((parts[0].loc[common] != parts[-1].loc[common]).sum())
    if differ:
        raise InputRejected(f"The two tables tell another {column} of {differ} patients.", code="contradiction")
    together = pd.concat(parts)
    return together[~together.index.duplicated()]


def _table(path: Path, id_column: str | None) -> tuple[pd.DataFrame, str]:
    """A table indexed by id, cells as text (CSV) or as they are (Parquet), and the file's SHA-256."""
    frame, digest = read_frame(path)
    refuse_repeated_columns(frame, path.name)
    column = id_column or next((c for c in _IDS if c in frame.columns), None)
    if column is None or column not in frame.columns:
        raise InputRejected(f"{path.name} has no id column{f' {column}' if column else '; name it with --id'}.")
    ids = frame[column].astype(str).str.strip()
    wrong = ids.isin(["", "nan", "None"]) | ids.duplicated(keep=False)
    if wrong.any():
        rows = [str(n + 1) for n in np.flatnonzero(wrong)]
        raise InputRejected(f"{path.name}: ids in column {column} are empty or repeated, rows {shortened(rows)}.")
    return frame.drop(columns=column).set_axis(ids, axis=0), digest


def _features(table: pd.DataFrame, foreign: bool) -> list[str]:
    if not foreign:
        return [c for c in table.columns if is_feature(c)]
    return [c for c in table.columns if c not in COMPANIONS and not c.startswith(PROTOCOL)]


def _numbers(table: pd.DataFrame, columns: list[str], path: Path) -> Floats:
    cells = table[columns].mask(table[columns].isin(["", "NA", "nan", "NaN"]))
    numbers = cells.apply(pd.to_numeric, errors="coerce")
    strange = [str(c) for c in numbers.columns[(numbers.isna() & cells.notna()).any()]]
    if strange:
        raise InputRejected(f"{path.name}: cells that are no numbers in {shortened(strange)}.")
    return np.asarray(numbers.to_numpy(), dtype=np.float64)


def _same_extraction(first: pd.DataFrame, second: pd.DataFrame) -> None:
    for column in _HASHES:
        if column in first.columns and column in second.columns:
            hashes = set(first[column].astype(str)) | set(second[column].astype(str))
            if len(hashes) > 1:
                raise InputRejected(
                    f"The features were extracted with {len(hashes)} different settings (column {column}); "
                    "extract both tables again with the same."
                )
