"""Who a data set says it is: SOP Class and SOP Instance UID from its first bytes, without decoding it.

These two stand near the start of every composite object (PS3.3 C.12.1), so the first few kilobytes tell whether the
bytes are DICOM at all and whether they are what the request announced. Whatever cannot be told this way is let through
and left to the indexer, which reads the whole header.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from pipeline.dicom_file.structure_limits import LONG_VRS

HEAD_BYTES = 16 * 1024
DEFLATED = frozenset(("1.2.840.10008.1.2.1.99",))
IMPLICIT = "1.2.840.10008.1.2"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
SOP_CLASS, SOP_INSTANCE = (0x0008, 0x0016), (0x0008, 0x0018)
LANGUAGE_CODES = (0x0008, 0x0006)
UNDEFINED = 0xFFFFFFFF
# Of elements up to the SOP Instance UID. Read as the lower half of a length they would be 16 KB and more.
_VRS_HERE = frozenset((b"CS", b"DA", b"DT", b"SQ", b"TM", b"UI", b"UL"))


class Unreadable(ValueError):
    """The bytes are no data set in the transfer syntax they were announced in."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What was found; None: not there. `complete`: looked far enough to know that it is not."""

    sop_class_uid: str | None
    sop_instance_uid: str | None
    complete: bool


def identity(head: bytes, transfer_syntax_uid: str, *, size: int) -> Identity:
    """Look for the two UIDs in the first bytes of an encoded data set.

    Args:
        head: at most HEAD_BYTES of it.
        size: of all of it, in bytes.

    Raises:
        Unreadable: what stands there cannot be data elements.
    """
    whole = size <= len(head)
    if transfer_syntax_uid in DEFLATED:
        head = inflated(head)
        whole, size = False, UNDEFINED
    uids: dict[tuple[int, int], str] = {}
    order = ">" if transfer_syntax_uid == BIG_ENDIAN else "<"
    position, last = 0, (-1, -1)
    while position < len(head):
        if not whole and position + 12 > len(head):
            return Identity(uids.get(SOP_CLASS), uids.get(SOP_INSTANCE), False)
        tag, start, length = _element(head, position, order, transfer_syntax_uid == IMPLICIT)
        if tag > SOP_INSTANCE:
            return Identity(uids.get(SOP_CLASS), uids.get(SOP_INSTANCE), True)
        if tag <= last:
            raise Unreadable("data elements are not in order")
        if length == UNDEFINED:
            return Identity(uids.get(SOP_CLASS), uids.get(SOP_INSTANCE), False)
        if start + length > size:
            raise Unreadable("a data element is longer than the data set")
        if start + length > len(head):
            return Identity(uids.get(SOP_CLASS), uids.get(SOP_INSTANCE), False)
        if tag in (SOP_CLASS, SOP_INSTANCE):
            uids[tag] = head[start : start + length].decode("ascii", "replace").strip("\0 ")
        position, last = start + length, tag
    return Identity(uids.get(SOP_CLASS), uids.get(SOP_INSTANCE), whole)


def inflated(head: bytes, limit: int = HEAD_BYTES) -> bytes:
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(head, limit)
    except zlib.error as error:
        raise Unreadable("the data set is not deflated") from error


def _element(head: bytes, position: int, order: str, implicit: bool) -> tuple[tuple[int, int], int, int]:
    """Tag, start of the value and its length."""
    try:
        tag = struct.unpack_from(order + "HH", head, position)
        vr = head[position + 4 : position + 6]
        if implicit:
            if vr in _VRS_HERE and tag != LANGUAGE_CODES:
                raise Unreadable("a value representation where the length must be")
            return tag, position + 8, struct.unpack_from(order + "I", head, position + 4)[0]
        if not (vr.isalpha() and vr.isupper()):
            raise Unreadable("no value representation where one must be")
        if vr in LONG_VRS:
            return tag, position + 12, struct.unpack_from(order + "I", head, position + 8)[0]
        return tag, position + 8, struct.unpack_from(order + "H", head, position + 6)[0]
    except struct.error as error:
        raise Unreadable("a data element is cut off") from error
