"""The header and the segments of RLE compression (PS3.5 G)."""

from __future__ import annotations

from pipeline.codestream.records import Broken, Shape

HEADER = 64
MOST_SEGMENTS = 15


def check(data: bytes, shape: Shape) -> None:
    """Raise Broken unless `data` are a segment for every byte of a sample, each as long as the frame has pixels."""
    pixels = shape.rows * shape.columns
    expected = shape.samples * ((shape.allocated + 7) // 8)
    if shape.allocated == 1:
        pixels = (pixels + 7) // 8
    if len(data) < HEADER:
        raise Broken("it ends within its header")
    numbers = [int.from_bytes(data[4 * n : 4 * n + 4], "little") for n in range(16)]
    count, offsets = numbers[0], numbers[1:]
    if not 1 <= count <= MOST_SEGMENTS:
        raise Broken("its number of segments is not in order")
    if count != expected:
        raise Broken(f"it has {count} segments, and its header asks for {expected}")
    ends = [*offsets[1:count], len(data)]
    if offsets[0] != HEADER or any(start >= end for start, end in zip(offsets, ends, strict=False)):
        raise Broken("the places of its segments are not in order")
    for start, end in zip(offsets, ends, strict=False):
        _check_segment(data, start, end, pixels)


def _check_segment(data: bytes, at: int, end: int, pixels: int) -> None:
    """Runs are counted, not expanded. Behind the last there may be a byte of padding."""
    decoded = 0
    while decoded < pixels and at < end:
        code = data[at]
        if code < 128:
            decoded += code + 1
            at += code + 2
        elif code > 128:
            decoded += 257 - code
            at += 2
        else:
            at += 1
    if decoded < pixels or at > end:
        raise Broken("a segment ends before its last pixel")
    if decoded > pixels or data[at:end].strip(b"\0\x80"):
        raise Broken("a segment goes on behind its last pixel")


def is_zero(data: bytes) -> bool:
    """Whether a frame has no byte but zero, by its runs: nothing is expanded. False where it is not in order."""
    if len(data) < HEADER:
        return False
    numbers = [int.from_bytes(data[4 * n : 4 * n + 4], "little") for n in range(16)]
    count, offsets = numbers[0], numbers[1:]
    if not 1 <= count <= MOST_SEGMENTS or offsets[0] != HEADER:
        return False
    ends = [*offsets[1:count], len(data)]
    return all(_is_zero_segment(data, start, end) for start, end in zip(offsets, ends, strict=False))


def _is_zero_segment(data: bytes, at: int, end: int) -> bool:
    while at < end:
        code = data[at]
        if code < 128:
            if data[at + 1 : at + 2 + code].strip(b"\0"):
                return False
            at += code + 2
        elif code > 128:
            if at + 1 < end and data[at + 1]:
                return False
            at += 2
        else:
            at += 1
    return True
