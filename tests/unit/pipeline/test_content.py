"""Two data sets under one UID: equal content is equal however it is encoded, and other content is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

from pipeline.decoding import content_digest
from tests.support.slices import base, pixel_module, save

MR = "1.2.840.10008.5.1.4.1.1.4"


def image(fill: int = 0, **headers: Any) -> Dataset:
    ds = base(MR, "1.2.3.4", "s")
    pixel_module(ds, (np.arange(35, dtype=np.int16) + fill).reshape(5, 7))
    for keyword, value in headers.items():
        setattr(ds, keyword, value)
    return ds


def digest(ds: Dataset, folder: Path, name: str) -> str | None:
    return content_digest(save(ds, folder / name))


def test_rewritten_headers_leave_the_content_as_it_was(tmp_path: Path) -> None:
    assert digest(image(), tmp_path, "a") == digest(image(StudyDescription="coerced"), tmp_path, "b") is not None


def test_one_other_pixel_is_another_content(tmp_path: Path) -> None:
    assert digest(image(), tmp_path, "a") != digest(image(fill=1), tmp_path, "b")


def test_lossless_compression_and_byte_order_change_nothing(tmp_path: Path) -> None:
    plain = digest(image(), tmp_path, "plain")
    compressed = image()
    save(compressed, tmp_path / "x")
    compressed.compress(RLELossless)
    compressed.save_as(tmp_path / "rle", enforce_file_format=True)
    assert content_digest(tmp_path / "rle") == plain
    for name, syntax in (("implicit", ImplicitVRLittleEndian), ("big", ExplicitVRBigEndian)):
        other = image()
        save(other, tmp_path / "y")
        other.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            other.PixelData = np.frombuffer(other.PixelData, "<i2").astype(">i2").tobytes()
        other.preamble = b"\0" * 128
        other.save_as(tmp_path / name, implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian)
        assert content_digest(tmp_path / name) == plain, name


def test_other_contours_are_another_content(tmp_path: Path) -> None:
    def structures(x: float) -> Dataset:
        ds = base("1.2.840.10008.5.1.4.1.1.481.3", "1.2.3.5", "r", "RTSTRUCT")
        contour, roi = Dataset(), Dataset()
        contour.ContourData = [x, 0.0, 0.0]
        roi.ContourSequence, roi.ReferencedROINumber = [contour], 1
        ds.ROIContourSequence = [roi]
        return ds

    digests = [digest(structures(x), tmp_path, str(n)) for n, x in enumerate((1.0, 1.0, 1.5))]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("data", [b"", b"no dicom"])
def test_what_is_no_dicom_has_no_content_digest(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    assert content_digest(tmp_path / "x") is None
    assert content_digest(tmp_path / "missing") is None
