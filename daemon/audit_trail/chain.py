"""The file of the audit trail, each line chained to the one before by its SHA-256.

A line ends with `"chain": {"trail", "number", "previous"}`: the trail's random name, the line's number in it, and the
SHA-256 of the line before. Beside the file lies `NAME.chain` with the last line's number and digest. Its lock makes one
writer at a time of all processes, and it outlasts the rotation of the file.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # Any: values of JSON

Json = dict[str, Any]
NOTHING = "0" * 64
# Longer than any line: what is read of the file's end.
TAIL_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Link:
    """A line's place in its trail. `digest`: of the line; `previous`: of the line before."""

    trail: str
    number: int
    digest: str
    previous: str = ""


def state_path(trail: Path) -> Path:
    return trail.with_name(trail.name + ".chain")


def link_of(line: bytes) -> Link | None:
    """The place of a line, without its end of line; None for a line of no chain. Raises ValueError for no JSON."""
    try:
        message = json.loads(line)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    chain = message.get("chain") if isinstance(message, dict) else None
    if not isinstance(chain, dict):
        return None
    try:
        digest = hashlib.sha256(line).hexdigest()
        return Link(str(chain["trail"]), int(chain["number"]), digest, str(chain["previous"]))
    except (KeyError, TypeError, OverflowError) as error:
        raise ValueError("its chain is not whole") from error


def append(path: Path, message: Json) -> str:
    """Write the message as the trail's next line, whole and synced, or not at all; returns the line. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_file():
        line = text_of(message)
        _write_line(path, line)
        return line
    with _locked(state_path(path)) as state:
        last = _newest(_read_state(state), _tail(path))
        chain = {"trail": last.trail, "number": last.number + 1, "previous": last.digest}
        line = text_of({**message, "chain": chain})
        _write_line(path, line)
        _write_state(state, Link(last.trail, last.number + 1, hashlib.sha256(line.encode()).hexdigest()))
    return line


def last_link(path: Path) -> Link | None:
    """What was written last, as the file beside the trail has it; None where there is no chain yet. Raises OSError."""
    if not state_path(path).exists():
        return None
    with _locked(state_path(path)) as state:
        recorded = _read_state(state)
        return None if recorded is None else _newest(recorded, _tail(path))


def missing_at_the_end(path: Path, last: Link) -> bool:
    """Whether the file ends before the line that was written last. One that was rotated away and not begun is whole."""
    try:
        links = [link for link in _links(_tail(path)) if link.trail == last.trail]
        return bool(links) and links[-1].number < last.number
    except OSError:
        return False


def text_of(message: Json) -> str:
    """One line of JSON. Bytes of a file's or a user's name that are no UTF-8 are escaped: they stop no line."""
    line = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
    return line.encode("utf-8", "backslashreplace").decode()


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    fd = _open(path, os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield fd
    finally:
        os.close(fd)


def _open(path: Path, flags: int) -> int:
    """A file of the trail. What root makes belongs to whoever the folder belongs to: the daemon has to write it too."""
    new = not path.exists()
    fd = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if new and os.geteuid() == 0:
        folder = path.parent.stat()
        os.fchown(fd, folder.st_uid, folder.st_gid)
    return fd


def _read_state(fd: int) -> Link | None:
    words = os.pread(fd, 256, 0).decode("ascii", "replace").split()
    if len(words) != 3 or not words[1].isdigit():
        return None
    return Link(words[0], int(words[1]), words[2])


def _write_state(fd: int, link: Link) -> None:
    """In place, always as long as before: a write that is cut short by a crash leaves the file before or after it."""
    os.pwrite(fd, f"{link.trail} {link.number:020d} {link.digest}\n".encode(), 0)


def _newest(recorded: Link | None, tail: bytes) -> Link:
    """The last line. After a crash the file may be ahead of what was recorded: by lines that continue it."""
    if recorded is None:
        return Link(secrets.token_hex(8), 0, NOTHING)
    for link in _links(tail):
        if (link.trail, link.number, link.previous) == (recorded.trail, recorded.number + 1, recorded.digest):
            recorded = link
    return recorded


def _links(tail: bytes) -> Iterator[Link]:
    for line in tail.splitlines():
        try:
            link = link_of(line)
        except ValueError:
            continue
        if link is not None:
            yield link


def _tail(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            return file.read()
    except FileNotFoundError:
        return b""


def _write_line(path: Path, line: str) -> None:
    """Opened for each line, so that whoever rotates the file need not tell us. A torn line before it is ended."""
    fd = _open(path, os.O_RDWR | os.O_APPEND if path.is_file() or not path.exists() else os.O_WRONLY | os.O_APPEND)
    try:
        regular = stat.S_ISREG(os.fstat(fd).st_mode)
        size = os.fstat(fd).st_size if regular else 0
        torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
        data = (b"\n" if torn else b"") + line.encode() + b"\n"
        if os.write(fd, data) < len(data):
            os.ftruncate(fd, size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        if regular:
            os.fdatasync(fd)
    finally:
        os.close(fd)
