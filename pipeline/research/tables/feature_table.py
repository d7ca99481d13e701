"""Feature tables: one row per exam, read and checked before anything is computed from them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from config.schema import Settings
from pipeline.errors import InputRejected
from pipeline.extraction_settings import Form, as_trained
from pipeline.extraction_settings import read as read_form
from pipeline.features import columns_made
from pipeline.records import Origin
from pipeline.research.tables.column_map import NOTHING, ColumnMap
from pipeline.research.tables.faults import MOST, Faults
from pipeline.research.tables.numbers import numbers_in, with_points
from pipeline.research.tables.reading import read_frame
from pipeline.research.tables.row_names import NOBODY, SIDES, as_text, ids_of, labels_of, merged_levels
from pipeline.signature import names
from pipeline.signature.level_split import LevelSplit

_HASH_COLUMNS = (names.EXTRACTION_HASH, names.PROTOCOL + names.EXTRACTION_HASH, "settings_hash")


@dataclass(frozen=True)
class Table:
    """A checked table.

    `features`: (rows, columns) float64 with NaN where a cell is empty; `positive`: bool per row; `ids`: as in the
    id column, or the row numbers (1 = first row under the header) where there is none; `others`: every column
    that is neither feature, label nor id, cells as they were read.
    """

    name: str
    sha256: str
    label_column: str
    positive_value: str
    negative_value: str
    id_column: str | None
    ids: tuple[str, ...]
    positive: npt.NDArray[np.bool_]
    columns: tuple[str, ...]
    features: npt.NDArray[np.float64]
    others: Mapping[str, npt.NDArray[np.object_]]
    extraction_hash: str | None = None
    foreign_columns: bool = False
    extraction: Form | None = None
    ki67_high_percent: float | None = None
    perturbations: Path | None = None
    level_split: LevelSplit | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def sides(self) -> list[str] | None:
        """The side of each row, where the table has such a column."""
        column = next((self.others[c] for c in SIDES if c in self.others), None)
        return None if column is None else [str(cell).strip() for cell in column]

    @property
    def origins(self) -> tuple[tuple[Origin, ...], ...]:
        """Who made the regions of each row; drawn by readers, where the table does not say.

        Raises:
            InputRejected: a cell says something else.
        """
        cells = self.others.get(names.ORIGIN)
        if cells is None:
            return (("drawn",),) * len(self)
        rows = []
        for index, cell in enumerate(cells):
            try:
                rows.append(names.origins_in(cell))
            except ValueError as error:
                raise InputRejected(f"{self.name}, {self.row(index)}: {error}", code="unknown-origin") from None
        return tuple(rows)

    def row(self, index: int) -> str:
        """How a row is called in messages: its number, never its id, which may identify a person."""
        return f"row {index + 1}"

    def rows(self, which: npt.NDArray[np.bool_]) -> Table:
        """The rows where `which` is true."""
        return Table(
            self.name, self.sha256, self.label_column, self.positive_value, self.negative_value, self.id_column,
            tuple(i for i, keep in zip(self.ids, which, strict=True) if keep), self.positive[which], self.columns,
            self.features[which], {k: v[which] for k, v in self.others.items()}, self.extraction_hash,
            self.foreign_columns, self.extraction, self.ki67_high_percent, self.perturbations,
            self.level_split,
        )  # fmt: skip


def read(
    path: Path,
    *,
    label: str,
    positive: str,
    negative: str | None = None,
    id_column: str | None = None,
    ignore: Sequence[str] = (),
    companions: Sequence[str] = (),
    foreign_columns: bool = False,
    settings: Settings | None = None,
    mapping: ColumnMap = NOTHING,
) -> Table:
    """Read a table of separated values or Parquet.

    `companions` are further columns to keep for evaluation. `settings`: the site's; then a feature must be one that
    extraction makes with them, or with those that the table names, and its molecular subtypes follow from their
    `clinical.ki67_high_percent`. `foreign_columns` takes every numeric column of
    another name as a feature: for published tables, whose signatures cannot run on images. `mapping`: what columns
    and cells of a table from elsewhere are here.

    Raises:
        InputRejected: naming all rows and columns that are wrong.
    """
    frame, digest = read_frame(path, mapping)
    return from_frame(
        frame, name=path.name, sha256=digest, label=label, positive=positive, negative=negative, id_column=id_column,
        ignore=ignore, companions=companions, foreign_columns=foreign_columns, settings=settings, mapping=mapping,
        perturbations=perturbations_of(path),
    )  # fmt: skip


def perturbations_of(path: Path) -> Path:
    """The file of the perturbed rows: `t.csv.perturbed.parquet`, or `t.perturbed.parquet` if that is the only one."""
    beside, short = (path.with_name(f"{name}.perturbed.parquet") for name in (path.name, path.stem))
    return short if short.is_file() and not beside.is_file() else beside


def from_frame(
    frame: pd.DataFrame,
    *,
    name: str,
    label: str,
    positive: str,
    negative: str | None = None,
    id_column: str | None = None,
    ignore: Sequence[str] = (),
    companions: Sequence[str] = (),
    foreign_columns: bool = False,
    settings: Settings | None = None,
    mapping: ColumnMap = NOTHING,
    sha256: str | None = None,
    level_split: LevelSplit | None = None,
    perturbations: Path | None = None,
) -> Table:
    """`read` from a data frame. Without `sha256` the table's digest is that of its CSV form.

    `level_split`: the label has more than two levels, and the two classes are made of them.
    """
    sha256 = sha256 or hashlib.sha256(frame.to_csv(index=False).encode()).hexdigest()
    faults = Faults(name)
    frame = _columns_once(mapping.applied(frame, faults), ignore, faults)
    id_column = id_column or next((c for c in names.ID_COLUMNS if c in frame.columns and c != label), None)
    asked = [c for c in dict.fromkeys((label, id_column, *companions)) if c is not None]
    lacking = [c for c in asked if c not in frame.columns]
    if lacking:
        faults.add("missing-columns", f"missing columns: {', '.join(lacking)}")
    extraction_hash = _extraction_hash(frame, faults)
    extraction = _extraction(frame, extraction_hash, name)
    if not foreign_columns:
        _name_strange(frame.columns, asked, _made(settings, extraction_hash, extraction, name), faults)
    columns = _feature_columns(frame, label, id_column, companions, foreign_columns)
    frame = with_points(frame, columns, mapping.decimal, faults, aside=(label, id_column))
    ids = ids_of(frame, id_column if id_column in frame.columns else None, faults)
    positive, negative = as_text(positive), None if negative is None else as_text(negative)
    is_positive = np.zeros(len(frame), dtype=np.bool_)
    if label in frame.columns:
        cells = frame[label] if level_split is None else merged_levels(frame[label], level_split)
        is_positive, negative = labels_of(cells, positive, negative, faults)
    features = numbers_in(frame, columns, faults)
    faults.refuse()
    others = {c: frame[c].to_numpy(dtype=object) for c in frame.columns if c not in (*columns, label, id_column)}
    return Table(
        name, sha256, label, positive, negative or "", id_column, ids, is_positive, columns, features, others,
        extraction_hash, foreign_columns, extraction, None if settings is None else settings.clinical.ki67_high_percent,
        perturbations=perturbations, level_split=level_split,
    )  # fmt: skip


def _columns_once(frame: pd.DataFrame, ignore: Sequence[str], faults: Faults) -> pd.DataFrame:
    """The table without what is left out; of columns without a title, and of one name, the faults and the first."""
    frame = frame.drop(columns=[c for c in ignore if c in frame.columns])
    untitled = [str(j) for j, c in enumerate(frame.columns, 1) if not str(c)]
    if untitled:
        faults.add(
            "untitled-columns",
            f"columns without a title: number {', '.join(untitled[:MOST])}; name them, or in a file for --map",
        )
        frame = frame.loc[:, [bool(str(c)) for c in frame.columns]]
    repeated = frame.columns.duplicated()
    if repeated.any():
        those = ", ".join(sorted({str(c) for c in frame.columns[repeated]})[:MOST])
        faults.add("duplicate-columns", f"columns that occur twice: {those}")
    return frame.loc[:, ~repeated]


def _made(settings: Settings | None, trained: str | None, form: Form | None, name: str) -> frozenset[str] | None:
    """Every feature that extraction makes with the settings of the table, or the site's; None: not asked."""
    return None if settings is None else columns_made(as_trained(trained, form, settings, name).features)


