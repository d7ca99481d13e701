"""A table of patients as it is: one row each, node status, and columns of any name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.errors import InputRejected
from pipeline.research.metrics import Bools
from pipeline.research.tables.faults import Faults
from pipeline.research.tables.reading import read_frame, refuse_repeated_columns, shortened
from pipeline.research.tables.row_names import NOBODY, as_text, labels_of
from pipeline.signature.record import Floats

_PATIENTS = ("patient_key", "patient_id")


@dataclass(frozen=True)
class PatientsTable:
    """`frame`: cells as text; `positive`: (rows,), node status by the label."""

    name: str
    sha256: str
    frame: pd.DataFrame
    label: str
    positive: Bools
    positive_value: str
    negative_value: str

    def __len__(self) -> int:
        return len(self.positive)

    def rows(self, which: Bools) -> PatientsTable:
        """The rows where `which` is true."""
        return PatientsTable(
            self.name, self.sha256, self.frame[which].reset_index(drop=True), self.label,
            self.positive[which],
            self.positive_value, self.negative_value,
        )  # fmt: skip


def read_patients(path: Path, *, label: str, positive: str, name: str | None = None) -> PatientsTable:
    """Read a table of separated values or Parquet.

    Raises:
        InputRejected: the label is missing or has not two classes, or a patient has several rows, which would count
            as several patients in every test.
    """
    frame, digest = read_frame(path)
    refuse_repeated_columns(frame, path.name)
    if label not in frame.columns:
        raise InputRejected(f"{path.name} has no column {label}", code="missing-columns")
    faults = Faults(path.name)
    is_positive, negative = labels_of(frame[label], as_text(positive), None, faults)
    for column in _PATIENTS:
        if column in frame.columns:
            names = frame[column].astype(str).str.strip()
            repeated = names.duplicated(keep=False) & ~names.isin([*NOBODY])
            if repeated.any():
                rows = shortened((np.flatnonzero(repeated) + 1).tolist())
                faults.add("duplicate-patients", f"patients with several rows: {rows}; leave one for each")
    faults.refuse()
    texts = frame.map(as_text).mask(lambda cells: cells.isin([*NOBODY]), "")
    return PatientsTable(name or path.name, digest, texts, label, is_positive, as_text(positive), negative or "")


def numbers_of(cells: pd.Series) -> Floats | None:
    """The cells as (rows,) float64, NaN where empty; None where a cell is no number."""
    values = pd.to_numeric(cells.where(cells != "", None), errors="coerce").to_numpy(dtype=np.float64)
    return None if (np.isnan(values) & (cells != "").to_numpy()).any() or not np.isfinite(values).any() else values


def levels_of(cells: npt.NDArray[np.object_] | pd.Series) -> list[str]:
    """The values of a column in order; numbers by size."""
    values = sorted({str(cell) for cell in cells} - {""})
    try:
        return sorted(values, key=float)
    except ValueError:
        return values
