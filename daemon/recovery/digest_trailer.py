"""The SHA-256 at the end of a backup: whether every byte of it is as it was written.

It stands behind the end of the tar archive, where programs that read tar do not look. It tells damage, not forgery:
only an encrypted backup proves who made it.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

MARK = b"axrad-sha256 "
LENGTH = len(MARK) + 64 + 1
BLOCK = 1024 * 1024


class Digesting:
    """A file open for writing whose bytes are hashed as they pass. Only what `tarfile` needs of one."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._digest = hashlib.sha256()
        self._written = 0

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        self._written += len(data)
        return self._raw.write(data)

    def tell(self) -> int:
        return self._written

    def finish(self) -> None:
        """Write the digest of all that was written."""
        self._raw.write(MARK + self._digest.hexdigest().encode() + b"\n")


def is_whole(path: Path) -> bool | None:
    """Whether the file's bytes have the digest at its end; None where it has none. Raises OSError."""
    size = path.stat().st_size - LENGTH
    if size < 0:
        return None
    with path.open("rb") as file:
        file.seek(size, os.SEEK_SET)
        trailer = file.read(LENGTH)
        if not trailer.startswith(MARK):
            return None
        file.seek(0)
        digest, left = hashlib.sha256(), size
        while left and (block := file.read(min(BLOCK, left))):
            digest.update(block)
            left -= len(block)
    return trailer == MARK + digest.hexdigest().encode() + b"\n"
