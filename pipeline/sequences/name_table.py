"""A CSV table of series names, as `axrad match --names` reads it."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from pipeline.errors import InputRejected
from pipeline.sequences.name_matching import NamedSeries

NEEDED = ("vendor", "series_description")
# Names of the ministry-standard Chinese encoding come from spreadsheets of hospitals there.
ENCODINGS = ("utf-8-sig", "gb18030")


def read_rows(path: Path) -> tuple[NamedSeries, ...]:
    """Every row of the table, in order.

    Raises:
        InputRejected: the file is no such table; the sentence names the row or the column.
    """
    text = _decoded(path)
    reader = csv.DictReader(text.splitlines(keepends=True))
    missing = [column for column in NEEDED if column not in (reader.fieldnames or ())]
    if missing:
        raise InputRejected(f"{path} has no column {' and no column '.join(missing)}")
    try:
        return tuple(_row(row, number) for number, row in enumerate(reader))
    except csv.Error as error:
        raise InputRejected(f"{path} is no well formed CSV table: {error}") from error


def _decoded(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputRejected(f"cannot read {path}: {error.strerror}") from error
    for encoding in ENCODINGS:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise InputRejected(f"{path} is neither UTF-8 nor GB18030 text")


def _row(row: dict[str, str | None], number: int) -> NamedSeries:
    instances = _number(row, "instances", number)
    return NamedSeries(
        (row["vendor"] or "").strip(),
        row["series_description"] or "",
        None if instances is None else int(instances),
        (row.get("study_uid") or "").strip(),
        _number(row, "series_number", number),
    )


def _number(row: dict[str, str | None], column: str, number: int) -> float | None:
    text = (row.get(column) or "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputRejected(f"row {number}, column {column}: {text!r} is no number")
    return value
