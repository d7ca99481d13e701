"""Feature tables: one row per exam, read and checked before anything is computed from them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.errors import InputRejected
from pipeline.extraction_settings import Form
from pipeline.extraction_settings import read as read_form
from pipeline.records import Origin
from pipeline.research.tables.reading import read_frame, refuse_repeated_columns, shortened
from pipeline.signature import names

SIDES = ("side", "laterality")
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
            self.foreign_columns, self.extraction,
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
    made: Collection[str] | None = None,
) -> Table:
    """Read a CSV (UTF-8, else GB18030) or Parquet table.

    `companions` are further columns to keep for evaluation. `made`: every feature that the configured extraction
    makes, by which the columns are judged; None: any name that has the form of one. `foreign_columns` takes every
    numeric column of another name as a feature: for published tables, whose signatures cannot run on images.

    Raises:
        InputRejected: naming the rows or columns that are wrong.
    """
    frame, digest = read_frame(path)
    return from_frame(
        frame, name=path.name, sha256=digest, label=label, positive=positive, negative=negative, id_column=id_column,
        ignore=ignore, companions=companions, foreign_columns=foreign_columns, made=made,
    )  # fmt: skip


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
    made: Collection[str] | None = None,
    sha256: str | None = None,
) -> Table:
    """`read` from a data frame. Without `sha256` the table's digest is that of its CSV form."""
    sha256 = sha256 or hashlib.sha256(frame.to_csv(index=False).encode()).hexdigest()
    frame = frame.drop(columns=[c for c in ignore if c in frame.columns])
    refuse_repeated_columns(frame, name)
    id_column = id_column or next((c for c in names.ID_COLUMNS if c in frame.columns and c != label), None)
    missing = [c for c in (label, id_column, *companions) if c is not None and c not in frame.columns]
    if missing:
        raise InputRejected(f"{name}: missing columns: {', '.join(missing)}", code="missing-columns")
    if not foreign_columns:
        _ours(frame.columns, [*(c for c in (label, id_column) if c), *companions], made, name)
    columns = _feature_columns(frame, label, id_column, companions, foreign_columns)
    ids = tuple(map(_text, frame[id_column])) if id_column else tuple(str(i + 1) for i in range(len(frame)))
    ids = _by_side(ids, frame)
    _no_repeats(ids, id_column, name)
    positive, negative = _text(positive), None if negative is None else _text(negative)
    is_positive, negative = _labels(frame[label], positive, negative, f"{name}, column {label}")
    others = {c: frame[c].to_numpy(dtype=object) for c in frame.columns if c not in (*columns, label, id_column)}
    extraction_hash = _extraction_hash(frame, name)
    return Table(
        name, sha256, label, positive, negative, id_column, ids, is_positive, columns,
        _numbers(frame, columns, name), others, extraction_hash, foreign_columns,
        _extraction(frame, extraction_hash, name),
    )  # fmt: skip


def _ours(columns: Iterable[str], allowed: Sequence[str], made: Collection[str] | None, name: str) -> None:
    """Refuse columns of other names than ours, each with the nearest."""
    strange = names.strange(columns, allowed, made)
    if not strange:
        return
    known = {*allowed, *names.COMPANIONS, *(made or ())}
    features = [c for c in strange if names.is_feature(c)]
    others = [c for c in strange if c not in features]
    sentences = []
    if others:
        sentences.append(
            f"column names that are not ours: {names.with_hints(others, known)}. Features are named "
            "sequence.roi.feature, for example t1c.tumor.original_shape_Sphericity; leave other columns out with "
            "--ignore COLUMN"
        )
    if features:
        sentences.append(
            f"features that the configured extraction does not make: {names.with_hints(features, known)}. Give the "
            "settings that they were extracted with (--config); --foreign-columns trains on them for research alone"
        )
    raise InputRejected(f"{name}: {'. '.join(sentences)}.", code="foreign-columns")


def _feature_columns(
    frame: pd.DataFrame, label: str, id_column: str | None, companions: Iterable[str], foreign: bool
) -> tuple[str, ...]:
    if not foreign:
        return tuple(c for c in frame.columns if names.is_feature(c) and c not in (label, id_column))
    aside = {label, id_column, *companions, *names.CLINICAL, *names.COMPANIONS}
    return tuple(c for c in frame.columns if c not in aside and not c.startswith(names.PROTOCOL))


def _text(value: object) -> str:
    """A label or id as text; 1, 1.0 and "1.0" are the same."""
    text = str(value).strip()
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() and ("." in text or not isinstance(value, str)) else text


