"""Where the frames of encapsulated pixel data lie (PS3.5 A.4), by items and tables that are held against each other.

A basic or extended offset table must name as many frames as the header, each at the begin of a fragment. Without a
table, a frame is a fragment, or all fragments are one frame, or frames begin where a codestream does.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import BinaryIO, NamedTuple

from pipeline.codestream.records import Broken

ITEM, DELIMITER = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
UNDEFINED = 0xFFFFFFFF
STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  ")
MOST_FRAGMENTS = 4_000_000


class Fragment(NamedTuple):
    """One item: `item_at` counts from the end of the basic offset table, as the tables do."""

    item_at: int
    offset: int
    length: int


def frames_of(file: BinaryIO, start: int, frames: int, extended: bytes = b"") -> list[list[Fragment]]:
    """The fragments of every frame. `start`: of the value of Pixel Data. Raises Broken."""
    size = file.seek(0, 2)
    length, at = _item(file, start, size)
    if length is None or length % 4:
        raise Broken("its table of frames (BOT) is not in order")
    table = file.read(length)
    offsets = [int.from_bytes(table[n : n + 4], "little") for n in range(0, length, 4)]
    fragments = _fragments(file, at + length, size)
    if extended:
        if len(extended) % 8:
            raise Broken("its table of frames (EOT) is not in order")
        offsets = [int.from_bytes(extended[n : n + 8], "little") for n in range(0, len(extended), 8)]
    return _by_table(fragments, offsets, frames) if offsets else _by_sight(file, fragments, frames)


def read(file: BinaryIO, fragments: Sequence[Fragment]) -> bytes:
    """The bytes of one frame."""
    pieces = []
    for fragment in fragments:
        file.seek(fragment.offset)
        pieces.append(file.read(fragment.length))
    return b"".join(pieces)


def _item(file: BinaryIO, at: int, size: int) -> tuple[int | None, int]:
    """The length of the item at a byte and where its value begins; None at the end of all."""
    file.seek(at)
    head = file.read(8)
    if head[:4] == DELIMITER or not head:
        return None, at
    length = int.from_bytes(head[4:], "little")
    if len(head) < 8 or head[:4] != ITEM or length == UNDEFINED or at + 8 + length > size:
        raise Broken("its pixel data end within a fragment, or are not made of fragments")
    return length, at + 8


def _fragments(file: BinaryIO, start: int, size: int) -> list[Fragment]:
    fragments: list[Fragment] = []
    at = start
    while len(fragments) <= MOST_FRAGMENTS:
        length, value = _item(file, at, size)
        if length is None:
            return fragments
        fragments.append(Fragment(at - start, value, length))
        at = value + length
    raise Broken("its pixel data have too many fragments")


def _by_table(fragments: list[Fragment], offsets: list[int], frames: int) -> list[list[Fragment]]:
    if len(offsets) != frames:
        raise Broken(f"its table has {len(offsets)} frames, and its header says {frames}")
    places = {fragment.item_at: n for n, fragment in enumerate(fragments)}
    firsts = [places.get(offset, -1) for offset in offsets]
    if firsts[0] != 0 or any(b <= a for a, b in pairwise(firsts)):
        raise Broken("its table of frames does not agree with its fragments")
    return [fragments[a:b] for a, b in zip(firsts, [*firsts[1:], len(fragments)], strict=True)]


def _by_sight(file: BinaryIO, fragments: list[Fragment], frames: int) -> list[list[Fragment]]:
    if not fragments:
        raise Broken("its pixel data are empty")
    if frames == 1:
        return [fragments]
    if len(fragments) == frames:
        return [[fragment] for fragment in fragments]
    firsts = [n for n, fragment in enumerate(fragments) if _begins(file, fragment)]
    if len(firsts) != frames or firsts[0] != 0:
        raise Broken(f"its {len(fragments)} fragments are not {frames} frames")
    return [fragments[a:b] for a, b in zip(firsts, [*firsts[1:], len(fragments)], strict=True)]


def _begins(file: BinaryIO, fragment: Fragment) -> bool:
    file.seek(fragment.offset)
    return file.read(8).startswith(STARTS)