def _name_strange(columns: Iterable[str], allowed: Sequence[str], made: frozenset[str] | None, faults: Faults) -> None:
    """Columns of other names than ours, each with the nearest."""
    strange = names.strange(columns, allowed, made)
    known = {*allowed, *names.COMPANIONS, *(made or ())}
    features = [c for c in strange if names.is_feature(c)]
    others = [c for c in strange if c not in features]
    if others:
        faults.add(
            "foreign-columns",
            f"column names that are not ours: {names.with_hints(others, known, MOST)}. Features are named "
            "sequence.roi.feature, for example t1c.tumor.original_shape_Sphericity; say what others are in a file for "
            "--map, or leave them out with --ignore COLUMN.",
        )
    if features:
        faults.add(
            "foreign-columns",
            f"features that the configured extraction does not make: {names.with_hints(features, known, MOST)}. Give "
            "the settings that they were extracted with (--config); --foreign-columns trains on them for research "
            "alone.",
        )


def _feature_columns(
    frame: pd.DataFrame, label: str, id_column: str | None, companions: Iterable[str], foreign: bool
) -> tuple[str, ...]:
    if not foreign:
        return tuple(c for c in frame.columns if names.is_feature(c) and c not in (label, id_column))
    aside = {label, id_column, *companions, *names.CLINICAL, *names.COMPANIONS}
    return tuple(c for c in frame.columns if c not in aside and not c.startswith(names.PROTOCOL))


def _extraction_hash(frame: pd.DataFrame, faults: Faults) -> str | None:
    column = next((c for c in _HASH_COLUMNS if c in frame.columns), None)
    if column is None:
        return None
    hashes = sorted({as_text(v) for v in frame[column]} - NOBODY)
    if len(hashes) > 1:
        faults.add(
            "other-extraction-settings",
            f"rows were extracted with {len(hashes)} different settings ({column}: {', '.join(hashes[:5])})",
        )
    return hashes[0] if len(hashes) == 1 else None


def _extraction(frame: pd.DataFrame, extraction_hash: str | None, name: str) -> Form | None:
    """The settings behind the hash, where rows tell them. Rows of one hash have one such text."""
    if names.EXTRACTION not in frame.columns or extraction_hash is None:
        return None
    texts = {str(cell).strip() for cell in frame[names.EXTRACTION]} - NOBODY
    forms = [read_form(text, extraction_hash, f"{name}, column {names.EXTRACTION}") for text in sorted(texts)]
    return forms[0] if forms else None
