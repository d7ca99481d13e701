"""The frames of one file: found, held against the header, and made into pixels.

Uncompressed pixels, and deflated ones, are only bytes to be laid out: no codec runs, so they are read in this process.
Each compressed frame goes to `decoder`, which by default asks a child process.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import UID, ExplicitVRBigEndian, RLELossless

from pipeline.codestream import Broken, Shape, check, fragments, is_known
from pipeline.decoding import in_process, limits, packed_bits, worker
from pipeline.dicom_file import bounded_reading
from pipeline.dicom_file.bounded_reading import Pixels
from pipeline.dicom_file.fast_header import READ_AT_ONCE, UNDEFINED, meta_of
from pipeline.dicom_file.inflate import Inflated, inflated

# Deflated Image Frame Compression: every frame is deflated by itself.
PIECE = 1 << 20
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"


class Decoder(Protocol):
    """One compressed frame to its pixels."""

    def __call__(self, data: bytes, syntax: str, shape: Shape, *, raw: bool = True) -> npt.NDArray[np.generic]: ...


def pixels_of(
    path: Path, numbers: Sequence[int | None], decoder: Decoder = worker.decode, *, raw: bool = True
) -> Iterator[npt.NDArray[np.generic]]:
    """The pixels of the frames asked for, None or 1 being a single one, as `pixels_in`."""
    ds, place = bounded_reading.located(path)
    yield from pixels_in(path, ds, place, numbers, decoder, raw=raw)


def pixels_in(
    path: Path,
    ds: Dataset,
    place: Pixels | None,
    numbers: Sequence[int | None],
    decoder: Decoder = worker.decode,
    *,
    raw: bool = True,
) -> Iterator[npt.NDArray[np.generic]]:
    """Of a header that has been read: (rows, columns) or (rows, columns, samples) each, colours as coded if `raw`.

    Raises Broken where header and pixel data contradict each other, the errors of `helper`, and what pydicom raises.
    """
    if place is None:
        raise AttributeError("there is no element with pixels")
    syntax = UID(ds.file_meta.TransferSyntaxUID)
    shape, count = shape_of(ds), frame_count(ds)
    if any(not 1 <= (n or 1) <= count for n in numbers):
        raise IndexError(f"there are {count} frames")
    if shape.frame_bytes > limits.MOST_FRAME_BYTES or shape.frame_bytes * len(numbers) > limits.MOST_PIXEL_BYTES:
        raise Broken("its header asks for more pixels than are decoded")
    indices = [(n or 1) - 1 for n in numbers]
    if place.deflated:
        yield from _deflated(path, ds, place, shape, count, indices, raw)
    elif syntax == DEFLATED_FRAMES or syntax.is_encapsulated:
        yield from _compressed(path, ds, place, shape, count, indices, decoder, raw)
    else:
        yield from _plain(path, place, shape, count, indices, raw, big_endian=syntax == ExplicitVRBigEndian)


def shape_of(ds: Dataset) -> Shape:
    """What the header says of a frame. Raises AttributeError where it does not, ValueError for what cannot be."""
    stored = int(ds.get("BitsStored") or ds.BitsAllocated)
    shape = Shape(
        rows=int(ds.Rows),
        columns=int(ds.Columns),
        samples=int(ds.SamplesPerPixel),
        allocated=int(ds.BitsAllocated),
        stored=stored,
        high=int(ds.get("HighBit", stored - 1)),
        signed=bool(ds.get("PixelRepresentation", 0)),
        photometric=str(ds.PhotometricInterpretation),
        planar=int(ds.get("PlanarConfiguration") or 0),
    )
    sizes = (shape.rows, shape.columns, shape.samples, shape.allocated, shape.stored)
    if min(sizes) < 1 or not shape.stored <= shape.high + 1 <= shape.allocated <= 64:
        raise ValueError("its header gives its pixels no size")
    return shape


def frame_count(ds: Dataset) -> int:
    """By the header."""
    count = int(ds.get("NumberOfFrames") or 1)
    if count < 1:
        raise ValueError("its header says that it has no frames")
    return count


def raw_bytes(path: Path, place: Pixels, size: int) -> Iterator[bytes]:
    """The first bytes of uncompressed pixel data, in pieces of whole samples."""
    with path.open("rb") as file:
        stream = Inflated(file, _start(path)) if place.deflated else None
        for at in range(0, size, PIECE):
            wanted = min(PIECE, size - at)
            if stream is None:
                file.seek(place.offset + at)
                yield file.read(wanted)
            else:
                yield stream.at(place.offset + at, wanted)


def _plain(
    path: Path, place: Pixels, shape: Shape, count: int, indices: Sequence[int], raw: bool, *, big_endian: bool
) -> Iterator[npt.NDArray[np.generic]]:
    if place.length == UNDEFINED:
        raise Broken("its pixel data are encapsulated, which its transfer syntax excludes")
    total = _plain_bytes(shape, count)
    if place.length < total or path.stat().st_size < place.offset + total:
        raise Broken("its pixel data are shorter than its header says")
    if big_endian:
        # Bytes may be swapped in pairs, across frames; it is retired and rare.
        yield from iter_pixels(path, indices=list(indices), raw=raw)
        return
    size = total // count
    with path.open("rb") as file:
        for index in indices:
            if shape.allocated == 1:
                yield _unpacked(file.seek, file.read, place.offset, shape, index)
                continue
            file.seek(place.offset + index * size)
            yield in_process.lay_out(file.read(size), shape, place.keyword, raw=raw)


def _plain_bytes(shape: Shape, count: int) -> int:
    bits = shape.rows * shape.columns * shape.samples * shape.allocated * count
    # Two of its samples stand for three (PS3.3 C.7.6.3.1.2).
    return ((bits // 3 * 2 if shape.photometric == "YBR_FULL_422" else bits) + 7) // 8


def _unpacked(
    seek: Callable[[int], object], read: Callable[[int], bytes], start: int, shape: Shape, index: int
) -> npt.NDArray[np.uint8]:
    """A frame of one bit per pixel. They follow each other without padding (PS3.5 8.1.1), so begin within bytes.

    pydicom 3.0.2 unpacks these one by one only where every frame begins with a byte.
    """
    first = index * shape.rows * shape.columns
    seek(start + first // 8)
    size = shape.rows * shape.columns
    packed = np.frombuffer(read((first % 8 + size + 7) // 8), np.uint8)
    bits = np.unpackbits(packed, bitorder="little")[first % 8 :][:size]
    if len(bits) < size:
        raise Broken(f"frame {index + 1} ends before its last pixel")
    return bits.reshape(shape.rows, shape.columns)


def _deflated(
    path: Path, ds: Dataset, place: Pixels, shape: Shape, count: int, indices: Sequence[int], raw: bool
) -> Iterator[npt.NDArray[np.generic]]:
    """Of a data set that is deflated as a whole: no more than the frames asked for, and one in memory."""
    total = _plain_bytes(shape, count)
    if place.length not in (total, total + total % 2):
        raise Broken(f"its pixel data have {place.length} bytes, and its header asks for {total}")
    with path.open("rb") as file:
        stream = Inflated(file, _start(path))
        if shape.allocated == 1:
            cursor = _Cursor(stream)
            for index in indices:
                yield _unpacked(cursor.seek, cursor.read, place.offset, shape, index)
            return
        size = total // count
        for index in indices:
            data = stream.at(place.offset + index * size, size)
            yield in_process.lay_out(data, shape, place.keyword, raw=raw)


class _Cursor:
    def __init__(self, stream: Inflated) -> None:
        self._stream, self._at = stream, 0

    def seek(self, offset: int) -> None:
        self._at = offset

    def read(self, size: int) -> bytes:
        return self._stream.at(self._at, size)


def _start(path: Path) -> int:
    with path.open("rb") as file:
        return meta_of(file.read(READ_AT_ONCE[0]))[2]


def _compressed(
    path: Path,
    ds: Dataset,
    place: Pixels,
    shape: Shape,
    count: int,
    indices: Sequence[int],
    decoder: Decoder,
    raw: bool,
) -> Iterator[npt.NDArray[np.generic]]:
    syntax = str(ds.file_meta.TransferSyntaxUID)
    if not is_known(syntax) and syntax != DEFLATED_FRAMES:
        raise NotImplementedError("there is no decoder for it")
    if place.length != UNDEFINED:
        raise Broken("its pixel data are not encapsulated, as its transfer syntax asks for")
    extended = ds.get("ExtendedOffsetTable")
    with path.open("rb") as file:
        every = fragments.frames_of(file, place.offset, count, extended if isinstance(extended, bytes) else b"")
        for index in indices:
            data = fragments.read(file, every[index])
            if syntax == DEFLATED_FRAMES:
                yield _inflated_frame(data, shape, raw)
                continue
            check(data, syntax, shape)
            if syntax == RLELossless and shape.allocated == 1:
                yield packed_bits.unpacked(data, shape)
                continue
            pixels = decoder(data, syntax, shape, raw=raw)
            _check_pixels(pixels, shape)
            yield pixels


def _inflated_frame(data: bytes, shape: Shape, raw: bool) -> npt.NDArray[np.generic]:
    size = _plain_bytes(shape, 1)
    try:
        pixels = inflated(data, size + size % 2)
    except zlib.error as error:
        raise Broken("a frame is not deflated") from error
    if len(pixels) not in (size, size + size % 2):
        raise Broken(f"a frame does not inflate to the {size} bytes that its header asks for")
    if shape.allocated == 1:
        bits = np.unpackbits(np.frombuffer(pixels, np.uint8), bitorder="little")
        return bits[: shape.rows * shape.columns].reshape(shape.rows, shape.columns)
    return in_process.lay_out(pixels[:size], shape, "PixelData", raw=raw)


def _check_pixels(pixels: npt.NDArray[np.generic], shape: Shape) -> None:
    expected = (shape.rows, shape.columns) if shape.samples == 1 else (shape.rows, shape.columns, shape.samples)
    if pixels.shape != expected:
        raise Broken(f"it decodes to {pixels.shape} pixels, and its header says {expected}")
    if shape.samples > 1 or pixels.dtype.kind not in "iu" or shape.high + 1 >= 8 * pixels.dtype.itemsize:
        return
    # Negative numbers come with their sign extended, or as the bits that are stored.
    low, high = (-(1 << shape.high) if shape.signed else 0), (1 << shape.high + 1) - 1
    if pixels.min() < low or pixels.max() > high:
        raise Broken(f"its values need more than the {shape.stored} bits that its header says")
