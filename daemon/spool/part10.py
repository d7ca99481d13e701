"""The DICOM file format (PS3.10 7.1) around a data set whose bytes are never touched.

The header is written by hand: it is the same few elements for every instance, and receiving must not pay for building
data sets. Reading back finds where the data set begins; nothing after that point is looked at.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO

from pipeline.dicom_file.structure_limits import LONG_VRS
from pipeline.errors import NotDicom

IMPLEMENTATION_CLASS_UID = "2.25.302043790172249692526321623266752743502"
IMPLEMENTATION_VERSION_NAME = "AXRAD_1"
# A file meta group longer than this is not one: it holds a handful of UIDs and titles.
MAX_META_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class FileMeta:
    """What the file meta information says, and where the data set starts (bytes from the start of the file)."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    source_ae_title: str
    data_set_offset: int


def header(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, source_ae_title: str) -> bytes:
    """Preamble, prefix and file meta information, ready to be followed by the encoded data set."""
    body = _uid(b"\x02\x00\x02\x00UI", sop_class_uid) + _uid(b"\x02\x00\x03\x00UI", sop_instance_uid)
    body = b"\x02\x00\x01\x00OB\x00\x00\x02\x00\x00\x00\x00\x01" + body + _tail(transfer_syntax_uid, source_ae_title)
    return b"\x00" * 128 + b"DICM\x02\x00\x00\x00UL\x04\x00" + struct.pack("<I", len(body)) + body


@lru_cache(maxsize=256)
def _tail(transfer_syntax_uid: str, source_ae_title: str) -> bytes:
    return (
        _uid(b"\x02\x00\x10\x00UI", transfer_syntax_uid)
        + _uid(b"\x02\x00\x12\x00UI", IMPLEMENTATION_CLASS_UID)
        + _text(b"\x02\x00\x13\x00SH", IMPLEMENTATION_VERSION_NAME)
        + _text(b"\x02\x00\x16\x00AE", source_ae_title)
    )


def _uid(tag_and_vr: bytes, value: str) -> bytes:
    raw = value.encode("ascii")
    raw += b"\0" * (len(raw) % 2)
    return tag_and_vr + struct.pack("<H", len(raw)) + raw


def _text(tag_and_vr: bytes, value: str) -> bytes:
    raw = value.encode("ascii", "replace")
    raw += b" " * (len(raw) % 2)
    return tag_and_vr + struct.pack("<H", len(raw)) + raw


def read_meta(file: BinaryIO) -> FileMeta:
    """Read preamble and file meta information; leaves `file` at the first byte of the data set.

    Raises:
        NotDicom: no preamble and prefix, or a file meta group that is cut off or lacks a UID that is needed.
    """
    start = file.read(132)
    if len(start) < 132 or start[128:] != b"DICM":
        raise NotDicom("The file has no DICOM preamble and prefix.")
    values: dict[int, bytes] = {}
    position = 132
    while True:
        head = file.read(8)
        if len(head) < 8 or head[:2] != b"\x02\x00":
            break
        element = struct.unpack_from("<H", head, 2)[0]
        length = struct.unpack_from("<H", head, 6)[0]
        position += 8
        if head[4:6] in LONG_VRS:
            length = struct.unpack("<I", file.read(4).ljust(4, b"\xff"))[0]
            position += 4
        position += length
        if position > MAX_META_BYTES:
            raise NotDicom("The file meta information is longer than it can be.")
        value = file.read(length)
        if len(value) < length:
            raise NotDicom("The file ends inside its file meta information.")
        values[element] = value
    file.seek(position)
    missing = [name for element, name in _NEEDED.items() if not values.get(element)]
    if missing:
        raise NotDicom(f"The file meta information lacks {', '.join(missing)}.")
    texts = {element: _clean(value) for element, value in values.items()}
    return FileMeta(texts[2], texts[3], texts[0x10], texts.get(0x16, ""), position)


_NEEDED = {2: "Media Storage SOP Class UID", 3: "Media Storage SOP Instance UID", 0x10: "Transfer Syntax UID"}


def _clean(value: bytes) -> str:
    return value.decode("ascii", "replace").rstrip("\0 ").lstrip(" ")
