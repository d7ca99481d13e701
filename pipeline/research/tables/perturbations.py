"""The perturbations of a table's exams (`axrad extract --perturb`), row by row of the table."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.errors import InputRejected
from pipeline.research.tables.faults import row_list
from pipeline.research.tables.feature_table import Table
from pipeline.research.tables.row_names import NOBODY
from pipeline.signature import names
from pipeline.signature.record import Floats

STUDY = "study_uid"
# Relative difference of two numbers up to which they are the same, written with other digits.
SAME = 0.01


def read_perturbations(table: Table, columns: tuple[str, ...]) -> Floats:
    """(rows, repeats, columns), the exam as it is among the repeats; NaN where there is no number, or no such exam.

    Raises:
        InputRejected: there is no file of perturbations beside the table, it lacks a column, no row is in it, or
            its exams have other features than the table's.
    """
    path = table.perturbations
    if path is None or not path.is_file():
        raise InputRejected(
            f"{table.name}: there are no perturbations of its exams ({table.name}.perturbed.parquet): extract with "
            "--perturb 30, or train without --stable",
            code="no-perturbations",
        )
    try:
        cells = pd.read_parquet(path)
        lacking = [c for c in (STUDY, "side", "number", *columns) if c not in cells.columns]
        if lacking:
            raise InputRejected(f"{path.name} has no column {lacking[0]}", code="missing-columns")
        values = cells[list(columns)].to_numpy(dtype=np.float64)
        repeat = cells["number"].to_numpy(dtype=np.int64)
    except (OSError, ValueError, TypeError) as error:
        raise InputRejected(f"{path.name} is no table of perturbations", code="bad-table") from error
    numbers = {number: place for place, number in enumerate(np.unique(repeat).tolist())}
    rows = {key: row for row, key in enumerate(_keys(table))}
    repeats = np.full((len(table), len(numbers), len(columns)), np.nan)
    for place, key in enumerate(zip(cells[STUDY], cells["side"], strict=True)):
        row = rows.get((str(key[0]), _side(key[1])))
        if row is not None:
            repeats[row, numbers[int(repeat[place])]] = values[place]
    if np.isnan(repeats).all():
        raise InputRejected(f"{path.name} has no exam of {table.name}", code="no-perturbations")
    if 0 not in numbers:
        raise InputRejected(f"{path.name} lacks the exams as they are (number 0)", code="bad-table")
    _refuse_others(path.name, table, columns, repeats[:, numbers[0]])
    return repeats


def _refuse_others(file: str, table: Table, columns: tuple[str, ...], as_they_are: Floats) -> None:
    """Refuse a file whose exams, as they are, are not the table's. A table may be rounded, or have a cell mended.

    Settings may be of one sequence, and regions of one role: each sequence in each region is looked at by itself.

    Raises:
        InputRejected: in a row, more than half of the features of a sequence in a region differ from the table's.
    """
    own = table.features[:, [table.columns.index(c) for c in columns]]
    both = np.isfinite(own) & np.isfinite(as_they_are)
    differ = both & (np.abs(own - as_they_are) > SAME * np.maximum(np.abs(own), np.abs(as_they_are)))
    groups = np.array([names.group_of(c) for c in columns])
    others = np.zeros(len(table), dtype=np.bool_)
    for group in dict.fromkeys(groups.tolist()):
        here = groups == group
        others |= differ[:, here].sum(axis=1) > both[:, here].sum(axis=1) / 2
    if others.any():
        raise InputRejected(
            f"{file} has other features than {table.name} for the same exams (rows "
            f"{row_list((np.flatnonzero(others) + 1).tolist())}): made with other regions or settings; extract again",
            code="other-perturbations",
        )


def _keys(table: Table) -> list[tuple[str, str]]:
    """Study and side of each row."""
    sides = [""] * len(table) if table.sides is None else [_side(side) for side in table.sides]
    if table.id_column == STUDY:
        studies = [name.partition("/")[0] for name in table.ids]
    elif STUDY in table.others:
        studies = [str(cell).strip() for cell in table.others[STUDY]]
    else:
        raise InputRejected(f"{table.name}: perturbations need the column {STUDY}", code="missing-columns")
    return list(zip(studies, sides, strict=True))


def _side(cell: object) -> str:
    text = "" if cell is None else str(cell).strip()
    return "" if text in NOBODY else text
