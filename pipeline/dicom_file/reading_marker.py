"""Which file this process is reading, written down before it is read, for whoever comes after its death.

A file may kill its reader: a library that aborts, memory that runs out. The note lies in a mapped file, so that it
outlives the process and costs no write to a disk; it need not outlive the machine. What a fatal signal was is written
beside it by faulthandler, in the signal's own handler. `daemon.recovery.unreadable_files` reads the notes of
processes that died.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import fcntl
import hashlib
import json
import mmap
import os
import secrets
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any  # Any: values of JSON

from pipeline.errors import FileSetAside

NOTES, ASIDE = "reading", "unreadable"
SUFFIX = ".note"
# Of a note: who writes it, what is read, and what faulthandler has to say.
WHO_BYTES, PATH_BYTES, LAST_WORDS_BYTES = 512, 3584, 8192
PAGE = WHO_BYTES + PATH_BYTES
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
VMSTAT = Path("/proc/vmstat")


class ReadingNote:
    """What a process is reading, in a file that it maps."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        # With its blocks reserved: where a disk is full, the first touch of a mapped page would be fatal.
        os.posix_fallocate(fd, 0, PAGE + LAST_WORDS_BYTES)
        self._map = mmap.mmap(fd, PAGE)
        self._reading: list[str] = []
        self._lock = threading.Lock()

    def listen_for_signals(self) -> None:
        """Have faulthandler write what kills this process behind the note."""
        os.lseek(self._fd, PAGE, os.SEEK_SET)
        faulthandler.enable(self._fd, all_threads=False)

    def listen_for_processor_limit(self) -> None:
        """Have faulthandler write behind the note too that this process has used the processor time it may."""
        faulthandler.register(signal.SIGXCPU, self._fd, all_threads=False, chain=True)

    def require(self, path: Path) -> None:
        """Raises FileSetAside where `path` is set aside; nothing is, where nobody keeps records."""

    def begin(self, path: Path) -> None:
        """Note that `path` is read. Raises FileSetAside where it is set aside."""
        self.require(path)
        with self._lock:
            self._reading.append(str(path))
            self._write()

    def end(self, path: Path) -> None:
        with self._lock:
            self._reading.remove(str(path))
            self._write()

    def _write(self) -> None:
        """The file whose reading began last; no length while the path is not whole."""
        text = os.fsencode(self._reading[-1])[: PATH_BYTES - 2] if self._reading else b""
        self._map[WHO_BYTES : WHO_BYTES + 2] = b"\0\0"
        self._map[WHO_BYTES + 2 : WHO_BYTES + 2 + len(text)] = text
        self._map[WHO_BYTES : WHO_BYTES + 2] = len(text).to_bytes(2, "little")

    def let_go(self) -> None:
        """In a forked process, which has no part in its parent's note."""
        self._map.close()
        os.close(self._fd)

    def close(self) -> None:
        """This process reads no more."""


