"""The markers of JPEG (ITU-T T.81) and JPEG-LS (ITU-T T.87), as far as they tell the size of the image.

Every segment is stepped over by its length, so a thumbnail inside APPn is no image. After a scan's header the coded
data are searched for the next marker: there may be further scans, and DNL may give the number of lines only then.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from pipeline.codestream.records import Broken, Stream

SOI, EOI, SOS, DNL, LSE, TEM = 0xD8, 0xD9, 0xDA, 0xDC, 0xF8, 0x01
SOF_JPEG_LS = 0xF7
# SOF0 to SOF15 without DHT, JPG and DAC, which share their range.
SOFS = frozenset({*range(0xC0, 0xD0), SOF_JPEG_LS} - {0xC4, 0xC8, 0xCC})
RESTARTS = range(0xD0, 0xD8)
# Which frames a transfer syntax may hold: baseline and extended sequential, lossless, JPEG-LS.
KINDS = {
    "1.2.840.10008.1.2.4.50": frozenset({0xC0, 0xC1}),
    "1.2.840.10008.1.2.4.51": frozenset({0xC0, 0xC1, 0xC2}),
    "1.2.840.10008.1.2.4.57": frozenset({0xC3}),
    "1.2.840.10008.1.2.4.70": frozenset({0xC3}),
    "1.2.840.10008.1.2.4.80": frozenset({SOF_JPEG_LS}),
    "1.2.840.10008.1.2.4.81": frozenset({SOF_JPEG_LS}),
}
JPEG_LS_LOSSLESS = "1.2.840.10008.1.2.4.80"
# In coded data FF is followed by a stuffed byte (JPEG: 0; JPEG-LS: any below 80), a restart, or a marker.
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]", re.DOTALL)
_MARKER_LS = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]", re.DOTALL)


class _Segment(NamedTuple):
    marker: int
    body: bytes


class _Frame(NamedTuple):
    marker: int
    bits: int
    rows: int
    columns: int
    components: int


def size_of(data: bytes, syntax: str) -> Stream:
    """The size of the image that `data` code. Raises Broken."""
    frame: _Frame | None = None
    lines: list[int] = []
    widths: list[int] = []
    scans = 0
    for marker, body in _segments(data):
        if marker in SOFS:
            if frame is not None:
                raise Broken("it has several frame headers (SOF)")
            frame = _frame(marker, body, syntax)
        elif marker == DNL:
            if len(body) != 2 or not scans:
                raise Broken("its number of lines (DNL) is not in order")
            lines.append(int.from_bytes(body, "big"))
        elif marker == LSE and body[:1] == b"\x04":
            rows, columns = _oversize(body)
            lines.append(rows)
            widths.append(columns)
        elif marker == SOS:
            scans += 1
            _check_scan(frame, body, syntax)
    if frame is None or not scans:
        raise Broken("it has no frame header (SOF) or no scan")
    return Stream(_one(frame.rows, lines), _one(frame.columns, widths), frame.components, frame.bits)


def _one(first: int, others: list[int]) -> int:
    """A size that stands in several places. Zero in the frame header means: elsewhere."""
    numbers = {n for n in (first, *others) if n}
    if len(numbers) != 1:
        raise Broken("it names several sizes" if numbers else "it names no size")
    return numbers.pop()


def _segments(data: bytes) -> Iterator[_Segment]:
    """Every marker segment up to the end of the image, which must be there, with nothing but padding behind it."""
    if data[:2] != b"\xff\xd8":
        raise Broken("it does not begin with an image (SOI)")
    at, in_scan, pattern = 2, False, _MARKER
    while True:
        marker, at = _next_marker(data, at, pattern) if in_scan else _marker_at(data, at)
        if marker == EOI:
            if b"\xff\xd8\xff" in data[at:]:
                raise Broken("a second image follows")
            return
        if marker == SOI:
            raise Broken("a second image begins within it")
        if marker == TEM or marker in RESTARTS:
            continue
        length = int.from_bytes(data[at : at + 2], "big")
        if length < 2 or at + length > len(data):
            raise Broken("a segment is longer than the data")
        if marker == SOF_JPEG_LS:
            pattern = _MARKER_LS
        yield _Segment(marker, data[at + 2 : at + length])
        at += length
        # The coded data go on behind DNL, or end there.
        in_scan = marker == SOS


def _marker_at(data: bytes, at: int) -> tuple[int, int]:
    """The marker at a byte, which fill bytes (FF) may precede, and where it ends."""
    start = at
    while at < len(data) and data[at] == 0xFF:
        at += 1
    if at >= len(data):
        raise Broken("it ends before its end (EOI)")
    if at == start or not data[at]:
        raise Broken("bytes between its segments are no marker")
    return data[at], at + 1


def _next_marker(data: bytes, at: int, pattern: re.Pattern[bytes]) -> tuple[int, int]:
    marker = pattern.search(data, at)
    if marker is None:
        raise Broken("it ends before its end (EOI)")
    return data[marker.end() - 1], marker.end()


def _frame(marker: int, body: bytes, syntax: str) -> _Frame:
    if marker not in KINDS.get(syntax, SOFS):
        raise Broken("it is coded in another way than its transfer syntax says")
    if len(body) < 6 or len(body) != 6 + 3 * body[5] or not body[5]:
        raise Broken("its frame header (SOF) is not in order")
    return _Frame(marker, body[0], int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big"), body[5])


def _oversize(body: bytes) -> tuple[int, int]:
    """Rows and columns in an LSE segment of type 4: how many bytes each has, then both (T.87 C.2.4.1.4)."""
    width = body[1] if len(body) > 1 else 0
    if not 2 <= width <= 4 or len(body) != 2 + 2 * width:
        raise Broken("its sizes (LSE) are not in order")
    return int.from_bytes(body[2 : 2 + width], "big"), int.from_bytes(body[2 + width :], "big")


def _check_scan(frame: _Frame | None, body: bytes, syntax: str) -> None:
    if frame is None:
        raise Broken("a scan comes before the frame header (SOF)")
    count = body[0] if body else 0
    if not 1 <= count <= frame.components or len(body) != 4 + 2 * count:
        raise Broken("a scan's header (SOS) is not in order")
    if syntax == JPEG_LS_LOSSLESS and body[1 + 2 * count]:
        raise Broken("it is coded with loss (NEAR), which its transfer syntax excludes")
