"""The main header of JPEG 2000 and HTJ2K (ITU-T T.800 A, T.814): sizes of image and tiles, and whether all is there.

DICOM keeps the bare codestream (PS3.5 A.4.4). Some writers leave the boxes of a JP2 file around it; the codestream
is then looked up in them.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.codestream.records import Broken, Stream

SOC, SIZ, SOT, EOC = 0xFF4F, 0xFF51, 0xFF90, 0xFFD9
JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  "
CODESTREAM_BOX = b"jp2c"
MOST_BOXES = 1000
MOST_TILES = 65_535


def size_of(data: bytes) -> Stream:
    """The size of the image that `data` code. Raises Broken."""
    stream = _codestream(data)
    if stream[:2] != SOC.to_bytes(2, "big") or stream[2:4] != SIZ.to_bytes(2, "big"):
        raise Broken("it does not begin with its size (SIZ)")
    main_header: Stream | None = None
    for marker, body in _main_header(stream):
        if marker == SIZ:
            if main_header is not None:
                raise Broken("it names several sizes (SIZ)")
            main_header = _siz(body)
    assert main_header is not None
    return main_header


def _codestream(data: bytes) -> bytes:
    """The codestream in the boxes of a JP2 file, or the data themselves."""
    if data[: len(JP2_SIGNATURE)] != JP2_SIGNATURE:
        return data
    at = 0
    for _ in range(MOST_BOXES):
        length, kind, head = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if length == 1:
            length, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        if length == 0:
            length = len(data) - at
        if length < head or at + length > len(data):
            break
        if kind == CODESTREAM_BOX:
            return data[at + head : at + length]
        at += length
    raise Broken("the boxes around it are not in order")


def _main_header(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Every segment of the main header; then the tile-parts must all be there."""
    at = 2
    while True:
        marker = int.from_bytes(data[at : at + 2], "big")
        if marker == SOT:
            break
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if marker >> 8 != 0xFF or length < 2 or at + 2 + length > len(data):
            raise Broken("it ends within its header")
        yield marker, data[at + 4 : at + 2 + length]
        at += 2 + length
    _check_tile_parts(data, at)


def _check_tile_parts(data: bytes, at: int) -> None:
    """Step over them by their lengths. Some writers leave the end marker out; a missing piece is another matter."""
    while at < len(data):
        marker = int.from_bytes(data[at : at + 2], "big")
        if marker == EOC:
            return
        if marker != SOT:
            if data[at:].strip(b"\0\xff"):
                raise Broken("bytes between its tile-parts are none")
            return
        length = int.from_bytes(data[at + 6 : at + 10], "big")
        if length == 0:
            # The last one, up to the end of the image.
            if EOC.to_bytes(2, "big") not in data[-4:]:
                raise Broken("it ends before its end (EOC)")
            return
        if length < 14 or at + length > len(data):
            raise Broken("it ends within a tile-part")
        at += length


def _siz(body: bytes) -> Stream:
    def number(offset: int, size: int = 4) -> int:
        return int.from_bytes(body[offset : offset + size], "big")

    components = number(34, 2)
    if len(body) < 36 or not 1 <= components <= 16_384 or len(body) != 36 + 3 * components:
        raise Broken("its size (SIZ) is not in order")
    right, bottom, left, top, tile_w, tile_h, tile_left, tile_top = (number(2 + 4 * n) for n in range(8))
    if not (left < right and top < bottom and tile_w and tile_h and tile_left <= left and tile_top <= top):
        raise Broken("its size (SIZ) is not in order")
    tiles = -(-(right - tile_left) // tile_w) * -(-(bottom - tile_top) // tile_h)
    if tiles > MOST_TILES:
        raise Broken("it has more tiles than there may be")
    kinds = {body[36 + 3 * n : 37 + 3 * n] for n in range(components)}
    if len(kinds) > 1:
        raise Broken("its components have different bits")
    steps = {body[37 + 3 * n : 39 + 3 * n] for n in range(components)}
    if components == 1 and steps != {b"\x01\x01"}:
        raise Broken("its samples are not those of its pixels")
    kind = body[36]
    return Stream(bottom - top, right - left, components, (kind & 0x7F) + 1, bool(kind & 0x80))
