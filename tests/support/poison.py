"""Files that ended the process that read them: codestreams that contradict their header, and a deflate bomb."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jpeg_ls
import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLSLossless

from daemon.spool import part10
from tests.support.dimse import encoded, mr_image

JPEG_LS = str(JPEGLSLossless)
DEFLATED = "1.2.840.10008.1.2.1.99"
# Python after which whoever reads the header of a file that holds the word POISON aborts, as a decoder would.
DEADLY = """
import os, sys, time
from pathlib import Path
from pipeline.dicom_file import fast_header
quickly = fast_header.read_fast
def poisonous(path):
    if b"POISON" in path.read_bytes():
        os.abort()
    return quickly(path)
fast_header.read_fast = poisonous
"""
# Marker of a JPEG-LS frame header; bits, rows and columns follow its length.
SOF55 = b"\xff\xf7"


def codestream(side: int, claimed: int | None = None, seed: int = 0) -> bytes:
    """A JPEG-LS codestream of side × side pixels. `claimed`: the rows and columns that it says it has."""
    pixels = np.random.default_rng(seed).integers(0, 4096, (side, side), dtype=np.uint16)
    raw = bytearray(jpeg_ls.encode_array(pixels))
    if claimed is not None:
        at = raw.index(SOF55) + 5
        raw[at : at + 4] = struct.pack(">HH", claimed, claimed)
    return bytes(raw)


def compressed(image: Dataset, stream: bytes, side: int = 96) -> Dataset:
    """The image with this codestream for pixels, under a header of side × side."""
    image.Rows = image.Columns = side
    image.PixelData = encapsulate([stream])
    image["PixelData"].VR = "OB"
    image["PixelData"].is_undefined_length = True
    return image


def small_codestreams(study: str) -> Iterator[bytes]:
    """Two files under one SOP Instance UID whose codestreams have fewer pixels than Rows × Columns."""
    for seed in (1, 2):
        yield part10_of(compressed(of_study(study, f"{study}.1"), codestream(48, seed=seed)), JPEG_LS)


def wide_codestream(study: str) -> bytes:
    """A file of 6 KB that says 96 × 96, and whose codestream says 32,000 × 32,000."""
    return part10_of(compressed(of_study(study, f"{study}.2"), codestream(48, claimed=32000)), JPEG_LS)


def bomb(study: str, inflated: int = 1 << 30) -> bytes:
    """A file of about a thousandth of `inflated` bytes, which is what its pixels inflate to."""
    image = of_study(study, f"{study}.3")
    image.Rows = image.Columns = 512
    del image.PixelData
    squeeze = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = squeeze.compress(encoded(image) + struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, inflated))
    block = bytes(1 << 24)
    for _ in range(inflated // len(block)):
        body += squeeze.compress(block)
    body += squeeze.flush()
    return framed(image, DEFLATED, body + bytes(len(body) % 2))


def poison_slice(path: Path) -> None:
    """Make an image of an exam one whose codestream has fewer pixels than its header."""
    image = dcmread(path)
    path.write_bytes(part10_of(compressed(image, codestream(48), side=int(image.Rows)), JPEG_LS))


def of_study(study: str, uid: str) -> Dataset:
    image = mr_image(uid)
    image.StudyInstanceUID, image.SeriesInstanceUID = study, f"{study}.9"
    return image


def part10_of(image: Dataset, syntax: str) -> bytes:
    return framed(image, syntax, encoded(image, syntax))


def framed(image: Dataset, syntax: str, data_set: bytes) -> bytes:
    """The file of a data set, as its sender would write it."""
    return part10.header(str(image.SOPClassUID), str(image.SOPInstanceUID), syntax, "POISON") + data_set


@dataclass(frozen=True)
class Poison:
    """Files, each for an association of its own."""

    study: str
    files: tuple[bytes, ...]

    def written(self, folder: Path) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{number}.dcm" for number in range(len(self.files))]
        for path, raw in zip(paths, self.files, strict=True):
            path.write_bytes(raw)
        return paths


def poison(kind: str, study: str) -> Poison:
    """`codestream small`, `codestream wide` or `bomb`, as a study of its own."""
    made = {
        "codestream small": lambda: tuple(small_codestreams(study)),
        "codestream wide": lambda: (wide_codestream(study),),
        "bomb": lambda: (bomb(study),),
    }
    return Poison(study, made[kind]())
