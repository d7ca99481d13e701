"""The feature table of a cohort: radiomic features of its patients, their score, their node status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.errors import InputRejected
from pipeline.research.microenvironment.barcodes import is_barcode, patient_of
from pipeline.research.microenvironment.grids import Grid, read_grid
from pipeline.research.tables.reading import shortened
from pipeline.research.tables.row_names import NOBODY, as_text
from pipeline.signature.names import CLINICAL, COMPANIONS, PROTOCOL, is_feature
from pipeline.signature.record import Floats

_IDS = ("patient_id", "patient", "bcr_patient_barcode", "id", "ID", "case_id", "study_uid")
_UNTITLED = ("", "X", "...1", "Unnamed: 0")
# What names the class with metastases, where nobody says it.
_POSITIVE = ("1", "r", "positive", "pos", "yes", "true", "metastasis", "n+", "n1")
LEAST_OF_A_GROUP = 3


@dataclass(frozen=True)
class Groups:
    """Two groups of patients. `members`: patient → whether in the first group; patients in neither are absent."""

    by: str
    first: str
    second: str
    members: Mapping[str, bool]
    cutoff: float | None = None

    def count(self, *, first: bool) -> int:
        return sum(member == first for member in self.members.values())


@dataclass(frozen=True)
class Cohort:
    """`features`: (patients, features), index patient, NaN where a cell is empty. `score`: by patient, or None.

    `left_out`: columns that hold no numbers. `labels`: node status by patient, as text, "" where unknown; or None.
    """

    file: str
    sha256: str
    features: pd.DataFrame
    score: pd.Series | None
    labels: pd.Series | None
    left_out: tuple[str, ...]

    @property
    def patients(self) -> list[str]:
        return [str(patient) for patient in self.features.index]


def read_cohort(path: Path, *, score: str | None, label: str | None, id_column: str | None) -> Cohort:
    """Read a feature table, patients in rows or, as the paper's, in columns.

    Raises:
        InputRejected: a column is missing, a patient occurs twice, a feature or score is no number.
    """
    grid = _patients_in_rows(read_grid(path), [c for c in (score, label, id_column) if c])
    missing = [c for c in (score, label) if c and c not in grid.titles]
    repeated = sorted({title for title in grid.titles if title and grid.titles.count(title) > 1})
    if missing or repeated:
        what = f"no column {', '.join(missing)}" if missing else f"columns that occur twice: {shortened(repeated)}"
        raise InputRejected(f"{grid.name}: {what}", code="missing-columns" if missing else "duplicate-columns")
    where = _id_position(grid, id_column)
    patients = [patient_of(cell) for cell in grid.texts(where)]
    _refuse_bad_names(patients, grid.name)
    aside = {where, *(grid.titles.index(c) for c in (score, label) if c)}
    columns, left_out = _feature_columns(grid, aside)
    index = pd.Index(patients, name="patient")
    features = pd.DataFrame(grid.numbers(columns), index=index, columns=[grid.titles[c] for c in columns])
    scores = None if score is None else pd.Series(_scores(grid, score), index=index, name=score)
    labels = None
    if label is not None:
        texts = [as_text(cell) for cell in grid.texts(grid.titles.index(label))]
        labels = pd.Series(["" if text in NOBODY else text for text in texts], index=index, name=label, dtype=object)
    if scores is None and features.empty:
        raise InputRejected(f"{grid.name} has no feature column of numbers and no --score", code="no-features")
    return Cohort(grid.name, grid.sha256, features, scores, labels, left_out)


def by_score(cohort: Cohort, cutoff: float | None) -> Groups:
    """High and low scores: from the cutoff on a score is high. Without one it is the median of the cohort.

    Raises:
        InputRejected: a group has fewer than three patients.
    """
    assert cohort.score is not None
    known = cohort.score.dropna()
    if cutoff is None:
        values = np.unique(known.to_numpy())
        cutoff = float(values[-1]) if len(values) == 2 else float(known.median())
    members = {str(patient): bool(value >= cutoff) for patient, value in known.items()}
    return _checked(Groups(str(cohort.score.name), "high", "low", members, cutoff))


def by_label(cohort: Cohort, positive: str | None) -> Groups:
    """Patients by node status; the class with metastases is `positive`, a usual word for it, or the last in order.

    Raises:
        InputRejected: there are not two classes, or `positive` is none of them.
    """
    assert cohort.labels is not None
    classes = sorted(set(cohort.labels) - {""})
    if len(classes) != 2:
        raise InputRejected(
            f"column {cohort.labels.name} of {cohort.file} has {len(classes)} values ({shortened(classes)}); two are "
            "needed",
            code="one-class",
        )
    usual = [c for c in classes if c.lower() in _POSITIVE]
    chosen = as_text(positive) if positive is not None else usual[0] if len(usual) == 1 else classes[-1]
    if chosen not in classes:
        raise InputRejected(f"no patient is {chosen}; there are {', '.join(classes)}", code="one-class")
    members = {str(patient): value == chosen for patient, value in cohort.labels.items() if value}
    return _checked(Groups(str(cohort.labels.name), chosen, next(c for c in classes if c != chosen), members))


def _checked(groups: Groups) -> Groups:
    counts = [groups.count(first=first) for first in (True, False)]
    if min(counts) < LEAST_OF_A_GROUP:
        raise InputRejected(
            f"{counts[0]} patients are {groups.first} and {counts[1]} {groups.second} by {groups.by}; at least "
            f"{LEAST_OF_A_GROUP} of each are needed",
            code="one-class",
        )
    return groups


def _patients_in_rows(grid: Grid, asked: Sequence[str]) -> Grid:
    """The table with patients in rows: turned where titles are barcodes, or the first column has what is asked for."""
    first = grid.texts(0)
    if any(c in grid.titles for c in asked):
        return grid
    barcodes = sum(map(is_barcode, grid.titles[1:]))
    if (
        2 * barcodes > len(grid.titles) - 1
        or any(c in first for c in asked)
        or 2 * sum(map(is_feature, first)) > len(first)
    ):
        return grid.turned()
    return grid


def _id_position(grid: Grid, id_column: str | None) -> int:
    if id_column is not None:
        if id_column not in grid.titles:
            raise InputRejected(f"{grid.name} has no column {id_column}", code="missing-columns")
        return grid.titles.index(id_column)
    named = next((c for c in _IDS if c in grid.titles), None)
    if named is not None:
        return grid.titles.index(named)
    if grid.titles[0] in _UNTITLED or all(map(is_barcode, grid.texts(0))):
        return 0
    raise InputRejected(f"{grid.name} has no column that names the patients; say which with --id", code="missing-ids")


def _refuse_bad_names(patients: Sequence[str], name: str) -> None:
    """Patients without a name, or with that of another row. Messages have row numbers: a name may identify a person."""
    empty = [row + 1 for row, patient in enumerate(patients) if patient in NOBODY]
    if empty:
        raise InputRejected(f"{name}: no patient is named in rows {shortened(empty)}", code="missing-ids")
    first_rows: dict[str, int] = {}
    pairs = [(first_rows[p], row) for row, p in enumerate(patients, 1) if first_rows.setdefault(p, row) != row]
    if pairs:
        listed = shortened([f"{a} and {b}" for a, b in pairs])
        raise InputRejected(f"{name}: rows of one patient: {listed}; leave one for each", code="duplicate-patients")


def _feature_columns(grid: Grid, aside: set[int]) -> tuple[list[int], tuple[str, ...]]:
    """Columns of features by axrad's names, or, where there are none, all of numbers; and those that hold none."""
    beside = {*COMPANIONS, *CLINICAL}
    others = [
        c for c, title in enumerate(grid.titles)
        if c not in aside and title not in beside and not title.startswith(PROTOCOL) and title
    ]  # fmt: skip
    ours = [c for c in others if is_feature(grid.titles[c])]
    if ours:
        return ours, ()
    numeric = [c for c in others if _is_numeric(grid, c)]
    return numeric, tuple(grid.titles[c] for c in others if c not in set(numeric))


def _is_numeric(grid: Grid, column: int) -> bool:
    try:
        return bool(np.isfinite(grid.numbers([column])).any())
    except InputRejected:
        return False


def _scores(grid: Grid, score: str) -> Floats:
    values = grid.numbers([grid.titles.index(score)])[:, 0]
    if not np.isfinite(values).any():
        raise InputRejected(f"{grid.name}: the column {score} is empty", code="missing-columns")
    return values
