"""An exclusive lock on a file. The kernel releases it when the process that holds it ends, however it ends."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK_POLL_S = 1.0


class FileLock:
    """A lock that one process at a time holds. The file is created, with its folder, and never removed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def acquire(self) -> bool:
        """Take the lock without waiting. False where another process holds it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        return True

    def release(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


@contextmanager
def waiting_for_lock(path: Path, stop: threading.Event) -> Iterator[bool]:
    """Hold the lock, for which this waits. False where `stop` was set first."""
    lock = FileLock(path)
    acquired = False
    while not stop.is_set() and not acquired:
        acquired = lock.acquire()
        if not acquired:
            stop.wait(LOCK_POLL_S)
    try:
        yield acquired
    finally:
        lock.release()
