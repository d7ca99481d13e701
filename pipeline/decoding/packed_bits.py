"""A frame of one bit per pixel in RLE Lossless: one RLE segment of packed bits, the least significant first.

PS3.5 G does not say how one bit per pixel is run-length coded. OHIF writes it so, and no library reads it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.codestream import Broken, Shape

HEADER = 64


def unpacked(frame: bytes, shape: Shape) -> npt.NDArray[np.uint8]:
    """The pixels, 0 and 1 (rows, columns). Raises Broken."""
    size = shape.rows * shape.columns
    bits = np.unpackbits(np.frombuffer(expanded(frame, (size + 7) // 8), np.uint8), bitorder="little")
    return bits[:size].reshape(shape.rows, shape.columns)


def expanded(frame: bytes, size: int) -> bytes:
    """The `size` bytes of an RLE frame of one segment (PS3.5 G.3, G.5). Raises Broken."""
    if len(frame) < HEADER or int.from_bytes(frame[:4], "little") != 1:
        raise Broken("it is not one segment")
    at = int.from_bytes(frame[4:8], "little")
    out = bytearray()
    while len(out) < size:
        if not HEADER <= at < len(frame):
            raise Broken(f"a segment ends after {len(out)} of {size} bytes")
        run = frame[at]
        if run < 128:
            out += frame[at + 1 : at + run + 2]
            at += run + 2
        else:
            out += frame[at + 1 : at + 2] * (257 - run if run > 128 else 0)
            at += 2 if run > 128 else 1
    return bytes(out[:size])
