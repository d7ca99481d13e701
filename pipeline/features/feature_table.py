"""Tables of features, CSV or Parquet: one row per exam, or per side where an exam has both. Work resumes.

Rows go into a journal beside the table as soon as an exam is done (`TABLE.rows.jsonl`, synced), and from there into the
table when the run ends, however it ends. Columns that a person added to the table (a label, clinical variables) stay.
A feature that is missing is an empty cell, never zero.
"""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, BinaryIO  # Any: cells of a file; pyarrow, which ships no types

from pipeline.catalog import Exam
from pipeline.csv_cells import escaped, quoted, unescaped
from pipeline.errors import AxradError, InputRejected, NotInstalled
from pipeline.features.patient_column import COLUMN, KEY_ID, PatientKey, refuse_others
from pipeline.records import ORIGINS, ROLES, SEQUENCES, Origin
from pipeline.result import Part, StudyResult
from pipeline.whole_file import replacing, write_whole

FEATURE = re.compile(rf"({'|'.join(SEQUENCES)})\.({'|'.join(ROLES)})\..+")
KEYS = ("study_uid", "side")
EXTRACTION = "extraction_settings"
ORIGIN = "origin"
TEXTS = (*KEYS, COLUMN, KEY_ID, EXTRACTION, ORIGIN)

Cell = str | float | int | bool | None
Row = dict[str, Cell]


