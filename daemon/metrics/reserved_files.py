"""Counters in files that a full disk cannot turn into a fatal signal.

prometheus_client maps sparse files. Where the disk is full, the first touch of a page that has no block yet is SIGBUS:
the process dies, acceptors and all. Here blocks are reserved before they are mapped; where there are none, a process
counts in memory, unseen by others, rather than not at all.
"""

from __future__ import annotations

import mmap
import os
import tempfile

from prometheus_client import values
from prometheus_client.mmap_dict import _INITIAL_MMAP_SIZE, MmapedDict


class Reserved(MmapedDict):
    """A file of counters, all of whose pages have blocks."""

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        if read_mode:
            super().__init__(filename, read_mode=True)  # type: ignore[no-untyped-call]
            return
        try:
            _reserve(filename)
        except OSError:
            with tempfile.NamedTemporaryFile(dir="/dev/shm") as unseen:
                super().__init__(unseen.name)  # type: ignore[no-untyped-call]
            return
        super().__init__(filename)  # type: ignore[no-untyped-call]

    def _init_value(self, key: str) -> None:
        # Length, key padded to eight bytes, value and time stamp.
        needed = 4 + len(key.encode()) + 8 + 16
        while self._used + needed > self._capacity:
            self._grow()
        super()._init_value(key)  # type: ignore[no-untyped-call]

    def _grow(self) -> None:
        wider = self._capacity * 2
        try:
            os.posix_fallocate(self._f.fileno(), 0, wider)
            self._m = mmap.mmap(self._f.fileno(), wider)
        except OSError:
            unseen = mmap.mmap(-1, wider)
            unseen[: self._capacity] = self._m[:]
            self._m = unseen
        self._capacity = wider


def _reserve(filename: str) -> None:
    fd = os.open(filename, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(fd).st_size == 0:
            os.posix_fallocate(fd, 0, _INITIAL_MMAP_SIZE)
    finally:
        os.close(fd)


def install() -> None:
    """Have prometheus_client count into reserved files from now on."""
    vars(values)["MmapedDict"] = Reserved
