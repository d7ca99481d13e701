"""How many associations there are, counted across acceptor processes in a few hundred bytes of shared memory.

Each association takes one slot. A record lock (POSIX: owned by the process, gone with it) guards the table, so a
killed acceptor neither keeps the lock nor, once its supervisor has reaped it, its slots.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_KEY_BYTES = 15
_RECORD_BYTES = 16
_FREE = 0
_NOBODY = b"\0" * _KEY_BYTES


class Slots:
    """`acceptor` numbers start at 1. One instance per process; `fd` is inherited."""

    def __init__(self, fd: int, count: int, per_peer: int) -> None:
        self.fd = fd
        self.count = count
        self._per_peer = per_peer
        self._table = mmap.mmap(fd, count * _RECORD_BYTES)
        self._mutex = Lock()

    @classmethod
    def create(cls, count: int, per_peer: int) -> Slots:
        fd = os.memfd_create("axrad-associations")
        os.ftruncate(fd, count * _RECORD_BYTES)
        return cls(fd, count, per_peer)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._mutex:
            fcntl.lockf(self.fd, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.lockf(self.fd, fcntl.LOCK_UN)

    def take(self, acceptor: int) -> int | None:
        """A slot for a new connection, or None when all are taken."""
        with self._locked():
            for slot in range(self.count):
                if self._table[slot * _RECORD_BYTES] == _FREE:
                    self._write(slot, acceptor, _NOBODY)
                    return slot
        return None

    def claim(self, slot: int, acceptor: int, peer: str) -> bool:
        """Say whose association it is. False when that peer has as many as it may."""
        key = hashlib.sha256(peer.encode()).digest()[:_KEY_BYTES]
        with self._locked():
            if sum(1 for owner, other in self._records() if owner != _FREE and other == key) >= self._per_peer:
                return False
            self._write(slot, acceptor, key)
        return True

    def free(self, slot: int) -> None:
        with self._locked():
            self._write(slot, _FREE, _NOBODY)

    def reap(self, acceptor: int) -> None:
        """Free what an acceptor that is gone still held."""
        with self._locked():
            for slot, (owner, _) in enumerate(self._records()):
                if owner == acceptor:
                    self._write(slot, _FREE, _NOBODY)

    def close(self) -> None:
        self._table.close()
        os.close(self.fd)

    def per_acceptor(self) -> Counter[int]:
        """Associations by acceptor; without the lock, a glance."""
        return Counter(owner for owner, _ in self._records() if owner != _FREE)

    def of_busiest_peer(self) -> int:
        """How many associations the peer with the most of them has; a glance too."""
        taken = Counter(key for owner, key in self._records() if owner != _FREE and key != _NOBODY)
        return max(taken.values(), default=0)

    def _records(self) -> Iterator[tuple[int, bytes]]:
        for start in range(0, self.count * _RECORD_BYTES, _RECORD_BYTES):
            yield self._table[start], self._table[start + 1 : start + _RECORD_BYTES]

    def _write(self, slot: int, acceptor: int, key: bytes) -> None:
        self._table[slot * _RECORD_BYTES : (slot + 1) * _RECORD_BYTES] = bytes((acceptor,)) + key
