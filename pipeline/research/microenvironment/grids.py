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
        for j, column in enumerate(columns):
            values[:, j], rows = _numbers(self.frame[column])
            wrong += rows
        if wrong:
            rows = sorted(set(wrong))
            raise InputRejected(
                f"{self.name}: {len(wrong)} cells are no finite numbers, in rows {shortened([r + 1 for r in rows])}",
                code="not-numbers",
            )
        return values


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
    except (ValueError, OSError) as error:
        raise InputRejected(f"{name} is no Parquet table: {error}", code="table-unreadable") from error
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    titles = [str(column) for column in frame.columns]
    return titles, frame.set_axis(range(frame.shape[1]), axis=1)


def _numbers(cells: pd.Series) -> tuple[Floats, list[int]]:
    """A column as numbers, and the rows that hold something else. A comma is a decimal point where it must be one."""
    values = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan).copy()
    rows = np.flatnonzero(np.isinf(values)).tolist()
    for row in np.flatnonzero(np.isnan(values) & cells.notna().to_numpy()):
        text = str(cells.iloc[row]).strip()
        if _COMMA.fullmatch(text):
            values[row] = float(text.replace(",", "."))
        elif text not in _EMPTY:
            rows.append(int(row))
    return values, rows
