"""Deflated bytes (RFC 1951), inflated no further than somebody needs: a megabyte of them may stand for a gigabyte."""

from __future__ import annotations

import zlib
from typing import BinaryIO

STEP = 1 << 16


class Inflated:
    """What a deflated stream holds, from its begin on and as far as asked for. Raises zlib.error if it is damaged."""

    def __init__(self, file: BinaryIO, start: int) -> None:
        self._file, self._start = file, start
        self._restart()

    def _restart(self) -> None:
        self._file.seek(self._start)
        self._engine = zlib.decompressobj(-zlib.MAX_WBITS)
        self._at = 0

    def read(self, size: int) -> bytes:
        """The next bytes, fewer only at the end."""
        output = bytearray()
        while len(output) < size and not self._engine.eof:
            waiting = self._engine.unconsumed_tail or self._file.read(STEP)
            piece = self._engine.decompress(waiting, size - len(output))
            if not waiting and not piece:
                break
            output += piece
        self._at += len(output)
        return bytes(output)

    def at(self, offset: int, size: int) -> bytes:
        """The bytes at an offset. Going back begins anew."""
        if offset < self._at:
            self._restart()
        while self._at < offset and self.read(min(STEP, offset - self._at)):
            pass
        return self.read(size) if self._at == offset else b""


def inflated(data: bytes, most: int) -> bytes:
    """All that `data` hold, or the first `most` + 1 bytes of it: then it is more than that. Raises zlib.error."""
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, most + 1)