def _by_side(ids: tuple[str, ...], frame: pd.DataFrame) -> tuple[str, ...]:
    """Two rows of one exam are told apart by their side, where a column has it: `ID/L` and `ID/R`."""
    column = next((c for c in SIDES if c in frame.columns), None)
    if column is None or len(set(ids)) == len(ids):
        return ids
    counts = Counter(ids)
    return tuple(
        f"{i}/{side}" if counts[i] > 1 and (side := str(cell).strip()) not in ("", "nan", "None") else i
        for i, cell in zip(ids, frame[column], strict=True)
    )


def _no_repeats(ids: tuple[str, ...], column: str | None, name: str) -> None:
    seen: dict[str, int] = {}
    pairs = [(seen[i], row) for row, i in enumerate(ids) if seen.setdefault(i, row) != row]
    empty = [row + 1 for row, i in enumerate(ids) if i in ("", "nan", "None")]
    if empty:
        raise InputRejected(f"{name}: no id in column {column} in rows {shortened(empty)}", code="missing-ids")
    if pairs:
        listed = ", ".join(f"{a + 1} and {b + 1}" for a, b in pairs[:10])
        raise InputRejected(f"{name}: the same id in column {column} in rows {listed}", code="duplicate-patients")


def _labels(cells: pd.Series, positive: str, negative: str | None, place: str) -> tuple[npt.NDArray[np.bool_], str]:
    labels = [_text(c) for c in cells]
    empty = [i + 1 for i, text in enumerate(labels) if text in ("", "nan", "None")]
    if empty:
        raise InputRejected(f"{place}: no label in rows {shortened(empty)}", code="missing-labels")
    values = sorted(set(labels))
    other_values = [v for v in values if v != positive]
    if negative is None and len(other_values) == 1:
        negative = other_values[0]
    vocabulary = {positive, negative}
    strange = [v for v in values if v not in vocabulary]
    if negative is not None and strange:
        rows = [i + 1 for i, text in enumerate(labels) if text in strange]
        raise InputRejected(
            f"{place}: labels {', '.join(strange)} are not in the vocabulary ({positive}, {negative}): "
            f"rows {shortened(rows)}",
            code="unknown-labels",
        )
    if positive not in values:
        raise InputRejected(
            f"{place}: no case is {positive}, the positive class; found {', '.join(values[:10])}", code="one-class"
        )
    if negative is None:
        classes = f"only {positive}" if len(values) == 1 else f"{', '.join(values[:10])}: say which with --negative"
        raise InputRejected(f"{place}: two classes are needed, found {classes}", code="one-class")
    if negative not in values:
        raise InputRejected(f"{place}: every case is {positive}; one class only", code="one-class")
    return np.array([text == positive for text in labels]), negative


def _numbers(frame: pd.DataFrame, columns: tuple[str, ...], name: str) -> npt.NDArray[np.float64]:
    cells = frame.loc[:, list(columns)].to_numpy(dtype=object)
    empty = np.isin(cells.astype(str), ("", "NA", "NaN", "nan", "None", "<NA>"))
    try:
        values = np.where(empty, "nan", cells).astype(np.float64)
    except ValueError:
        wrong = [(r, c) for r, c in np.argwhere(~empty).tolist() if not _is_number(cells[r, c])]
        listed = ", ".join(f"row {r + 1} {columns[c]} = {cells[r, c]!r}" for r, c in wrong[:5])
        raise InputRejected(f"{name}: cells that are no numbers: {listed}", code="not-numbers") from None
    infinite = np.argwhere(np.isinf(values))
    if len(infinite):
        listed = ", ".join(f"row {r + 1} {columns[c]}" for r, c in infinite[:5].tolist())
        raise InputRejected(f"{name}: infinite values: {listed}", code="not-numbers")
    return np.asarray(values, dtype=np.float64)


def _is_number(cell: object) -> bool:
    try:
        float(str(cell))
    except ValueError:
        return False
    return True


def _extraction_hash(frame: pd.DataFrame, name: str) -> str | None:
    column = next((c for c in _HASH_COLUMNS if c in frame.columns), None)
    if column is None:
        return None
    hashes = sorted({_text(v) for v in frame[column]} - {"", "nan", "None"})
    if len(hashes) > 1:
        raise InputRejected(
            f"{name}: rows were extracted with {len(hashes)} different settings ({column}: {', '.join(hashes[:5])})",
            code="other-extraction-settings",
        )
    return hashes[0] if hashes else None


def _extraction(frame: pd.DataFrame, extraction_hash: str | None, name: str) -> Form | None:
    """The settings behind the hash, where rows tell them. Rows of one hash have one such text."""
    if names.EXTRACTION not in frame.columns or extraction_hash is None:
        return None
    texts = {str(cell).strip() for cell in frame[names.EXTRACTION]} - {"", "nan", "None"}
    forms = [read_form(text, extraction_hash, f"{name}, column {names.EXTRACTION}") for text in sorted(texts)]
    return forms[0] if forms else None
