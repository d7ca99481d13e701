"""Journals: what an association brought, one JSON line each, appended before the sender is answered.

A journal is written by one process and read by one indexer, again and again while it grows. Its writer holds a file
lock on it; when the writer is gone, however it went, the lock is gone too, and a journal without `closed` at its end is
known to be finished all the same. A line torn by a kill is the last one and was never answered: it is not an entry.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Literal  # Any: a line of JSON, of any shape until it is looked at

from daemon.spool.sync import sync_folder

SUFFIX = ".jsonl"
_encode = json.JSONEncoder(separators=(",", ":")).encode
Event = Literal["opened", "stored", "duplicate", "refused", "commitment", "closed"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line. `path` is relative to the spool's root; `journal` and `end` say where reading goes on after it.

    `stored` and `duplicate` have path, UIDs, size (bytes of the data set) and digest (SHA-256 of the data set), and
    `role` where it is `backfill`;
    `refused` has status and reason; `commitment` has the transaction and its UIDs (a report on what *we* asked to be
    committed); `closed` has how: `released`, `aborted`, `timeout`, `stopped`.
    """

    ts: float
    event: Event
    association: str
    calling_ae: str = ""
    address: str = ""
    path: str | None = None
    sop_class_uid: str | None = None
    sop_instance_uid: str | None = None
    transfer_syntax_uid: str | None = None
    size: int | None = None
    digest: str | None = None
    priority: int | None = None
    move_originator: str | None = None
    role: str | None = None
    status: int | None = None
    reason: str | None = None
    how: str | None = None
    transaction_uid: str | None = None
    committed: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    journal: str = ""
    end: int = 0


_NUMBERS = frozenset({"ts", "size", "priority", "status"})
_LISTS = frozenset({"committed", "failed"})
_TEXTS = frozenset(Entry.__slots__) - {"journal", "end"} - _NUMBERS - _LISTS
_REQUIRED = frozenset({"ts", "event", "association"})


class JournalWriter:
    """Appends entries of one association. The file appears with the first entry, and no earlier."""

    def __init__(self, folder: Path, calling_ae: str, address: str, *, association: str | None = None) -> None:
        self.association = association or f"{time.time_ns() // 1_000_000:013d}-{secrets.token_hex(6)}"
        self.path = folder / (self.association + SUFFIX)
        self._sender = {"calling_ae": calling_ae, "address": address}
        self._fd: int | None = None
        self._length = 0
        self._name_synced = False
        self._lock = Lock()

    @property
    def started(self) -> bool:
        """Whether anything was ever written."""
        return self._length > 0

    def append(self, event: Event, **values: object) -> None:
        """Write one line with a single `write`, so that it is whole for every reader once this returns."""
        with self._lock:
            if self._fd is None:
                self._open()
            self._line(event, values)

    def _open(self) -> None:
        # Locked before it has its name: a reader never takes a journal that is being born for a finished one.
        unnamed = self.path.with_suffix(".new")
        fd = os.open(unnamed, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.rename(unnamed, self.path)
        self._fd = fd
        self._line("opened", {})

    def _line(self, event: Event, values: Mapping[str, object]) -> None:
        assert self._fd is not None
        entry = {"ts": round(time.time(), 3), "event": event, "association": self.association, **self._sender, **values}
        raw = _encode(entry).encode("ascii") + b"\n"
        try:
            if os.write(self._fd, raw) != len(raw):
                raise OSError(errno.ENOSPC, "the journal line could not be written whole")
        except OSError:
            # What follows must not be read as the rest of a torn line.
            os.ftruncate(self._fd, self._length)
            raise
        self._length += len(raw)

    def sync(self) -> None:
        """Have every line on the disk, and the first time the journal's name as well."""
        if self._fd is not None:
            os.fsync(self._fd)
            if not self._name_synced:
                sync_folder(self.path.parent)
                self._name_synced = True

    def close(self, how: str) -> None:
        """Say that the association ended, and let go of the file."""
        with self._lock:
            if self._fd is None:
                return
            try:
                self._line("closed", {"how": how})
            finally:
                os.close(self._fd)
                self._fd = None


def journal_names(folder: Path) -> list[str]:
    """Journals there are, oldest first."""
    try:
        return sorted(entry.name for entry in os.scandir(folder) if entry.name.endswith(SUFFIX))
    except FileNotFoundError:
        return []


def read_journals(root: Path, positions: Mapping[str, int]) -> Iterator[Entry]:
    """Entries not yet seen, journal by journal, oldest journal first.

    Args:
        root: the spool.
        positions: bytes of each journal (by name) that were dealt with; unknown journals are read from the start. Put
            `entry.end` under `entry.journal` there once the entry is in the ledger.

    Lines that are no entry (torn by a kill, or damaged) are skipped.
    """
    folder = root / "journal"
    for name in journal_names(folder):
        yield from _read(folder / name, positions.get(name, 0))


def read_journal(root: Path, journal: str, position: int = 0) -> Iterator[Entry]:
    """Every entry of one journal, from a position on."""
    yield from _read(root / "journal" / journal, position)


def _read(path: Path, position: int) -> Iterator[Entry]:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(position)
        while True:
            line = file.readline()
            if not line.endswith(b"\n"):
                return
            position += len(line)
            entry = _parse(line, path.name, position)
            if entry is not None:
                yield entry


def _parse(line: bytes, journal: str, end: int) -> Entry | None:
    try:
        values: Any = json.loads(line)
        fields = {key: value for key, value in values.items() if value is not None or key in _REQUIRED}
        for key in _LISTS:
            fields[key] = tuple(fields.get(key, ()))
        known = {key: value for key, value in fields.items() if key in _NUMBERS | _LISTS | _TEXTS}
        entry = Entry(**known, journal=journal, end=end)
    except (ValueError, AttributeError, TypeError, RecursionError):
        return None
    return entry if all(map(_is_usable, known, known.values())) and _names_file(entry) else None


def _is_usable(name: str, value: object) -> bool:
    """Whether a value is of the kind that its field has. Nobody after this looks again."""
    if name in _NUMBERS:
        return isinstance(value, int | float) and abs(value) < 2**53
    if name in _LISTS:
        return isinstance(value, tuple) and all(isinstance(uid, str) for uid in value)
    return isinstance(value, str)


def _names_file(entry: Entry) -> bool:
    """Whether a line that brings a file names one of the spool, in characters that a ledger takes."""
    texts = (entry.path or "", entry.sop_instance_uid or "", entry.digest or "", entry.association)
    if entry.path is None:
        return True
    return all(text.isprintable() for text in texts) and not {"..", "/"} & set(Path(entry.path).parts)


def is_finished(root: Path, journal: str) -> bool:
    """Whether nobody writes this journal any more (closed, or its process is gone)."""
    try:
        fd = os.open(root / "journal" / journal, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


def retire(root: Path, journal: str) -> None:
    """Remove a finished journal whose entries are all in the ledger."""
    (root / "journal" / journal).unlink(missing_ok=True)


def as_dict(entry: Entry) -> dict[str, object]:
    """The entry without empty fields, for people."""
    return {key: value for key, value in asdict(entry).items() if value not in (None, (), "")}
