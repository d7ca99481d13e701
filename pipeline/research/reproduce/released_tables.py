"""The paper's released tables, read and checked; nothing is changed, filled in or dropped here."""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.errors import InputRejected

SOURCE = "https://github.com/ZifanHe/Ebiomedicine (commit ff0304f)"
COHORTS = ("training", "prospective_retrospective", "external")
POSITIVE = "R"
MARKERS = ("immune_cells", "lncrna", "methylation")
_FEATURE = re.compile(r"^(TT1C|TT2FS|TADC|LT1C|LT2FS|LADC|LT1|LT)\d+$")
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Cohort:
    """One cohort: `features` (patients, features), clinical columns, and who is node-positive.

    Rows are indexed by the table's own patient codes.
    """

    name: str
    features: pd.DataFrame
    clinical: pd.DataFrame
    positive: Bools

    def complete(self) -> Cohort:
        """Only the patients without a missing value."""
        keep = ~(self.features.isna().any(axis=1) | self.clinical.isna().any(axis=1)).to_numpy()
        return Cohort(self.name, self.features[keep], self.clinical[keep], self.positive[keep])

    def design(self) -> pd.DataFrame:
        """Clinical columns, then features: the columns that the SVM sees."""
        return pd.concat([self.clinical, self.features], axis=1).astype(float)


@dataclass(frozen=True)
class Tables:
    """All tables. `fig2b`, `fig2c`: by cohort. `fig5`: features and three marker tables, patients as rows."""

    fig2a_features: pd.DataFrame
    fig2a_groups: pd.Series
    fig2b: dict[str, Cohort]
    fig2c: dict[str, Cohort]
    fig2d: pd.DataFrame
    before: pd.DataFrame
    after: pd.DataFrame
    fig5_features: pd.DataFrame
    fig5: dict[str, pd.DataFrame]
    digests: dict[str, str]


class _Reader:
    """Reads tables of one folder and remembers their SHA-256."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.digests: dict[str, str] = {}

    def __call__(self, name: str) -> pd.DataFrame:
        """A table by name, its first column as index. UTF-8 or GB18030.

        Raises InputRejected: the file is missing, is not such a table, or repeats a row or column name.
        """
        path = self.folder / f"{name}.csv"
        try:
            data = path.read_bytes()
        except OSError:
            raise InputRejected(
                f"The table {name}.csv is not in {self.folder}. The tables are not shipped; get them from {SOURCE} "
                "and name them as docs/reproduce.md says."
            ) from None
        self.digests[f"{name}.csv"] = hashlib.sha256(data).hexdigest()
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("gb18030", errors="replace")
        try:
            table = pd.read_csv(io.StringIO(text), index_col=0)
        except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
            raise InputRejected(f"{name}.csv is not a table of comma-separated values: {error}") from None
        for axis, labels in (("row", table.index), ("column", table.columns)):
            repeated = sorted({str(label) for label in labels[labels.duplicated()]})
            if repeated:
                raise InputRejected(f"{name}.csv repeats the {axis} {', '.join(repeated[:5])}.")
        return table


def _cohort(name: str, table: pd.DataFrame, file: str) -> Cohort:
    if "NR" not in table.columns:
        raise InputRejected(f"{file}.csv has no column NR (R: node-positive, N: node-negative).")
    strange = sorted(set(table["NR"].astype(str)) - {"N", "R"})
    if strange:
        raise InputRejected(f"{file}.csv: the column NR holds {', '.join(strange)}; only N and R are known.")
    features = [c for c in table.columns if _FEATURE.match(c)]
    clinical = [c for c in table.columns if c not in features and c != "NR"]
    wrong = [c for c in (*features, *clinical) if not pd.api.types.is_numeric_dtype(table[c])]
    if wrong or not features:
        raise InputRejected(f"{file}.csv: no numbers in {', '.join(wrong[:5]) or 'any feature column'}.")
    return Cohort(name, table[features], table[clinical], (table["NR"] == POSITIVE).to_numpy())


def _cohorts(read: _Reader, figure: str) -> dict[str, Cohort]:
    cohorts = {name: _cohort(name, read(f"{figure}_{name}"), f"{figure}_{name}") for name in COHORTS}
    columns = list(cohorts["training"].design().columns)
    for name, cohort in cohorts.items():
        if list(cohort.design().columns) != columns:
            raise InputRejected(f"{figure}_{name}.csv has other columns than {figure}_training.csv.")
    return cohorts


def load(folder: Path) -> Tables:
    """Read all tables of `folder`.

    Raises InputRejected: a table is missing, or has other columns than are known.
    """
    read = _Reader(folder)
    fig2d = read("fig2d_decision_curve")
    expected = ["NR", "Radiomicnomogram", "Radiologistsdiagnosis", "Radiomicsignature"]
    if list(fig2d.columns) != expected:
        raise InputRejected(f"fig2d_decision_curve.csv must have the columns {', '.join(expected)}.")
    return Tables(
        read("fig2a_features_by_patient").T,
        read("fig2a_groups").iloc[:, 0],
        _cohorts(read, "fig2b"),
        _cohorts(read, "fig2c"),
        fig2d,
        read("fig4a_before_neoadjuvant"),
        read("fig4b_after_neoadjuvant"),
        read("fig5_features").T,
        {name: _tcga(read(f"fig5_{name}")) for name in MARKERS},
        read.digests,
    )


def _tcga(table: pd.DataFrame) -> pd.DataFrame:
    """R turns - into . in names; TCGA's own barcodes have -."""
    return table.set_axis(table.index.str.replace(".", "-"), axis=0)
