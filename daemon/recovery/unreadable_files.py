"""Files whose readers died of them: counted from the notes that the dead have left, set aside, told, taken up again.

Two deaths by a signal that a program earns by itself (a crash, memory that ran out) set a file aside. SIGKILL from
anybody is no such signal: whoever stops a daemon in a hurry means no file. Only the fifth kill over one and the same
file counts. What happened before the machine was started anew counts for nothing, and neither does what our own
supervisor has ended.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any  # Any: JSON of a file that may be damaged

import structlog

from daemon.ledger import Ledger
from daemon.ledger import set_aside as aside_rows
from daemon.spool import read_meta
from pipeline.dicom_file.reading_marker import (
    ASIDE,
    NOTES,
    PAGE,
    PATH_BYTES,
    SUFFIX,
    WHO_BYTES,
    boot_id,
    key_of,
    note_nothing,
    note_what_is_read,
    oom_kills,
    records,
)
from pipeline.errors import NotDicom
from pipeline.whole_file import write_whole

log = structlog.get_logger("axrad.unreadable")
CRASHES, KILLS = 2, 5
# What faulthandler calls a signal.
SIGNALS = {
    b"Segmentation fault": "SIGSEGV",
    b"Aborted": "SIGABRT",
    b"Bus error": "SIGBUS",
    b"Floating": "SIGFPE",
    b"Illegal instruction": "SIGILL",
}
OUT_OF_MEMORY, KILLED = "SIGKILL for lack of memory", "killed"
# How it begins where it was told of a signal that it does not call fatal: too much processor time.
NOT_FATAL, TOO_LONG = b"Stack ", "SIGXCPU"
# The instance may come into the ledger, with its sender, after its file was set aside.
SENDER_S = 60.0
# Notes of machines that no longer are.
OLD_S = 7 * 86400.0


@dataclass(frozen=True, slots=True)
class Death:
    """A process that ended while it read a file. `who`: which of ours."""

    at: float
    signal: str
    who: str


@dataclass(frozen=True, slots=True)
class Record:
    """A file whose readers died, as it lies in `root`/unreadable. `aside`: it is not read any more. `told`: when the
    ledger was told of it first."""

    key: str
    path: str
    sop_uid: str
    boot: str
    deaths: tuple[Death, ...] = field(default=())
    aside: bool = False
    told: float = 0.0

    @property
    def signal(self) -> str:
        return ", ".join(dict.fromkeys(d.signal for d in self.deaths))


def judge_notes(root: Path, now: float) -> list[Record]:
    """Count the deaths that notes below `root` tell of; the files that were set aside by that."""
    set_aside_now = []
    for note in sorted((root / NOTES).glob(f"*{SUFFIX}")):
        with _note_of_ended_process(note) as content:
            if content is None:
                continue
            try:
                record = _record_with_death(root, content, now)
            except OSError as error:
                # A disk that is full, say: counted when there is room.
                log.warning("death-not-counted", error=errno.errorcode.get(error.errno or 0, "unknown"))
                continue
            note.unlink(missing_ok=True)
            if record is not None and record.aside:
                log.error("file-set-aside", sop_instance_uid=record.sop_uid, signal=record.signal, path=record.path)
                set_aside_now.append(record)
    return set_aside_now


@contextmanager
def _note_of_ended_process(note: Path) -> Iterator[bytes | None]:
    """The bytes of a note whose writer has ended, locked against a second count. None: the writer runs."""
    try:
        fd = os.open(note, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Another that looked may have counted it between our opening and our locking.
        yield os.read(fd, 1 << 16) if note.exists() else None
    except BlockingIOError:
        yield None
    finally:
        os.close(fd)


def _record_with_death(root: Path, content: bytes, now: float) -> Record | None:
    """The record of the file that was being read, with one more death; None where nobody is to blame for anything."""
    try:
        about = json.loads(content[:WHO_BYTES].rstrip(b"\0"))
        length = int.from_bytes(content[WHO_BYTES : WHO_BYTES + 2], "little")
    except ValueError:
        return None  # died before it had said who it was
    same_boot = about["host"] == socket.gethostname() and about["boot"] == boot_id()
    if not same_boot or not 0 < length <= PATH_BYTES - 2:
        return None
    path = Path(os.fsdecode(content[WHO_BYTES + 2 : WHO_BYTES + 2 + length]))
    if not path.is_file():
        return None
    key = key_of(path)
    death = Death(now, _signal(content[PAGE:], about), str(about["who"]))
    before = record_of(root, key)
    earlier = before.deaths if before is not None and before.boot == about["boot"] else ()
    deaths = (*earlier, death)
    crashes = sum(d.signal != KILLED for d in deaths)
    record = Record(key, str(path), _sop_uid(path), about["boot"], deaths, crashes >= CRASHES or len(deaths) >= KILLS)
    _write_record(root, record)
    log.warning("reader-died", who=death.who, signal=death.signal, sop_instance_uid=record.sop_uid, deaths=len(deaths))
    return record


def _signal(last_words: bytes, about: dict[str, object]) -> str:
    message = last_words.rstrip(b"\0")
    if message.startswith(NOT_FATAL):
        return TOO_LONG
    if message:
        return next((name for words, name in SIGNALS.items() if words in message[:200]), "SIGABRT")
    return OUT_OF_MEMORY if oom_kills() > int(str(about["oom"])) >= 0 else KILLED


def _sop_uid(path: Path) -> str:
    """From the file's own header group; empty where there is none."""
    try:
        with path.open("rb") as file:
            return read_meta(file).sop_instance_uid
    except (OSError, NotDicom):
        return ""


