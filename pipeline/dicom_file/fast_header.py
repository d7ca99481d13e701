"""The header of a DICOM file, read in a third of pydicom's time.

Nearly every image is a Part 10 file in explicit VR, little endian, as are all that are compressed (PS3.5 A.2, A.4).
Their elements are found here by one loop over the bytes; values stay as they are until somebody asks, and then pydicom
converts them. A file in which anything is out of the ordinary is left to pydicom as a whole.
"""

from __future__ import annotations

import struct
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, TypeVar, cast  # Any: what pydicom takes as key, encoding and value

import pydicom.config
from pydicom.charset import convert_encodings, default_encoding
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement, convert_raw_data_element, empty_value_for_VR
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import ENCODED_VR, read_sequence
from pydicom.tag import BaseTag
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from pipeline.dicom_file import structure_limits

# A value that breaks a rule of its VR is the sender's matter; whoever needs it finds out. pydicom's warnings quote it,
# and it may be a patient's.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
# Enough for most headers, and for nearly all of the rest.
READ_AT_ONCE = (1 << 15, 1 << 20)
UNDEFINED = 0xFFFFFFFF
ITEM_DELIMITER = 0xFFFEE00D
ITEM = b"\xfe\xff\x00\xe0"
CHARACTER_SET = 0x00080005
SYNTAX = 0x00020010
PIXEL_DATA = 0x7FE00010
PIXELS = frozenset((PIXEL_DATA, 0x7FE00009, 0x7FE00008))
EXPLICIT_LITTLE: Final = "1.2.840.10008.1.2.1"
# Compressed: JPEG and its kin, and RLE.
COMPRESSED = ("1.2.840.10008.1.2.4.", "1.2.840.10008.1.2.5")

Elements = dict[BaseTag, RawDataElement | DataElement]

_SHORT = struct.Struct("<HH2sH")
_LONG = struct.Struct("<L")
# VR as written: its name, whether its length has four bytes, and how pydicom keeps an empty value.
_VRS: dict[bytes, tuple[str, bool, Any]] = {
    code: (vr := code.decode("ascii"), vr in EXPLICIT_VR_LENGTH_32, empty_value_for_VR(vr, raw=True))
    for code in ENCODED_VR
}


# What reading bytes that are not what they claim to be raises, here and in pydicom.
BROKEN = (
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    EOFError,
    OSError,
    NotImplementedError,
    RecursionError,
    struct.error,
)


class Unusual(Exception):
    """Left to pydicom: longer than what was read, in another encoding, or not as the standard has it."""


class Place(NamedTuple):
    """Where a value lies in the file, in bytes."""

    offset: int
    length: int


class Header(Dataset):
    """A pydicom data set that knows quickly what it does not have.

    `groups`: of its elements. `syntax`: its Transfer Syntax UID. `pixels`: where uncompressed Pixel Data lie.
    `element_at`: the byte of the file where the element of the pixels begins; `element`: its head, without the value.
    """

    groups: frozenset[int]
    syntax: str
    pixels: Place | None
    element_at: int
    element: bytes

    def get(self, key: Any, default: object = None) -> Any:
        if type(key) is str:
            tag = tag_of(key)
            if tag is not None and tag not in self._dict:
                return default
        return super().get(key, default)


@cache
def tag_of(keyword: str) -> BaseTag | None:
    """The tag of a keyword: always the same object, which a dictionary finds without comparing."""
    number = tag_for_keyword(keyword)
    return None if number is None else _tag(number)


@cache
def _tag(number: int) -> BaseTag:
    return BaseTag(number)


def read_fast(path: Path) -> Header | None:
    """The header of a file; None where pydicom should read it. Raises OSError, TooMuch."""
    data = b""
    with path.open("rb", buffering=0) as file:
        for size in READ_AT_ONCE:
            data += file.read(size - len(data))
            try:
                return parse(data)
            except Unusual:
                if len(data) < size:
                    break
    return None


def meta_of(data: bytes) -> tuple[Dataset, str, int]:
    """The file meta information at the start of a file's bytes, its Transfer Syntax UID, and where the data set begins.

    Raises Unusual.
    """
    if data[128:132] != b"DICM":
        raise Unusual
    meta, start = _elements(data, 132, meta=True)
    named = meta.get(_tag(SYNTAX))
    if named is None or not isinstance(named.value, bytes):
        raise Unusual
    syntax = named.value.rstrip(b"\0 ").decode("ascii", "replace")
    return _made(Dataset, meta, default_encoding), syntax, start


