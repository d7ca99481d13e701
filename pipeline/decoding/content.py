"""What an instance shows, apart from everything its headers say: a digest of pixels, contours or transformations."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRBigEndian

from pipeline.decoding import in_process
from pipeline.decoding.frames import DEFLATED_FRAMES, frame_count, pixels_in, raw_bytes
from pipeline.dicom_file import bounded_reading
from pipeline.dicom_file.bounded_reading import MALFORMED
from pipeline.errors import NotDicom

# Elements that are the content of structure sets and registrations, wherever they are nested.
NUMBERS = frozenset({"ContourData", "ReferencedROINumber", "FrameOfReferenceTransformationMatrix"})


def content_digest(path: Path) -> str | None:
    """Equal for two files that show the same, also where one is compressed without loss; None if it cannot be read.

    Meant for the rare case of two data sets under one SOP Instance UID: it reads the whole file, one frame in memory at
    a time, and decodes it where it is compressed. Whoever must not die of that asks `pipeline.decoding.content_of`.
    """
    try:
        dataset, place = bounded_reading.located(path)
        digest = hashlib.sha256()
        if place is not None:
            for piece in _pixels(path, dataset, place):
                digest.update(piece)
        _numbers(dataset, digest)
        return digest.hexdigest()[:32]
    except (*MALFORMED, NotDicom, RuntimeError):
        return None


def _pixels(path: Path, dataset: Dataset, place: bounded_reading.Pixels) -> Iterator[bytes]:
    """The frames as bytes, little endian, as they lie in an uncompressed file."""
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    if syntax == DEFLATED_FRAMES or syntax.is_encapsulated:
        count = frame_count(dataset)
        for pixels in pixels_in(path, dataset, place, range(1, count + 1), in_process.decode, raw=False):
            yield np.ascontiguousarray(pixels).tobytes()
        return
    bits = int(dataset.get("BitsAllocated") or 8)
    pixels_shown = int(dataset.Rows) * int(dataset.Columns) * frame_count(dataset)
    # Without the byte that makes the length even.
    left = (pixels_shown * int(dataset.get("SamplesPerPixel") or 1) * bits + 7) // 8
    swap = np.dtype(f"u{bits // 8}") if syntax == ExplicitVRBigEndian and bits > 8 else None
    for piece in raw_bytes(path, place, min(left, place.length)):
        yield piece if swap is None else np.frombuffer(piece, swap).byteswap().tobytes()


def _numbers(dataset: Dataset, digest: hashlib._Hash) -> None:
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                _numbers(item, digest)
        elif element.keyword in NUMBERS:
            digest.update(f"{element.keyword}={element.value}\n".encode())
