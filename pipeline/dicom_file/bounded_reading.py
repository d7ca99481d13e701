"""A file's header, read in bounded memory and time whatever its bytes ask for, and where its pixels lie.

Every file from outside comes in through here. Most are read by `fast_header`; pydicom reads the rest through a file
object that counts the bytes taken, and a deflated data set is inflated only as far as it is read.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, cast

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_dataset

from pipeline.dicom_file import fast_header, structure_limits
from pipeline.dicom_file.inflate import Inflated
from pipeline.dicom_file.reading_marker import marked
from pipeline.errors import NotDicom

# What pydicom and the code that looks at a header raise on bytes that are not what they claim to be.
MALFORMED = (
    InvalidDicomError,
    BytesLengthException,
    OSError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    AssertionError,
    NotImplementedError,
    RecursionError,
    MemoryError,
    struct.error,
    zlib.error,
)
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
# pydicom takes an element in one to three pieces: tag and VR, length, value; two on average.
MOST_READS = 2 * structure_limits.MOST_ELEMENTS
_VALUES_WITH_ITEMS = (None, "SQ", "UN")


class Pixels(NamedTuple):
    """The element that holds the pixels: its tag, where its value lies, and how many bytes it has by its own word.

    `length` is `header.UNDEFINED` where they are encapsulated. `deflated`: the place is one in the inflated data set.
    """

    tag: int
    offset: int
    length: int
    deflated: bool

    @property
    def keyword(self) -> str:
        return {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData"}.get(self.tag, "PixelData")


def reason_of(error: BaseException) -> str:
    """What went wrong, never a value from the file."""
    if isinstance(error, RecursionError):
        return "its sequences are nested too deeply"
    if isinstance(error, InvalidDicomError):
        return "it has no DICOM file header"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"its structure is damaged ({type(error).__name__})"


def read(path: Path, *, force: bool | None = False) -> Dataset:
    """The data set of a file up to its pixels. `force`: also without the file header of PS3.10; None: where the data
    set seems to begin with the file.

    Raises TooMuch beyond the limits of `pipeline.dicom_file.structure_limits`, and what pydicom raises on broken files.
    """
    return located(path, force=force)[0]


def located(path: Path, *, force: bool | None = False) -> tuple[Dataset, Pixels | None]:
    """The same, and where its pixels lie."""
    try:
        with marked(path):
            return _located(path, force)
    except structure_limits.TooMuch as error:
        raise structure_limits.TooMuch(f"{path.name} is not read: {error.message}") from None


def whole(data: bytes) -> Dataset:
    """All of a Part 10 file in memory. Raises NotDicom if it is deflated: nobody knows how long it would be."""
    return pydicom.dcmread(cast(BinaryIO, _Counted(_Held(data), "", len(data) + structure_limits.MOST_HEADER_BYTES)))


def _located(path: Path, force: bool | None) -> tuple[Dataset, Pixels | None]:
    fast = fast_header.read_fast(path)
    if fast is not None:
        return fast, _pixels(fast.element, fast.element_at, implicit=False, deflated=False)
    with path.open("rb") as file:
        begin = file.read(fast_header.READ_AT_ONCE[0])
        file.seek(0)
        if (deflated := _deflated(begin)) is not None:
            return _inflated(file, *deflated)
        if force is None:
            # Group 0008 in little endian; anything else is no DICOM.
            force = begin[128:132] != b"DICM" and begin[:2] == b"\x08\x00"
        return _by_pydicom(file, force)


def _deflated(begin: bytes) -> tuple[Dataset, int] | None:
    """The file meta information and the start of a deflated data set."""
    try:
        meta, syntax, start = fast_header.meta_of(begin)
    except fast_header.Unusual:
        return None
    return (meta, start) if syntax == DEFLATED else None


def _by_pydicom(file: BinaryIO, force: bool) -> tuple[Dataset, Pixels | None]:
    counted = _Counted(_Plain(file), file.name, structure_limits.MOST_HEADER_BYTES)
    dataset = pydicom.dcmread(
        cast(BinaryIO, counted), stop_before_pixels=True, force=force, defer_size=structure_limits.MOST_HEADER_BYTES
    )
    implicit, little = dataset.original_encoding
    _check(dataset, implicit=bool(implicit), big_endian=not little)
    at = counted.tell()
    file.seek(at)
    return dataset, _pixels(file.read(12), at, implicit=bool(implicit), deflated=False, big_endian=not little)


def _inflated(file: BinaryIO, meta: Dataset, start: int) -> tuple[Dataset, Pixels | None]:
    buffer = _Buffer(Inflated(file, start))
    counted = _Counted(buffer, file.name, structure_limits.MOST_HEADER_BYTES)
    dataset = read_dataset(
        cast(BinaryIO, counted), False, True, stop_when=_at_pixels, defer_size=structure_limits.MOST_HEADER_BYTES
    )
    implicit = bool(dataset.original_encoding[0])
    _check(dataset, implicit=implicit, big_endian=False)
    dataset.__dict__["file_meta"] = meta
    at = counted.tell()
    return dataset, _pixels(buffer.at(at, 12), at, implicit=implicit, deflated=True)


def _at_pixels(tag: int, _vr: str | None, _length: int) -> bool:
    return tag in fast_header.PIXELS


def _pixels(head: bytes, at: int, *, implicit: bool, deflated: bool, big_endian: bool = False) -> Pixels | None:
    """The element at a byte, of which these are the first twelve, if it is one of pixels."""
    order: Literal["big", "little"] = "big" if big_endian else "little"
    number = int.from_bytes(head[:2], order) << 16 | int.from_bytes(head[2:4], order)
    if len(head) < 8 or number not in fast_header.PIXELS:
        return None
    if implicit:
        return Pixels(number, at + 8, int.from_bytes(head[4:8], order), deflated)
    return Pixels(number, at + 12, int.from_bytes(head[8:12], order), deflated) if len(head) == 12 else None


def _check(header: Dataset, *, implicit: bool, big_endian: bool) -> None:
    """Hold what is not converted yet against the limits, and let go of values that were too long to read."""
    elements, waiting = 0, [header]
    while waiting:
        dataset = waiting.pop()
        for tag in list(dataset.keys()):
            element = dataset.get_item(tag)
            value, vr = element.value, element.VR
            if value is None and getattr(element, "length", 0) > structure_limits.MOST_HEADER_BYTES:
                if vr in _VALUES_WITH_ITEMS:
                    raise structure_limits.too_long()
                # Documents, waveforms and the like, which nothing here reads.
                del dataset[tag]
            elif isinstance(value, bytes):
                elements += _elements_in(int(tag), vr, value, implicit=implicit, big_endian=big_endian)
            elif vr == "SQ":
                # Of undefined length, so pydicom has read it; each read was counted.
                waiting += value
            if elements > structure_limits.MOST_ELEMENTS:
                raise structure_limits.too_many()


def _elements_in(tag: int, vr: str | None, value: bytes, *, implicit: bool, big_endian: bool) -> int:
    """How many elements and items a value holds. Raises TooMuch, also for a text or number that is too long."""
    # In implicit VR a value is one of items where it begins with an item.
    has_items = vr == "SQ" or (vr in _VALUES_WITH_ITEMS and value[:4] in (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00"))
    if has_items and len(value) > structure_limits.ALWAYS_FINE:
        inner = implicit or vr == "UN"
        return structure_limits.count(value, 0, len(value), implicit=inner, big_endian=big_endian)
    structure_limits.check_value(tag, len(value))
    return 0


class _Held:
    """Bytes in memory by their place."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)

    def at(self, offset: int, size: int) -> bytes:
        return bytes(self._data[offset : offset + size])