@dataclass(frozen=True, slots=True)
class Failure:
    """An exam without a row, and why. `folder` is where its first file lies."""

    study_uid: str
    code: str
    reason: str
    folder: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run did: rows written, exams passed over because the table has them, rows left out whose regions are
    of another origin than asked for, exams that failed.
    """

    rows: int = 0
    skipped: int = 0
    other_origins: int = 0
    failures: tuple[Failure, ...] = ()
    incomplete: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def fill(
    path: Path,
    exams: Iterable[Exam],
    analyse: Callable[[Exam], StudyResult],
    advance: Callable[[], None] = lambda: None,
    extraction_hash: str | None = None,
    patients: PatientKey | None = None,
    extraction: str | None = None,
    origins: Collection[Origin] = ORIGINS,
) -> Outcome:
    """Add a row for every exam that the table at `path` does not have; the rest goes on when one fails.

    A row has the side, who made its regions, facts about the acquisition, and the features. `advance` is called after
    each exam. `origins`: rows that have a region of another origin are not written.
    `extraction_hash` stands for the settings: rows that were extracted with other ones do not belong in one table.
    `extraction`: these settings as text, kept in every row. `patients`: the key under which a row names its patient;
    without, it names none.
    Failures and features that are missing go to `TABLE.failed.json`, which exists only if there are any.

    Raises: InputRejected if `path` is neither .csv nor .parquet, is no table of this kind, was extracted with other
    settings, or is in use.
    """
    read, write = _format(path)
    journal = path.with_name(path.name + ".rows.jsonl")
    rows = 0
    skipped = 0
    other_origins = 0
    failures: list[Failure] = []
    incomplete: dict[str, Mapping[str, str]] = {}
    with _locked(journal) as stream:
        table = read(path)
        stored = {row["study_uid"] for row in table}  # a run may die between the table and its journal
        table += [row for row in _journalled(stream, path) if row["study_uid"] not in stored]
        others = {row.get("extraction_hash") for row in table} - {None, "", extraction_hash}
        if extraction_hash is not None and others:
            raise InputRejected(
                f"{path.name} was extracted with other settings; choose another name.", code="bad-table"
            )
        if patients is not None:
            refuse_others((row.get(KEY_ID) for row in table), patients, path.name)
        known = {str(row["study_uid"]) for row in table}
        try:
            for exam in exams:
                if exam.study_uid in known:
                    skipped += 1
                else:
                    every, lacking = _attempt(exam, analyse, failures, patients)
                    new = [row for row in every if set(str(row[ORIGIN]).split("+")) <= set(origins)]
                    other_origins += len(every) - len(new)
                    if extraction is not None:
                        new = [{**row, EXTRACTION: extraction} for row in new]
                    for row in new:
                        stream.write(json.dumps(row, allow_nan=False) + "\n")
                    stream.flush()
                    os.fsync(stream.fileno())
                    table += new
                    rows += len(new)
                    incomplete.update(lacking)
                advance()
        finally:
            if table:
                with replacing(path) as file:
                    write(file, _columns(table), table)
            _report(path, failures, incomplete)
            journal.unlink(missing_ok=True)
    return Outcome(rows, skipped, other_origins, tuple(failures), incomplete)


def _attempt(
    exam: Exam, analyse: Callable[[Exam], StudyResult], failures: list[Failure], patients: PatientKey | None
) -> tuple[list[Row], dict[str, Mapping[str, str]]]:
    try:
        result = analyse(exam)
    except AxradError as error:
        failures.append(Failure(exam.study_uid, error.code, error.message, _folder(exam)))
        return [], {}
    except Exception as error:  # noqa: BLE001 - the outermost loop: one exam must not stop a thousand others
        failures.append(Failure(exam.study_uid, "unexpected", _where(error), _folder(exam)))
        return [], {}
    rows: list[Row] = []
    lacking: dict[str, Mapping[str, str]] = {}
    patient = {} if patients is None else patients.columns(exam)
    for side, part in result.parts():
        if part.features:
            measured = {**_empty_cells(part), **part.features}
            first: Row = {"study_uid": result.study_uid, "side": side, ORIGIN: _origin(part)}
            rows.append({**first, **patient, **result.protocol, **measured})
            if part.missing_features:
                lacking[f"{result.study_uid} {side or ''}".strip()] = dict(part.missing_features)
    if not rows:
        code = result.reason_codes[0] if result.reason_codes else "no-features"
        reason = "; ".join(result.reasons) or "no feature could be computed"
        failures.append(Failure(exam.study_uid, code, reason, _folder(exam)))
    return rows, lacking


def _origin(part: Part) -> str:
    """Who made the regions: `drawn`, or several as `drawn+measured`."""
    here = {roi.origin for roi in part.rois.values()} or {"drawn"}
    return "+".join(origin for origin in ORIGINS if origin in here)


def _empty_cells(part: Part) -> Row:
    """The columns of what an exam does not have, with nothing in them, so that its table says what it lacks."""
    names = {name.split(".", 2)[2] for name in part.features}
    lacking = [f"{s}.{r}" for s in SEQUENCES for r in ROLES if {s, r, f"{s}.{r}"} & set(part.absent)]
    return {f"{group}.{name}": None for group in lacking for name in sorted(names)}


def _where(error: Exception) -> str:
    """Kind and place of an error that nobody foresaw; its text could name a patient."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" in {Path(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno}" if trace else ""
    return f"an unexpected {type(error).__name__}{place}"


def _folder(exam: Exam) -> str:
    paths = [i.path for i in (*exam.images, *exam.rois)]
    return next((str(p.parent) for p in paths if p is not None), "")


def _report(path: Path, failures: list[Failure], incomplete: Mapping[str, Mapping[str, str]]) -> None:
    target = path.with_name(path.name + ".failed.json")
    if not failures and not incomplete:
        target.unlink(missing_ok=True)
        return
    document = {"failed": [asdict(f) for f in failures], "incomplete": incomplete}
    write_whole(target, (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode())


def _columns(rows: list[Row]) -> list[str]:
    """Keys, then what a person added, then features by name."""
    every = dict.fromkeys(name for row in rows for name in row)
    features = sorted(name for name in every if FEATURE.fullmatch(name))
    others = [name for name in every if name not in KEYS and not FEATURE.fullmatch(name)]
    return [*KEYS, *others, *features]


@contextmanager
def _locked(journal: Path) -> Iterator[IO[str]]:
    """The journal, opened for reading and appending by one run at a time."""
    try:
        with journal.open("a+", encoding="utf-8") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield stream
            if journal.exists() and journal.stat().st_size == 0:
                journal.unlink()
    except BlockingIOError as error:
        raise InputRejected(f"Another run is writing {journal.name}.", code="table-in-use") from error
    except FileNotFoundError as error:
        raise InputRejected(f"There is no folder {journal.parent} for the table.", code="no-folder") from error


def _journalled(stream: IO[str], path: Path) -> list[Row]:
    """Rows of a run that was killed. A last line that was cut off is dropped, so that its exam is done again."""
    stream.seek(0)
    whole, _, torn = stream.read().rpartition("\n")
    if torn:
        stream.truncate(len(whole.encode()) + bool(whole))
    rows: list[Row] = [json.loads(line) for line in whole.splitlines()]
    if any("study_uid" not in row for row in rows):
        raise InputRejected(f"{path.name}.rows.jsonl is not a journal of feature rows.", code="bad-table")
    return rows


def read_rows(path: Path) -> list[Row]:
    """The rows of a table, cells as they are in the file; none where there is no file. Raises InputRejected."""
    return _format(path)[0](path)


def _format(path: Path) -> tuple[Callable[[Path], list[Row]], Callable[[BinaryIO, list[str], list[Row]], None]]:
    formats = {".csv": (_read_csv, _write_csv), ".parquet": (_read_parquet, _write_parquet)}
    if path.suffix.lower() not in formats:
        raise InputRejected(f"{path.name}: a table ends in .csv or .parquet.", code="bad-table")
    return formats[path.suffix.lower()]


def _checked(rows: list[Row], columns: Iterable[str] | None, path: Path) -> list[Row]:
    if columns is not None and "study_uid" not in columns:
        raise InputRejected(f"{path.name} exists and has no column study_uid; choose another name.", code="bad-table")
    return rows


def _read_csv(path: Path) -> list[Row]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        if reader.fieldnames is not None:
            reader.fieldnames = [unescaped(name) for name in reader.fieldnames]
        rows: list[Row] = [{name: _plain(cell) for name, cell in row.items()} for row in reader]
        return _checked(rows, reader.fieldnames, path)


def _write_csv(file: BinaryIO, columns: list[str], rows: list[Row]) -> None:
    stream = io.TextIOWrapper(file, encoding="utf-8", newline="")
    lines: list[list[Cell]] = [[*columns], *([row.get(name) for name in columns] for row in rows)]
    for cells in lines:
        stream.write(",".join(map(_written, cells)) + "\n")
    stream.detach()


def _written(cell: Cell) -> str:
    return quoted("" if cell is None else escaped(cell) if isinstance(cell, str) else str(cell))


def _plain(cell: Any) -> Any:
    """Beyond the columns, DictReader gives a list of what is left."""
    return unescaped(cell) if isinstance(cell, str) else cell


def arrow(path: Path) -> tuple[Any, Any]:
    """pyarrow and its Parquet, which have no types of their own.

    Raises:
        NotInstalled: it belongs to the extra `research`.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise NotInstalled(
            f"{path.name} needs pyarrow: install the extra `research` (pip install 'axrad[research]'), or write .csv."
        ) from error
    return pyarrow, pyarrow.parquet


def _read_parquet(path: Path) -> list[Row]:
    pa, pq = arrow(path)
    if not path.exists():
        return []
    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise InputRejected(f"{path.name} is not a Parquet file.", code="bad-table") from error
    rows: list[Row] = table.to_pylist()
    return _checked(rows, table.column_names, path)


def _write_parquet(file: BinaryIO, columns: list[str], rows: list[Row]) -> None:
    pa, pq = arrow(Path(file.name))
    arrays: dict[str, Any] = {}
    for name in columns:
        kind = pa.float64() if FEATURE.fullmatch(name) else pa.string() if name in TEXTS else None
        arrays[name] = pa.array([row.get(name) for row in rows], type=kind)
    pq.write_table(pa.table(arrays), file)
