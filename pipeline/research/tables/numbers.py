"""Cells as numbers: with a decimal point, or throughout with a decimal comma; every cell that is none is told."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.research.tables.faults import Faults
from pipeline.signature.cells import is_missing, is_number

_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?", re.ASCII)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+", re.ASCII)
# Squares, and squares of squares, of what lies between are numbers of 64 bits; no feature of an image comes near.
SMALLEST, LARGEST = 1e-70, 1e70


def with_points(
    frame: pd.DataFrame,
    features: Iterable[str],
    decimal: str | None,
    faults: Faults,
    aside: Collection[str | None] = (),
) -> pd.DataFrame:
    """The table with a decimal point where it has a comma.

    `features`: columns that must be numbers; of the others, without `aside`, those count whose cells all are.
    `decimal` says what is used; None: a comma is a decimal one where no number of the table has a point, and some
    could not have a comma between thousands.
    """
    if decimal == ".":
        return frame
    wanted = set(features)
    columns = [c for c in frame.columns if c in wanted or (c not in aside and _all_numbers(frame[c]))]
    commas = [(row, c, text) for c in columns for row, text in _texts(frame[c]) if _COMMA.fullmatch(text)]
    if not commas:
        return frame
    if decimal is None:
        points = ((row, c, text) for c in columns for row, text in _texts(frame[c]) if "." in text and is_number(text))
        if point := next(points, None):
            faults.add_cells("ambiguous-numbers", "numbers with a decimal comma and with a point", (commas[0], point))
            return frame
        if all(_THOUSANDS.fullmatch(text) for _, _, text in commas):
            more = f" and {len(commas) - 5} more" if len(commas) > 5 else ""
            listed = ", ".join(f"row {row} {c} = {text!r}" for row, c, text in commas[:5])
            faults.add(
                "ambiguous-numbers",
                f"commas that are decimal or between thousands: {listed}{more}; write points, or say "
                'decimal = "," in a file for --map',
            )
            return frame
    changed = frame.copy()
    for column in dict.fromkeys(c for _, c, _ in commas):
        changed[column] = [_with_point(cell) for cell in frame[column]]
    return changed


def numbers_in(frame: pd.DataFrame, columns: tuple[str, ...], faults: Faults) -> npt.NDArray[np.float64]:
    """(rows, columns) float64 with NaN where a cell stands for nothing."""
    values = np.full((len(frame), len(columns)), np.nan)
    wrong: list[tuple[int, str, str]] = []
    infinite: list[tuple[int, str, str]] = []
    too_large: list[tuple[int, str, str]] = []
    for j, column in enumerate(columns):
        try:
            values[:, j] = _column(frame[column])
        except (ValueError, TypeError):
            for row, cell in enumerate(frame[column]):
                text = str(cell).strip()
                if is_number(text):
                    values[row, j] = float(text)
                elif text.lower().lstrip("+-") in ("inf", "infinity"):
                    infinite.append((row + 1, column, text))
                elif not is_missing(text):
                    wrong.append((row + 1, column, str(cell)))
        large = np.abs(values[:, j]) > LARGEST
        those = [(row + 1, column, str(frame[column].iloc[row])) for row in np.flatnonzero(large).tolist()]
        infinite += [cell for cell in those if np.isinf(values[cell[0] - 1, j])]
        too_large += [cell for cell in those if np.isfinite(values[cell[0] - 1, j])]
    faults.add_cells("not-numbers", "cells that are no numbers", wrong)
    faults.add_cells("not-numbers", "infinite values", infinite)
    faults.add_cells("extreme-values", f"values of more than {LARGEST:g}, whose variance is no number", too_large)
    return values


def _column(cells: pd.Series) -> npt.NDArray[np.float64]:
    """The cells as numbers in one go. ValueError: one is none, or only Python takes it for one (`1_0`, `inf`)."""
    if cells.dtype.kind in "fiub":
        return np.asarray(cells, dtype=np.float64)
    joined = "".join(cells)
    if not joined.isascii() or "_" in joined or "n" in joined.lower():
        raise ValueError
    return np.array([float(cell) for cell in cells])


def _all_numbers(cells: pd.Series) -> bool:
    """Whether a column of text has numbers alone, with a comma in one."""
    texts = [text for _, text in _texts(cells)]
    return any("," in t for t in texts) and all(is_number(t) or _COMMA.fullmatch(t) for t in texts)


def _texts(cells: pd.Series) -> Iterator[tuple[int, str]]:
    """Row numbers from 1, and what stands in those cells of text that are not empty."""
    for row, cell in enumerate(cells, 1):
        if isinstance(cell, str) and not is_missing(cell):
            yield row, cell.strip()


def _with_point(cell: object) -> object:
    return cell.replace(",", ".") if isinstance(cell, str) and _COMMA.fullmatch(cell.strip()) else cell