def parse(data: bytes) -> Header:
    """The header at the start of a file's bytes, up to its pixels.

    Raises Unusual, also if `data` end before them; TooMuch.
    """
    meta, syntax, start = meta_of(data)
    if syntax != EXPLICIT_LITTLE and not syntax.startswith(COMPRESSED):
        raise Unusual
    elements, end = _elements(data, start, meta=False)
    charset = elements.get(_tag(CHARACTER_SET))
    header = _made(Header, elements, _encodings(charset.value) if charset is not None else default_encoding)
    header.__dict__.update(
        groups=frozenset(number >> 16 for number in elements),
        syntax=syntax,
        element_at=end,
        element=data[end : end + 12],
        pixels=_pixels(data, end) if syntax == EXPLICIT_LITTLE else None,
        file_meta=meta,
    )
    return header


def _elements(data: bytes, at: int, *, meta: bool) -> tuple[Elements, int]:
    """The elements from byte `at` on, and where the first lies that is not one of them: other groups, or pixels."""
    elements: Elements = {}
    encoding: Any = default_encoding
    short, vrs = _SHORT.unpack_from, _VRS
    try:
        while True:
            group, element, code, length = short(data, at)
            number = group << 16 | element
            if number in PIXELS or (meta and group != 2):
                if at + 12 > len(data):
                    raise Unusual
                return elements, at
            vr, long, empty = vrs[code]
            start = at + 8
            if long:
                (length,) = _LONG.unpack_from(data, start)
                start += 4
            tag = _tag(number)
            at = start + length
            has_items = vr == "SQ" or (vr == "UN" and data[start : start + 4] == ITEM)
            if has_items:
                if length > structure_limits.ALWAYS_FINE:
                    structure_limits.count(data, start, min(at, len(data)), implicit=vr == "UN")
            elif long and length != UNDEFINED and length > structure_limits.MOST_VALUE_BYTES:
                structure_limits.check_value(number, length)
            if length == UNDEFINED and vr == "SQ":
                items, at = _items(data, start, encoding)
                elements[tag] = DataElement(tag, vr, items, start, is_undefined_length=True)
            else:
                value = data[start:at] if length else empty
                elements[tag] = RawDataElement(tag, vr, length, value, start, False, True)
            if not group or number == ITEM_DELIMITER or at >= len(data):
                raise Unusual
            if number == CHARACTER_SET:
                encoding = _encodings(value)
    except BROKEN as error:
        raise Unusual from error


def _items(data: bytes, start: int, encoding: Any) -> tuple[Any, int]:
    """A sequence of undefined length, and where it ends: pydicom's work."""
    file = DicomBytesIO(data)
    file.seek(start)
    return read_sequence(cast(BinaryIO, file), False, True, UNDEFINED, encoding), file.tell()


@cache
def _encodings(value: bytes) -> Any:
    """Python's names for Specific Character Set."""
    number = _tag(CHARACTER_SET)
    element = convert_raw_data_element(RawDataElement(number, "CS", len(value), value, 0, False, True))
    return convert_encodings(element.value)


def _pixels(data: bytes, at: int) -> Place | None:
    """Where the value of Pixel Data lies, whose element begins at byte `at`."""
    group, element, code, _ = _SHORT.unpack_from(data, at)
    (length,) = _LONG.unpack_from(data, at + 8)
    known = group << 16 | element == PIXEL_DATA and code in (b"OW", b"OB") and length != UNDEFINED
    return Place(at + 12, length) if known else None


Made = TypeVar("Made", bound=Dataset)


def _made(kind: type[Made], elements: Elements, encoding: Any) -> Made:
    """A data set as pydicom makes it of explicit VR in little endian; its own way sets every attribute through a check
    that takes longer than finding the elements."""
    made = kind.__new__(kind)
    blank = {name: value.copy() if isinstance(value, dict) else value for name, value in _BLANK.items()}
    made.__dict__.update(blank, _dict=elements)
    made.set_original_encoding(False, True, encoding)
    return made


_BLANK = dict(Dataset().__dict__)