def record_of(root: Path, key: str) -> Record | None:
    try:
        return _record(json.loads((root / ASIDE / f"{key}.json").read_text()))
    except (OSError, ValueError):
        return None


def _record(values: Any) -> Record | None:
    """None where the file is not one of ours, or a damaged one."""
    try:
        known = {k: v for k, v in values.items() if k in Record.__slots__}
        return Record(**{**known, "deaths": tuple(Death(**d) for d in values["deaths"])})
    except (AttributeError, KeyError, TypeError):
        return None


def _write_record(root: Path, record: Record) -> None:
    folder = root / ASIDE
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps(asdict(record) | {"signal": record.signal})
    write_whole(folder / f"{record.key}.json", content.encode(), synced=False)


def set_aside(root: Path) -> list[Record]:
    """What is not read any more."""
    every = (_record(values) for values in records(root))
    return [record for record in every if record is not None and record.aside]


def forget(root: Path, path: Path) -> bool:
    """Forget the deaths over a file, so that it is read again. True if there were any."""
    record = root / ASIDE / f"{key_of(path)}.json"
    there = record.exists()
    record.unlink(missing_ok=True)
    return there


def discard_notes_of(root: Path, process_group: int) -> None:
    """Remove the notes of a process group that is about to be killed: the files being read are not the cause."""
    for note in (root / NOTES).glob(f"*{SUFFIX}"):
        with suppress(OSError, ValueError):
            about = json.loads(note.read_bytes()[:WHO_BYTES].rstrip(b"\0"))
            if about["host"] == socket.gethostname() and os.getpgid(int(about["pid"])) == process_group:
                note.unlink(missing_ok=True)


def start(root: Path, who: str, now: float) -> None:
    """Have this process note what it reads, once the notes of the dead have been judged."""
    tidy(root)
    judge_notes(root, now)
    note_what_is_read(root, who)


@contextmanager
def noting(root: Path, who: str, now: float) -> Iterator[None]:
    """The same for a command with a folder of its own, which is there only while there is anything in it."""
    root.parent.mkdir(parents=True, exist_ok=True)
    start(root, who, now)
    try:
        yield
    finally:
        note_nothing()
        for folder in (root / NOTES, root / ASIDE, root):
            with suppress(OSError):
                folder.rmdir()


def tidy(root: Path) -> None:
    """Remove notes of machines that no longer are."""
    old = time.time() - OLD_S
    for note in (root / NOTES).glob(f"*{SUFFIX}"):
        with suppress(FileNotFoundError):
            if note.stat().st_mtime < old:
                note.unlink()


def report_to_ledger(ledger: Ledger, root: Path, now: float) -> None:
    """Record in the ledger what is set aside here. What an operator took up again in the ledger is read again."""
    records = [record for record in set_aside(root) if record.sop_uid]
    if not records:
        return
    with ledger.read() as connection:
        known = aside_rows.known(connection, [record.key for record in records])
    for record in records:
        if (record.told and known.get(record.key, "")) or (record.key in known and now - record.told > SENDER_S):
            continue
        if record.told and record.key not in known:
            (root / ASIDE / f"{record.key}.json").unlink(missing_ok=True)
            continue
        poison = aside_rows.SetAsideFile(
            record.key,
            record.sop_uid,
            Path(record.path).stem,
            record.signal,
            len(record.deaths),
            ", ".join(dict.fromkeys(d.who for d in record.deaths)),
        )
        with ledger.write() as connection:
            aside_rows.record(connection, poison, now)
        if not record.told:
            with suppress(OSError):  # told again, once there is room
                _write_record(root, replace(record, told=now))


def take_up(ledger: Ledger, root: Path, relative: str, now: float) -> bool:
    """Read a file of the spool again, which somebody has handed in anew. Whether it had been set aside."""
    path = root / relative
    there = forget(root, path)
    if not there and not _any_set_aside(ledger):
        return False
    with ledger.write() as connection:
        return aside_rows.take_up(connection, _sop_uid(path), path.stem, now) or there


def _any_set_aside(ledger: Ledger) -> bool:
    with ledger.read() as connection:
        return aside_rows.count(connection) > 0
