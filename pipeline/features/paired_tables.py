"""Two tables of the same exams by two readers, or of the same patients on two days, side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline.errors import InputRejected
from pipeline.features.feature_table import FEATURE, Row, read_rows
from pipeline.features.intraclass import Icc, one_way, two_way
from pipeline.features.patient_column import COLUMN

Pairing = Literal["readers", "retest"]
# What says that two rows belong together: the exam, or, on another day, the patient.
BY = {"readers": "study_uid", "retest": COLUMN}
FEWEST_PAIRS = 3


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far repeats of a feature agree. `of`: what differs between them. `n`: exams, or pairs.

    The intraclass correlation with its 95 % interval as it is written; empty where there is none.
    """

    feature: str
    of: str
    icc: str
    icc_low: str
    icc_high: str
    n: int
    repeats: int


def paired_stability(table: Path, other: Path, pairing: Pairing) -> Iterator[Agreement]:
    """The agreement of every feature that both tables have.

    Two readers by ICC(2,1), their bias included; test and retest by ICC(1,1).

    Raises:
        InputRejected: a table cannot be read, names a pair twice, or fewer than three pairs are in both.
    """
    first, second = (_by_key(path, BY[pairing]) for path in (table, other))
    common = [key for key in first if key in second]
    if len(common) < FEWEST_PAIRS:
        raise InputRejected(
            f"{table.name} and {other.name} have {len(common)} rows of the same {BY[pairing]} and side; at least "
            f"{FEWEST_PAIRS} are needed",
            code="bad-table",
        )
    names = [n for n in first[common[0]] if FEATURE.fullmatch(n) and n in second[common[0]]]
    measure = two_way if pairing == "readers" else one_way
    for name in names:
        values = np.array([[_number(rows[key].get(name)) for rows in (first, second)] for key in common])
        complete = values[np.isfinite(values).all(axis=1)]
        if len(complete) >= FEWEST_PAIRS:
            yield Agreement(name, pairing, *in_figures(measure(complete[:, :, None])), len(complete), 2)


def in_figures(icc: Icc) -> tuple[str, str, str]:
    """The coefficient of one feature, then both ends of its interval, as they are written."""
    value, low, high = (f"{part[0]:.4f}" if np.isfinite(part[0]) else "" for part in (icc.value, icc.low, icc.high))
    return value, low, high


def _by_key(path: Path, column: str) -> dict[tuple[str, str], Row]:
    rows: dict[tuple[str, str], Row] = {}
    if not path.is_file():
        raise InputRejected(f"There is no table {path.name}.", code="bad-table")
    for row in read_rows(path):
        key = str(row.get(column) or ""), str(row.get("side") or "")
        if key in rows:
            raise InputRejected(
                f"{path.name}: two rows have the same {column} and side, so it is not known which one is meant",
                code="bad-table",
            )
        if key[0]:
            rows[key] = row
    return rows


def _number(cell: object) -> float:
    try:
        return float("nan") if cell is None else float(str(cell))
    except ValueError:
        return float("nan")
