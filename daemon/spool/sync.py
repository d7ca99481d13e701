"""Getting files and the folders that name them onto the disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from threading import Thread


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


class Syncer:
    """Syncs the files of one association behind its back, and has all of them on the disk when `finish` returns.

    The disk works while the next image comes over the wire, so little is left to wait for at the end.
    """

    def __init__(self, folders_of: Callable[[str], tuple[Path, ...]], root: Path) -> None:
        self._root = root
        self._folders_of = folders_of
        self._queue: SimpleQueue[str | None] = SimpleQueue()
        self._outer: set[Path] = set()
        self._error: OSError | None = None
        self._thread: Thread | None = None

    def add(self, relative: str) -> None:
        """Remember a file; it is synced soon."""
        if self._thread is None:
            self._thread = Thread(target=self._run, name="syncer", daemon=True)
            self._thread.start()
        self._queue.put(relative)

    def finish(self) -> None:
        """Wait until all is on the disk. Raises OSError if any of it is not."""
        if self._thread is None:
            return
        self._queue.put(None)
        self._thread.join()
        self._thread = None
        outer, self._outer = self._outer, set()
        for folder in sorted(outer, key=lambda p: -len(p.parts)):
            sync_folder(folder)
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self) -> None:
        while (relative := self._queue.get()) is not None:
            inner, *outer = self._folders_of(relative)
            self._outer.update(outer)
            try:
                sync_file(self._root / relative)
                sync_folder(inner)
            except FileNotFoundError:
                continue  # removed again by retention: nothing left to keep
            except OSError as error:
                self._error = error