class ProcessNote(ReadingNote):
    """The note of one process, in `root`/reading, and what is set aside there, in `root`/unreadable."""

    def __init__(self, root: Path, who: str) -> None:
        folder = root / NOTES
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{secrets.token_hex(8)}{SUFFIX}"
        self._pid = os.getpid()
        super().__init__(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        # Whoever can lock it knows that this process is gone.
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        about = {"who": who, "pid": self._pid, "host": socket.gethostname(), "boot": boot_id(), "oom": oom_kills()}
        text = json.dumps(about).encode()
        self._map[: len(text)] = text
        self._aside = SetAsideFiles(root)

    def require(self, path: Path) -> None:
        """Raises FileSetAside where `path` is set aside."""
        self._aside.require(path)

    def close(self) -> None:
        """This process reads no more."""
        if self._pid == os.getpid():
            self.path.unlink(missing_ok=True)


class SetAsideFiles:
    """What is set aside in a folder, looked at again whenever the folder has changed."""

    def __init__(self, root: Path) -> None:
        self._folder = root / ASIDE
        self._seen = -1
        self._records: dict[str, dict[str, Any]] = {}

    def require(self, path: Path) -> None:
        """Raises FileSetAside where `path` is set aside."""
        try:
            changed = os.stat(self._folder).st_mtime_ns
        except FileNotFoundError:
            return
        if changed != self._seen:
            self._records = {r["key"]: r for r in records(self._folder.parent) if r.get("aside")}
            self._seen = changed
        if self._records and (record := self._records.get(key_of(path))) is not None:
            raise FileSetAside(sentence(record, self._folder), uid=record.get("sop_uid") or None)


def records(root: Path) -> list[dict[str, Any]]:
    """Files whose readers died, as `daemon.recovery.unreadable_files` keeps them."""
    records_read = []
    for path in sorted((root / ASIDE).glob("*.json")):
        with contextlib.suppress(OSError, ValueError):
            records_read += [r] if isinstance(r := json.loads(path.read_text()), dict) and "key" in r else []
    return records_read


def sentence(record: dict[str, Any], folder: Path) -> str:
    """What became of a file that is set aside. Of a file elsewhere than in a spool its record is what one removes."""
    named = f"instance {record['sop_uid']}" if record.get("sop_uid") else "a file"
    in_spool = "/instances/" in str(record["path"])
    again = "`axrad ingest` takes it up again" if in_spool else f"remove {folder} to have it read again"
    deaths, signal = len(record["deaths"]), record["signal"]
    return f"{named} is set aside: {deaths} processes died while they read it ({signal}); {again}"


def key_of(path: Path) -> str:
    """The name of a file: in a spool, or in a copy of one, what it holds; elsewhere where it lies, and since when."""
    parts = path.parts
    if len(parts) > 4 and parts[-4] == "instances":
        text = "/".join(parts[-2:])
    else:
        with contextlib.suppress(OSError):
            state = os.stat(path)
            return _hashed(f"{path.absolute()}\0{state.st_size}\0{state.st_mtime_ns}")
        text = str(path.absolute())
    return _hashed(text)


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def boot_id() -> str:
    """Which start of the machine this is; empty where that is not told."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def oom_kills() -> int:
    """How many processes the kernel has killed for lack of memory since the machine started; -1: it does not say."""
    with contextlib.suppress(OSError, ValueError):
        for line in VMSTAT.read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return -1


_book: ReadingNote | None = None


def note_what_is_read(root: Path, who: str) -> None:
    """From now on this process notes which file it reads. Where that cannot be noted, it is read all the same."""
    global _book
    note_nothing()
    try:
        _book = ProcessNote(root, who)
    except OSError:
        return
    _book.listen_for_signals()


def note_processor_limit() -> None:
    """From now on an end of this process by SIGXCPU counts as a crash over the file that it reads."""
    if _book is not None:
        _book.listen_for_processor_limit()


def note_for_parent(fd: int) -> None:
    """In a fork: note what is read in a file that the one that forked it has open too, and reads with `last_read`."""
    global _book
    note_nothing()
    _book = ReadingNote(fd)
    _book.listen_for_signals()


def last_read(fd: int) -> tuple[Path | None, bytes]:
    """What a process was reading when it ended, and what faulthandler said of its end."""
    content = os.pread(fd, PAGE + LAST_WORDS_BYTES, 0)
    length = int.from_bytes(content[WHO_BYTES : WHO_BYTES + 2], "little")
    path = content[WHO_BYTES + 2 : WHO_BYTES + 2 + length]
    return (Path(os.fsdecode(path)) if path else None), content[PAGE:].rstrip(b"\0")


@contextmanager
def marked(path: Path) -> Iterator[None]:
    """Note that `path` is read in the body. Raises FileSetAside where its readers have died before."""
    book = _book
    if book is None:
        yield
        return
    book.begin(path)
    try:
        yield
    finally:
        book.end(path)


def set_aside(path: Path) -> FileSetAside | None:
    """Why a file is not read any more; None where it is."""
    if _book is None:
        return None
    try:
        _book.require(path)
    except FileSetAside as error:
        return error
    return None


def note_nothing() -> None:
    """This process reads no more, or nothing that anybody should know of."""
    global _book
    if _book is not None:
        faulthandler.disable()
        _book.close()
        _book = None


def _forked() -> None:
    global _book
    if _book is not None:
        faulthandler.disable()
        _book.let_go()
        _book = None


atexit.register(note_nothing)
os.register_at_fork(after_in_child=_forked)
