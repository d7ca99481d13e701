"""Stored values of frames, decoded one frame at a time.

Every lossless transfer syntax that pydicom, GDCM and CharLS know is decoded; lossy compression changes texture, so
it is refused unless allowed. What cannot be decoded is refused with the name of its transfer syntax.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.uid import UID

from pipeline.codestream import Broken
from pipeline.decoding import Died, NotDecoded, pixels_in
from pipeline.dicom_file import bounded_reading
from pipeline.dicom_file.fast_header import Header
from pipeline.dicom_file.value_repair import describes_pixels, mend_pixels
from pipeline.errors import PixelsRejected
from pipeline.volumes.checked_header import readable
from pipeline.volumes.float_pixels import holds_floats, without_padding

# Transfer syntaxes of PS3.5 section 10 whose coding loses information, or may: JPEG baseline and extended,
# JPEG-LS near-lossless, JPEG 2000 (single and multi-component), HTJ2K, JPEG XL (two of its kinds), MPEG, HEVC.
LOSSY = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 81, 91, 93, 203, 111, 112, *range(100, 109)))
MAY_BE_LOSSLESS = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (91, 93, 203, 112))


def check_lossless(ds: Dataset, allow_lossy: bool) -> None:
    """Raise PixelsRejected if the image has lost information in compression, now or earlier in its life."""
    syntax = UID(ds.file_meta.get("TransferSyntaxUID", ""))
    marked_lossy = ds.get("LossyImageCompression")
    lossy = marked_lossy == "01" or (syntax in LOSSY and not (syntax in MAY_BE_LOSSLESS and marked_lossy == "00"))
    if lossy and not allow_lossy:
        uid = ds.get("SOPInstanceUID")
        raise PixelsRejected(
            f"image {uid} was compressed with loss ({syntax.name}), which changes texture; "
            "set sequences.allow_lossy to use it all the same",
            code="lossy",
            uid=uid,
        )


def decode(path: Path, numbers: Sequence[int | None], allow_lossy: bool = False) -> Iterator[npt.NDArray[np.generic]]:
    """Stored values (rows, columns) of the frames in the order asked for; None or 1 is a single frame.

    Unused high bits are cleared, sign bits extended. Compressed frames are decoded by a child process. Raises NotDicom,
    PixelsRejected.
    """
    with readable(path):
        ds, place = bounded_reading.located(path)
        floats = holds_floats(ds)
        if not floats and not describes_pixels(ds):
            mend_pixels(ds)
    check_lossless(ds, allow_lossy)
    if list(numbers) == [None] and isinstance(ds, Header) and (plain := _plain(path, ds)) is not None:
        yield plain
        return
    uid = ds.get("SOPInstanceUID")
    name = UID(ds.file_meta.get("TransferSyntaxUID", "")).name
    try:
        if floats:
            for array in pixels_in(path, ds, place, numbers):
                yield without_padding(array, ds)
            return
        allocated, stored = int(ds.BitsAllocated), int(ds.BitsStored)
        high = int(ds.get("HighBit", stored - 1))
        for array in pixels_in(path, ds, place, numbers):
            yield _used_bits(array, allocated, stored, high)
    except Broken as error:
        raise PixelsRejected(
            f"image {uid} is not decoded: {error}", code="pixels-contradict-header", uid=uid
        ) from error
    except Died as error:
        raise PixelsRejected(
            f"image {uid} ends the decoder of {name} ({error.reason})", code="decoder-died", uid=uid
        ) from error
    except (AttributeError, KeyError) as error:
        raise PixelsRejected(f"image {uid} has no complete pixel data: {error}", uid=uid) from error
    except (NotDecoded, NotImplementedError) as error:
        raise PixelsRejected(f"image {uid} cannot be decoded from {name}: {error}", uid=uid) from error
    except (RuntimeError, *bounded_reading.MALFORMED) as error:
        # The words of others may quote values of the header.
        why = type(error).__name__
        raise PixelsRejected(f"image {uid} cannot be decoded from {name} ({why})", uid=uid) from error


def _plain(path: Path, ds: Header) -> npt.NDArray[np.generic] | None:
    """The pixels of an uncompressed grey image of 16 bits straight from its file; None where pydicom should say."""
    sizes = [ds.get(keyword) for keyword in ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit")]
    if ds.pixels is None or not all(isinstance(size, int) for size in sizes):
        return None
    rows, columns, allocated, stored, high = sizes
    kind = {0: "<u2", 1: "<i2"}.get(ds.get("PixelRepresentation"))
    grey = ds.get("SamplesPerPixel") == 1 and ds.get("PhotometricInterpretation") in ("MONOCHROME1", "MONOCHROME2")
    usual = allocated == 16 and 0 < stored <= 16 and high == stored - 1 and not ds.get("NumberOfFrames")
    offset, length = ds.pixels
    if (
        kind is None
        or not (grey and usual and rows * columns * 2 == length > 0)
        or path.stat().st_size < offset + length
    ):
        return None
    values = np.fromfile(path, kind, rows * columns, offset=offset)
    return _used_bits(values.reshape(rows, columns), allocated, stored, high)


# Any: shifts work on whatever integer the file holds.
def _used_bits(array: npt.NDArray[Any], allocated: int, stored: int, high: int) -> npt.NDArray[Any]:
    """Only the bits that hold the value: what lies above the high bit (old overlays) or below the lowest is not it."""
    if allocated == stored or allocated == 1 or array.dtype.kind == "f" or array.dtype.itemsize * 8 != allocated:
        return array
    return (array << (allocated - 1 - high)) >> (allocated - stored)
