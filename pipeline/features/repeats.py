"""Every exam measured again with its regions and images perturbed, and how far its features agree with themselves.

Rows go to `TABLE.perturbed.parquet` (study, side, number, kind, features; number 0 is the exam as it is), the
intraclass correlation to `TABLE.stability.csv`: one row per feature, over all perturbations and per kind.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any  # Any: rows of a file; pyarrow, which ships no types

import numpy as np
import numpy.typing as npt

from config.schema import Features, Settings
from pipeline.errors import InputRejected
from pipeline.features import preparation
from pipeline.features.extraction import extract
from pipeline.features.feature_table import arrow
from pipeline.features.intraclass import one_way
from pipeline.features.paired_tables import BY, Agreement, Pairing, in_figures, paired_stability
from pipeline.features.parameters import for_sequence
from pipeline.features.perturbation import AROUND, KINDS, Kind, Original, original
from pipeline.features.region import Refusal, find
from pipeline.features.region_work import Shapes
from pipeline.parallel.forked_work import cores_for
from pipeline.records import Mask, Role, Sequence, Side, Volume
from pipeline.whole_file import replacing, write_whole

SEED = 20210628
AS_IT_IS = "none"
ALL = "all"
KEYS = ("study_uid", "side", "number", "kind")
# Over all perturbations; the same four figures follow of each kind, of two readers and of a second scan.
FIGURES = ("icc", "icc_low", "icc_high", "n")
APART = (*KINDS, *BY)
HEADER = ("feature", *FIGURES, "repeats", *(f"{name}_{apart}" for apart in APART for name in FIGURES))
# Below, a mean square of exams has no freedom worth an interval.
FEWEST_EXAMS = 3

Row = dict[str, Any]
Measure = Callable[[Side | None, Mapping[Sequence, Volume], Mapping[tuple[Sequence, Role], Mask]], None]


def kind_of(number: int) -> Kind:
    """The kind of perturbation of a number from 1 on: one after the other."""
    return KINDS[(number - 1) % len(KINDS)]


def perturbed_features(
    study_uid: str,
    side: str | None,
    volumes: Mapping[Sequence, Volume],
    masks: Mapping[tuple[Sequence, Role], Mask],
    settings: Features,
    count: int,
    processes: int = 1,
) -> Iterator[Row]:
    """The exam as it is, then `count` perturbations, one row each. The same exam and number give the same row.

    A region that PyRadiomics refuses has no features in any row.
    """
    originals: dict[tuple[Sequence, Role], Original] = {}
    for key, mask in masks.items():
        if key[0] in volumes:
            try:
                originals[key] = original(*_around(volumes[key[0]], mask, settings, key[0]))
            except Refusal:
                continue
    roles = list(dict.fromkeys(role for _, role in originals))
    shapes: Shapes = {}  # noise leaves the region as it is
    for number in range(count + 1):
        kind = kind_of(number) if number else None
        row: Row = {"study_uid": study_uid, "side": side, "number": number, "kind": kind or AS_IT_IS}
        for role in roles:  # an image is changed around one region, so the other has an image of its own
            images: dict[Sequence, Volume] = {}
            regions: dict[tuple[Sequence, Role], Mask] = {}
            for (name, other), one in originals.items():
                if other == role:
                    rng = np.random.default_rng(_seed(study_uid, side, name, role, number))
                    pair = one.perturbed(kind, rng) if kind else (one.volume, one.mask)
                    images[name], regions[name, role] = pair
            row |= extract(images, regions, settings, processes=processes, shapes=shapes).values
        yield row


def _around(volume: Volume, mask: Mask, settings: Features, sequence: Sequence) -> tuple[Volume, Mask]:
    """What perturbations change and features read, where these read no more: no copy of the whole image each time.

    Raises:
        Refusal: PyRadiomics refuses the region.
    """
    parameters = for_sequence(settings, sequence)
    whole = settings.engine == "plain" or not parameters.local or preparation.asked(parameters)
    if whole or not mask.geometry.same_grid(volume.geometry):
        return volume, mask
    shape = mask.voxels_zyx.shape
    box = find(mask.voxels_zyx).box.grown(AROUND, shape).with_margin(shape)
    part = preparation.cut_to(volume, box)
    return part, Mask(np.ascontiguousarray(mask.voxels_zyx[box.slices]), part.geometry)


def _seed(*parts: object) -> int:
    text = "\0".join(map(str, (SEED, *parts)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


@dataclass
class Repeats:
    """The rows of a run, as a context. Each exam's are synced to a journal before its row goes to the table.

    `count` 0: nothing is perturbed. `others`: tables of another reader, or of the same patients on another day, which
    are compared with the whole table at the end.
    """

    table: Path
    settings: Settings
    count: int
    others: Mapping[Pairing, Path] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return self.table.with_name(f"{self.table.name}.perturbed.parquet")

    @property
    def stability(self) -> Path:
        return self.table.with_name(f"{self.table.name}.stability.csv")

    @property
    def _journal(self) -> Path:
        return self.table.with_name(f"{self.table.name}.perturbed.jsonl")

    def __enter__(self) -> Repeats:
        """Take up what an earlier run wrote for this table; nothing where the table is begun anew.

        Raises:
            InputRejected: the file of perturbations is damaged, or pyarrow is not installed (NotInstalled).
        """
        resumed = any(path.exists() for path in (self.table, self.table.with_name(f"{self.table.name}.rows.jsonl")))
        if self.count or (self.others and self.path.exists()):
            _, pq = arrow(self.path)
            if not resumed:
                self._journal.unlink(missing_ok=True)
                return self
            try:
                self.rows = pq.read_table(self.path).to_pylist() if self.path.exists() else []
                self.rows += _journalled(self._journal) if self._journal.exists() else []
                if not all(row.keys() >= set(KEYS) for row in self.rows):
                    raise ValueError("rows without keys")
            except (OSError, ValueError, AttributeError) as error:  # pyarrow's are of these kinds
                raise InputRejected(
                    f"{self.path.name}, or its journal, is no table of perturbations; remove it", code="bad-table"
                ) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.others = {}  # the table may not be whole
        self.close()

    @contextmanager
    def of(self, study_uid: str) -> Iterator[Measure | None]:
        """What measures the perturbations of an exam; they count once nothing was raised. None where none are asked."""
        if not self.count:
            yield None
            return
        mine: list[Row] = []
        features, processes = self.settings.features, cores_for(self.settings.work)

        def measure(
            side: Side | None, volumes: Mapping[Sequence, Volume], masks: Mapping[tuple[Sequence, Role], Mask]
        ) -> None:
            mine.extend(perturbed_features(study_uid, side, volumes, masks, features, self.count, processes))

        yield measure
        with self._journal.open("a", encoding="utf-8") as stream:
            stream.writelines(json.dumps(row, allow_nan=False) + "\n" for row in mine)
            stream.flush()
            os.fsync(stream.fileno())
        self.rows += mine

    def close(self) -> None:
        """Write the files. Of an exam that was done twice, since a run died in between, the later rows count."""
        lines: list[Agreement] = []
        if self.rows:
            rows = _newest(self.rows)
            names = sorted({name for row in rows for name in row} - set(KEYS))
            self._write(rows, names)
            lines += stability_of(rows, names)
        for pairing, other in self.others.items():
            lines += paired_stability(self.table, other, pairing)
        if self.rows or self.others:
            write_whole(self.stability, _as_csv(lines))
        self._journal.unlink(missing_ok=True)

    def _write(self, rows: list[Row], names: list[str]) -> None:
        pa, pq = arrow(self.path)
        kinds = {"study_uid": pa.string(), "side": pa.string(), "number": pa.int64(), "kind": pa.string()}
        columns = {
            name: pa.array([row.get(name) for row in rows], type=kinds.get(name, pa.float64()))
            for name in (*KEYS, *names)
        }
        with replacing(self.path) as file:
            pq.write_table(pa.table(columns), file)


def _journalled(journal: Path) -> list[Row]:
    """Rows of a run that was killed. A last line that was cut off is taken away: the next row must not follow it."""
    whole, _, torn = journal.read_bytes().rpartition(b"\n")
    if torn:
        os.truncate(journal, len(whole) + bool(whole))
    rows: list[Row] = [json.loads(line) for line in whole.splitlines()]
    return rows


def _newest(rows: list[Row]) -> list[Row]:
    """Of an exam that was done twice the rows of the second time, which may be fewer; each begins with number 0."""
    by_exam: dict[tuple[object, object], list[Row]] = {}
    for row in rows:
        key = row["study_uid"], row["side"]
        if row["number"] == 0:
            by_exam[key] = []
        by_exam.setdefault(key, []).append(row)
    return [row for mine in by_exam.values() for row in mine]


def stability_of(rows: list[Row], names: list[str]) -> Iterator[Agreement]:
    """ICC(1,1) of each feature, of each kind of perturbation and of all together, over exams that have every repeat.

    Of fewer than three exams there is their number alone.
    """
    for kind in (ALL, *KINDS):
        values = _repeats(rows, names, kind)
        repeats = values.shape[1]
        for number, name in enumerate(names if repeats > 1 else ()):
            complete = np.isfinite(values[:, :, number]).all(axis=1)
            exams, figures = int(complete.sum()), ("", "", "")
            if exams >= FEWEST_EXAMS:
                figures = in_figures(one_way(values[complete][:, :, [number]]))
            yield Agreement(name, kind, *figures, exams, repeats)


def _repeats(rows: list[Row], names: list[str], kind: str) -> npt.NDArray[np.float64]:
    """(exams, repeats, features), the exam as it is first; exams without all numbers are left out."""
    by_exam: dict[tuple[object, object], dict[int, Row]] = {}
    for row in rows:
        if kind == ALL or row["kind"] in (kind, AS_IT_IS):
            by_exam.setdefault((row["study_uid"], row["side"]), {})[row["number"]] = row
    numbers = sorted({number for mine in by_exam.values() for number in mine})
    whole = [mine for mine in by_exam.values() if len(mine) == len(numbers)]
    cells = [[[_number(mine[n].get(name)) for name in names] for n in numbers] for mine in whole]
    return np.array(cells, dtype=np.float64).reshape(len(whole), len(numbers), len(names))


def _number(cell: Any) -> float:
    return float("nan") if cell is None else float(cell)


def _as_csv(agreements: list[Agreement]) -> bytes:
    """One row per feature."""
    by_feature: dict[str, dict[str, object]] = {}
    for one in agreements:
        row = by_feature.setdefault(one.feature, {"feature": one.feature})
        after = "" if one.of == ALL else f"_{one.of}"
        row |= {f"{name}{after}": getattr(one, name) for name in FIGURES}
        if one.of == ALL:
            row["repeats"] = one.repeats
    stream = io.StringIO()
    writer = csv.DictWriter(stream, HEADER, lineterminator="\n")
    writer.writeheader()
    writer.writerows(by_feature.values())
    return stream.getvalue().encode()
