"""A table's file: its cells as text, its SHA-256, and what is wrong with it."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd

from pipeline.csv_cells import escaped, quoted
from pipeline.errors import InputRejected
from pipeline.research.tables.column_map import NOTHING, ColumnMap
from pipeline.research.tables.separated import Separated, separated, text_of, without_row_numbers
from pipeline.signature.names import ORIGIN, PATIENT


def read_frame(path: Path, mapping: ColumnMap = NOTHING) -> tuple[pd.DataFrame, str]:
    """A table of separated values, every cell as text, or a Parquet table as it is; and its naming SHA-256.

    That is the file's own; of a table with columns for the patient, that of the table without them, so that it is one
    table under whatever key. A column that says of every row that readers drew its regions counts as little. Of
    `mapping` the separator counts, and whether the first column has a name there.

    Raises:
        InputRejected: it cannot be read, or is no such table.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputRejected(f"cannot read the table {path}: {error.strerror}", code="table-unreadable") from error
    if path.suffix.lower() in (".parquet", ".pq"):
        frame = _parquet(path, data)
        others = frame.drop(columns=_beside(frame))
        return frame, sha256_of(data if len(others.columns) == len(frame.columns) else csv_of(others))
    text = text_of(data, path.name)
    table = separated(text, path.name, mapping.separator)
    # Every cell as text first: an id 007 stays 007, and a number is parsed once, exactly.
    frame = _frame(table)
    beside = _beside(frame)
    digest = sha256_of(_without(beside, text, table.separator) if beside else data)
    rest = table if mapping.names_the_first_column else without_row_numbers(table)
    return frame if rest is table else _frame(rest), digest


def _frame(table: Separated) -> pd.DataFrame:
    return pd.DataFrame(list(table.rows), columns=list(table.titles), dtype=object)


def _beside(frame: pd.DataFrame) -> list[str]:
    """Columns that say nothing of what a signature is made from."""
    names = [*PATIENT]
    if list(frame.columns).count(ORIGIN) == 1 and set(frame[ORIGIN].astype(str)) <= {"drawn", ""}:
        names.append(ORIGIN)
    return [name for name in names if name in frame.columns]


def sha256_of(data: bytes) -> str:
    """The digest that names a table."""
    return hashlib.sha256(data).hexdigest()


def csv_of(frame: pd.DataFrame, *, index: bool = False) -> bytes:
    """A table as CSV that no spreadsheet program takes for formulas."""
    safe = frame.map(_safe).rename(columns=_safe)
    if index:
        safe = safe.rename(index=_safe)
    text: str = safe.to_csv(index=index, lineterminator="\n")
    return text.encode()


def _safe(cell: object) -> object:
    return escaped(cell) if isinstance(cell, str) else cell


def refuse_repeated_columns(frame: pd.DataFrame, name: str) -> None:
    """Refuse a table with two columns of one name.

    Raises:
        InputRejected: it names them.
    """
    repeated = sorted({str(column) for column in frame.columns[frame.columns.duplicated()]})
    if repeated:
        raise InputRejected(f"{name}: columns that occur twice: {', '.join(repeated[:10])}", code="duplicate-columns")


def shortened(items: Sequence[int] | Sequence[str], count: int = 10) -> str:
    """The first items, and how many more there are."""
    more = f" and {len(items) - count} more" if len(items) > count else ""
    return ", ".join(map(str, items[:count])) + more


def _without(beside: Collection[str], text: str, separator: str) -> bytes:
    """A table as `axrad extract` would have written it without some columns, cells as they stand."""
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    columns = [index for index, title in enumerate(rows[0]) if title.strip() not in beside]
    return "".join(",".join(quoted(row[i]) for i in columns if i < len(row)) + "\n" for row in rows if row).encode()


def _parquet(path: Path, data: bytes) -> pd.DataFrame:
    try:
        return pd.read_parquet(io.BytesIO(data))
    except (ValueError, OSError) as error:
        raise InputRejected(f"{path.name} is no Parquet table: {error}", code="table-unreadable") from error
