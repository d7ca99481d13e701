"""How much a DICOM header holds, counted before anything is made of it.

pydicom makes a Python object of every element and calls itself for every level of nesting. A file of a few kilobytes
(deflated, say) can ask for gigabytes of the one and thousands of the other. Here the elements are only counted, in one
loop without recursion, up to limits that leave room for the largest objects in use: an enhanced MR image or a
segmentation of 20,000 frames has 600,000 elements in 10 MB, nested 5 deep.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from pydicom.datadict import dictionary_has_tag, dictionary_VM, dictionary_VR
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from pipeline.errors import NotDicom

# Bytes before the pixel data, elements and items together, levels of sequences.
MOST_HEADER_BYTES: Final = 64 << 20
MOST_ELEMENTS: Final = 1_000_000
MOST_DEPTH: Final = 32
# A text or number: as long as explicit VR can say (PS3.5 7.1.2); where the dictionary allows any number of values,
# as long as a list of 100,000 frames. Implicit VR, UN and UC can say four gigabytes.
MOST_VALUE_BYTES: Final = 65_534
MOST_LIST_BYTES: Final = 1 << 20
# A value shorter than this cannot be nested deeper than that: one more level takes 16 bytes at least.
ALWAYS_FINE: Final = 16 * MOST_DEPTH
UNDEFINED: Final = 0xFFFFFFFF
# Value representations whose length takes four bytes (PS3.5 7.1.2).
LONG_VRS: Final = frozenset(str(vr).encode() for vr in EXPLICIT_VR_LENGTH_32)

_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
# Contour Data, DVH Data.
_LONG_LISTS = frozenset((0x30060050, 0x30040058))
_ITEM_BYTES = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")


class TooMuch(NotDicom):
    """A header beyond the limits."""

    code = "header-too-large"


def too_long() -> TooMuch:
    return TooMuch(f"its header is longer than {MOST_HEADER_BYTES >> 20} MB")


def too_many() -> TooMuch:
    return TooMuch(f"its header has more than {MOST_ELEMENTS:,} elements")


def check_value(number: int, length: int) -> None:
    """Raise TooMuch for a text or number of the dictionary that is longer than any: every value becomes an object.

    Contours and dose volume histograms may be of any length; who reads them makes arrays of them.
    """
    if length <= MOST_VALUE_BYTES or number in _LONG_LISTS or not dictionary_has_tag(number):
        return
    # Of "US or OW" the longer one.
    if dictionary_VR(number).split(" or ")[-1] in EXPLICIT_VR_LENGTH_32:
        return
    if length > (MOST_LIST_BYTES if dictionary_VM(number).endswith("n") else MOST_VALUE_BYTES):
        raise TooMuch(f"a value of ({number >> 16:04X},{number & 0xFFFF:04X}) is longer than any may be")


class _Level(NamedTuple):
    """An open sequence or item: where it ends at the latest, how its elements are written, if its items are bytes."""

    end: int
    implicit: bool
    opaque: bool


def count(data: bytes, start: int, end: int, *, implicit: bool, big_endian: bool = False) -> int:
    """Elements and items in the value of a sequence, which lies between two bytes of `data` or ends before.

    What is no valid structure ends the count: whoever reads it ends there as well. Raises TooMuch.
    """
    order = ">" if big_endian else "<"
    tag_at, long_at = struct.Struct(order + "HH").unpack_from, struct.Struct(order + "L").unpack_from
    short_at = struct.Struct(order + "H").unpack_from
    levels, at, elements = [_Level(end, implicit, False)], start, 0
    while at + 8 <= end:
        while len(levels) > 1 and at >= levels[-1].end:
            levels.pop()
        level = levels[-1]
        group, element = tag_at(data, at)
        number, vr = group << 16 | element, data[at + 4 : at + 6]
        elements += 1
        if elements > MOST_ELEMENTS:
            raise too_many()
        if number in (_ITEM_END, _SEQUENCE_END):
            if len(levels) == 1:
                break
            levels.pop()
            at += 8
            continue
        if number == _ITEM or level.implicit:
            (length,) = long_at(data, at + 4)
            at += 8
            opens = number == _ITEM and not level.opaque
        elif vr in LONG_VRS:
            if at + 12 > end:
                break
            (length,) = long_at(data, at + 8)
            at += 12
            opens = vr == b"SQ"
        else:
            (length,) = short_at(data, at + 6)
            at += 8
            opens = False
        # In implicit VR, and in UN, a sequence shows itself by the item that it begins with.
        guess = number != _ITEM and (level.implicit or vr == b"UN")
        opens = opens or length == UNDEFINED or (guess and data[at : at + 4] in _ITEM_BYTES)
        if not opens or not length:
            if MOST_VALUE_BYTES < length <= end - at:
                check_value(number, length)
            at += length
            continue
        written = level.implicit or (number != _ITEM and vr == b"UN")
        opaque = number != _ITEM and not level.implicit and vr not in (b"SQ", b"UN")
        levels.append(_Level(level.end if length == UNDEFINED else min(at + length, level.end), written, opaque))
        # An item and the sequence that it is in count as one level.
        if len(levels) > 2 * MOST_DEPTH:
            raise TooMuch(f"its sequences are nested deeper than {MOST_DEPTH} levels")
    return elements
