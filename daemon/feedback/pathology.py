"""Outcomes of pathology from a table: one row per exam, or per side of an exam."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.errors import InputRejected

POSITIVE = frozenset(("positive", "pos", "1", "yes", "true", "n+", "阳性"))
NEGATIVE = frozenset(("negative", "neg", "0", "no", "false", "n0", "阴性"))
STUDY_COLUMNS = ("study_uid", "study")


@dataclass(frozen=True, slots=True)
class Outcome:
    """`study`: Study Instance UID or opaque id. `side`: L, R, or empty: the whole exam."""

    study: str
    side: str
    verdict: Literal["positive", "negative"]


def read_outcomes(path: Path) -> tuple[Outcome, ...]:
    """Columns `study_uid` (or `study`) and `outcome`, and perhaps `side`; rows without outcome are not known yet.

    Raises InputRejected, with the line, for anything else: an outcome is never guessed.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            outcomes = tuple(_rows(csv.DictReader(file), path.name))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputRejected(f"{path.name} cannot be read as a CSV table in UTF-8") from error
    repeated = sorted(key for key, count in Counter((o.study, o.side) for o in outcomes).items() if count > 1)
    if repeated:
        raise InputRejected(f"{path.name} has several outcomes for {repeated[0][0]}")
    return outcomes


def _rows(reader: csv.DictReader[str], name: str) -> Iterator[Outcome]:
    column = next((c for c in STUDY_COLUMNS if c in (reader.fieldnames or ())), None)
    if column is None or "outcome" not in (reader.fieldnames or ()):
        raise InputRejected(f"{name} needs the columns study_uid and outcome (positive or negative)")
    for row in reader:
        word = (row["outcome"] or "").strip().lower()
        side = (row.get("side") or "").strip().upper()[:1]
        if not word:
            continue
        if side not in ("", "L", "R"):
            raise InputRejected(f"{name}, line {reader.line_num}: side is L, R or empty")
        if word not in POSITIVE | NEGATIVE:
            raise InputRejected(f"{name}, line {reader.line_num}: outcome is positive, negative or empty")
        yield Outcome((row[column] or "").strip(), side, "positive" if word in POSITIVE else "negative")
