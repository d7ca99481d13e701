"""Getting files and the folders that name them onto the disk."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path
from threading import Condition, Thread

import structlog

log = structlog.get_logger("axrad.listener")
_libc = ctypes.CDLL(None, use_errno=True)


def sync_file(path: Path) -> None:
    """fsync a file that was written through another descriptor."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_folder(path: Path) -> None:
    """fsync a folder, so that the names in it survive."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_file_system(fd: int) -> None:
    """Write out everything of the file system that `fd` is on: files, folders, journals (syncfs(2)).

    One such call for a hundred images costs less than two fsync for each of them, since the file system commits
    once. Tells errors of every writing back since `fd` was opened, and each once; kernels before 5.8 tell none.
    """
    if _libc.syncfs(fd) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class Syncer:
    """Puts the spool's file system on the disk, in rounds that all associations of a process share.

    Whoever asks is served by the first round that starts after it asked, together with everyone else who asked by
    then; one round runs at a time.
    """

    def __init__(self, root: Path) -> None:
        # Open from the beginning: what the kernel failed to write before a round is told on this descriptor alone.
        self._fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._condition = Condition()
        self._requested = 0
        self._started = 0
        self._finished = 0
        self._errors: dict[int, OSError] = {}
        self._thread: Thread | None = None

    def begin(self) -> int:
        """Ask for a round without waiting for it; gives its number."""
        with self._condition:
            if self._thread is None:
                self._thread = Thread(target=self._run, name="syncer", daemon=True)
                self._thread.start()
            self._requested = self._started + 1
            self._condition.notify_all()
            return self._requested

    def wait(self, number: int) -> None:
        """Wait for the end of a round. Raises OSError if it failed."""
        with self._condition:
            self._condition.wait_for(lambda: self._finished >= number)
            error = self._errors.get(number)
        if error is not None:
            raise OSError(error.errno, error.strerror)

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._requested > self._started)
                self._started += 1
                number = self._started
            error: OSError | None = None
            try:
                sync_file_system(self._fd)
            except OSError as failed:
                error = failed
                # Of a round in the background nobody else would hear.
                log.error("the spool cannot be synced", error=errno.errorcode.get(failed.errno or 0, "unknown"))
            with self._condition:
                if error is not None:
                    self._errors[number] = error
                self._finished = number
                self._condition.notify_all()