class _Plain:
    """Bytes of a file by their place."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = os.fstat(file.fileno()).st_size

    def at(self, offset: int, size: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(min(size, max(0, self.size - offset)))


class _Buffer:
    """The begin of an inflated data set, kept as far as it was asked for."""

    def __init__(self, inflated: Inflated) -> None:
        self._inflated, self._found = inflated, bytearray()

    def at(self, offset: int, size: int) -> bytes:
        missing = offset + size - len(self._found)
        if offset + size > structure_limits.MOST_HEADER_BYTES + structure_limits.ALWAYS_FINE:
            raise structure_limits.too_long()
        if missing > 0:
            self._found += self._inflated.read(max(missing, 1 << 16))
        return bytes(memoryview(self._found)[offset : offset + size])


class _Counted:
    """A file for pydicom, which may take so many bytes, in so many pieces, and no more."""

    def __init__(self, source: _Plain | _Buffer | _Held, name: str, most: int) -> None:
        self._source, self.name = source, name
        self._at, self._bytes, self._reads = 0, most, MOST_READS

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            # pydicom asks for all of a data set that it takes for deflated; those that are come another way.
            raise NotDicom("it is deflated, and its file meta information is not in order")
        piece = self._source.at(self._at, min(size, self._bytes + 1))
        self._at += len(piece)
        self._bytes -= len(piece)
        self._reads -= 1
        if self._bytes < 0:
            raise structure_limits.too_long()
        if self._reads < 0:
            raise structure_limits.too_many()
        return piece

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (self._at if whence == 1 else 0)
        return self._at
