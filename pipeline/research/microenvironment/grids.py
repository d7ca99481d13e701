"""Files of numbers with names along two sides: CSV, TSV, Parquet, each also compressed by gzip."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.errors import InputRejected
from pipeline.research.tables.reading import shortened
from pipeline.research.tables.separated import text_of
from pipeline.signature.record import Floats

_SEPARATORS = ("\t", ";", ",")
_EMPTY = ["", "NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL", "None"]
_COMMA = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
_POINT = re.compile(r"[+-]?\d*\.\d+(?:[eE][+-]?\d+)?")
_PARQUET = (".parquet", ".pq")


@dataclass(frozen=True)
class Grid:
    """A file as it is. `frame`: its cells without the titles, columns numbered; `titles`: one per column."""

    name: str
    sha256: str
    titles: tuple[str, ...]
    frame: pd.DataFrame

    def texts(self, column: int) -> list[str]:
        """The cells of a column as text; an empty one is ""."""
        return ["" if pd.isna(cell) else str(cell).strip() for cell in self.frame[column]]

    def turned(self) -> Grid:
        """Rows as columns: the first column becomes the titles, the titles the first column."""
        body = self.frame.iloc[:, 1:].T.reset_index(drop=True)
        body.insert(0, -1, list(self.titles[1:]))
        titles = (self.titles[0], *self.texts(0))
        return Grid(self.name, self.sha256, titles, body.set_axis(range(body.shape[1]), axis=1))

    def numbers(self, columns: list[int]) -> Floats:
        """The cells of these columns as (rows, columns) float64, empty ones NaN.

        Raises:
            InputRejected: cells that are no numbers, or infinite ones, with their rows.
        """
        values = np.empty((len(self.frame), len(columns)))
        wrong: list[int] = []
        commas: list[str] = []
        for j, column in enumerate(columns):
            values[:, j], rows, with_commas = _numbers(self.frame[column])
            wrong += rows
            commas += with_commas
        if commas:
            self._refuse_ambiguous(commas, points=any(_has_points(self.frame[c]) for c in columns))
        if wrong:
            rows = sorted(set(wrong))
            raise InputRejected(
                f"{self.name}: {len(wrong)} cells are no finite numbers, in rows {shortened([r + 1 for r in rows])}",
                code="not-numbers",
            )
        return values

    def _refuse_ambiguous(self, commas: list[str], *, points: bool) -> None:
        """Refuse numbers with a comma of which nothing tells whether it is the decimal one: 1,234."""
        if points or all(_THOUSANDS.fullmatch(text) for text in commas):
            why = "others with a point" if points else "all of them with three digits behind it"
            raise InputRejected(
                f"{self.name}: {len(commas)} numbers are written with a comma, {why}; write numbers without separators "
                "of thousands, and with one sign for decimals",
                code="ambiguous-numbers",
            )


def read_grid(path: Path) -> Grid:
    """Read a file.

    Raises:
        InputRejected: it cannot be read, or is no such table.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputRejected(f"cannot read {path.name}: {error.strerror}", code="table-unreadable") from error
    digest = hashlib.sha256(data).hexdigest()
    if data.startswith(b"\x1f\x8b"):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise InputRejected(f"{path.name} is damaged: {error}", code="table-unreadable") from error
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if data.startswith(b"PAR1") or any(suffix in _PARQUET for suffix in suffixes):
        titles, frame = _parquet(data, path.name)
    else:
        titles, frame = _separated(text_of(data, path.name), path.name)
    if frame.shape[0] < 1 or frame.shape[1] < 2:
        raise InputRejected(
            f"{path.name} is no matrix: {frame.shape[0]} rows and {frame.shape[1]} columns; names are expected in the "
            "first column and the first row",
            code="table-unreadable",
        )
    return Grid(path.name, digest, tuple(title.strip() for title in titles), frame)


def _separated(text: str, name: str) -> tuple[list[str], pd.DataFrame]:
    """Titles and cells. Lines of comments (`#`) before the titles are passed over."""
    source = io.StringIO(text, newline="")
    line = source.readline()
    while line and (not line.strip() or line.startswith("#")):
        line = source.readline()
    separator = max(_SEPARATORS, key=re.sub(r'"[^"]*"', "", line).count)
    titles = next(csv.reader([line.rstrip("\r\n")], delimiter=separator), [])
    try:
        frame = pd.read_csv(
            source, sep=separator, header=None, dtype={0: str}, keep_default_na=False, na_values=_EMPTY,
            low_memory=False, float_precision="round_trip", index_col=False,
        )  # fmt: skip
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError) as error:
        raise InputRejected(f"{name} is no table of separated values: {error}", code="table-unreadable") from error
    if frame.shape[1] == len(titles) + 1:
        titles = ["", *titles]  # as R writes names of rows
    if frame.shape[1] != len(titles):
        raise InputRejected(
            f"{name} is no table: {len(titles)} titles over {frame.shape[1]} columns", code="table-unreadable"
        )
    return titles, frame


def _parquet(data: bytes, name: str) -> tuple[list[str], pd.DataFrame]:
    try:
        frame = pd.read_parquet(io.BytesIO(data))
    except (ValueError, OSError, TypeError, KeyError, NotImplementedError) as error:
        raise InputRejected(f"{name} is no Parquet table: {error}", code="table-unreadable") from error
    if frame.index.nlevels > 1 or frame.columns.nlevels > 1:
        why = "has an index of several levels; write one column of names"
        raise InputRejected(f"{name} {why}", code="table-unreadable")
    titles = [str(column) for column in frame.columns]
    if not isinstance(frame.index, pd.RangeIndex):
        titles.insert(0, str(frame.index.name or ""))
        frame = pd.concat([pd.Series(frame.index.astype(object)), frame.reset_index(drop=True)], axis=1)
    frame = frame.set_axis(range(frame.shape[1]), axis=1)
    texts = [column for column in frame if frame[column].dtype == object]
    nested = [titles[column] for column in texts if frame[column].map(_is_nested).any()]
    if nested:
        raise InputRejected(f"{name}: columns with lists in their cells: {shortened(nested)}", code="not-numbers")
    # A date or a truth is no value of a gene, though it can be made a number.
    for column in frame:
        if frame[column].dtype.kind in "mMb":
            frame[column] = frame[column].astype(str).astype(object)
    return titles, frame


def _is_nested(cell: object) -> bool:
    return isinstance(cell, (list, tuple, dict, set, np.ndarray))


def _has_points(cells: pd.Series) -> bool:
    """Whether a number of the column has decimals behind a point."""
    if cells.dtype != object:
        values = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        return bool((values[np.isfinite(values)] % 1 != 0).any())
    return any(_POINT.fullmatch(str(cell).strip()) for cell in cells)


def _numbers(cells: pd.Series) -> tuple[Floats, list[int], list[str]]:
    """A column as numbers, the rows that hold something else, and the numbers that were written with a comma."""
    values = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan).copy()
    rows, commas = np.flatnonzero(np.isinf(values)).tolist(), list[str]()
    for row in np.flatnonzero(np.isnan(values) & cells.notna().to_numpy()):
        text = str(cells.iloc[row]).strip()
        if _COMMA.fullmatch(text):
            values[row] = float(text.replace(",", "."))
            commas.append(text)
        elif text not in _EMPTY:
            rows.append(int(row))
    return values, rows, commas
