"""What an instance shows, apart from everything its headers say: a digest of pixels, contours or transformations."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian

from pipeline.catalog.read import MALFORMED

PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
# Elements that are the content of structure sets and registrations, wherever they are nested.
NUMBERS = frozenset({"ContourData", "ReferencedROINumber", "FrameOfReferenceTransformationMatrix"})


def content_digest(path: Path) -> str | None:
    """Equal for two files that show the same, also where one is compressed without loss; None if it cannot be read.

    Meant for the rare case of two data sets under one SOP Instance UID: it reads the whole file and decodes it where it
    is compressed.
    """
    try:
        dataset = pydicom.dcmread(path)
        digest = hashlib.sha256()
        for keyword in PIXELS:
            if keyword in dataset:
                digest.update(_pixels(dataset, keyword))
        _numbers(dataset, digest)
        return digest.hexdigest()[:32]
    except (*MALFORMED, RuntimeError):
        return None


def _pixels(dataset: Dataset, keyword: str) -> bytes:
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_compressed and not syntax.is_deflated:
        return bytes(np.ascontiguousarray(dataset.pixel_array).tobytes())
    raw: bytes = dataset[keyword].value
    bits = int(dataset.get("BitsAllocated") or 8)
    if syntax == ExplicitVRBigEndian and bits > 8:
        raw = np.frombuffer(raw, f"u{bits // 8}").byteswap().tobytes()
    pixels = int(dataset.Rows) * int(dataset.Columns) * int(dataset.get("NumberOfFrames") or 1)
    # Without the byte that makes the length even.
    return raw[: (pixels * int(dataset.get("SamplesPerPixel") or 1) * bits + 7) // 8]


def _numbers(dataset: Dataset, digest: Any) -> None:
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                _numbers(item, digest)
        elif element.keyword in NUMBERS:
            digest.update(f"{element.keyword}={element.value}\n".encode())
