"""Images made smaller for the way: low and high bytes apart, then deflate that looks for runs only.

Two bytes a pixel, of which the high one hardly changes: apart, they are 0.42 of what they were, at the price of reading
them (docs/remote-workers.md has the figures). A content coding of our own, so it is only used where it is asked for.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

CODING = "axrad-planes"
# Bytes whose low and high halves are taken apart together. An even number; both sides must have the same.
BLOCK_BYTES = 1024 * 1024
_LEVEL, _WINDOW_BITS, _MEMORY = 1, 15, 9


class DamagedCoding(Exception):
    """What came is no whole coded file."""


class Packer:
    """Blocks in, coded bytes out. Every block but the last must have BLOCK_BYTES."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW_BITS, _MEMORY, zlib.Z_RLE)

    def pack(self, block: bytes) -> bytes:
        """Everything that the block became: nothing of it is held back."""
        return self._deflate.compress(block[0::2] + block[1::2]) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        return self._deflate.flush()


class Unpacker:
    """Coded bytes in, in any pieces; the file out, in pieces of BLOCK_BYTES at most."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(_WINDOW_BITS)
        self._block = bytearray()

    def unpack(self, piece: bytes) -> Iterator[bytes]:
        """Raises DamagedCoding."""
        while piece:
            # However much it would become: no more than a block at a time.
            try:
                self._block += self._inflate.decompress(piece, BLOCK_BYTES - len(self._block))
            except zlib.error:
                raise DamagedCoding from None
            if self._inflate.unused_data:
                raise DamagedCoding
            piece = self._inflate.unconsumed_tail
            if len(self._block) == BLOCK_BYTES:
                yield self._whole()

    def end(self) -> bytes:
        """What is left. Raises DamagedCoding where the end is missing."""
        # Bytes that did not fit into a block before are still held back.
        self._block += self._inflate.flush()
        if not self._inflate.eof or len(self._block) > BLOCK_BYTES:
            raise DamagedCoding
        return self._whole()

    def _whole(self) -> bytes:
        block, self._block = self._block, bytearray()
        low = (len(block) + 1) // 2
        together = bytearray(len(block))
        together[0::2], together[1::2] = block[:low], block[low:]
        return bytes(together)
