"""Pixels that are read straight from a file are those that pydicom decodes."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from pipeline.decoding import in_process
from pipeline.errors import ExamRejected
from pipeline.volumes import pixels
from tests.support.dimse import mr_image
from tests.support.poison import JPEG_LS, codestream, compressed, part10_of


def of_images() -> list[Path]:
    """The images that come with pydicom."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        every = sorted((Path(pydicom.__file__).parent / "data" / "test_files").glob("*.dcm"))
        headers = {path: pydicom.dcmread(path, stop_before_pixels=True, force=True) for path in every}
    return [p for p, ds in headers.items() if "BitsAllocated" in ds and "TransferSyntaxUID" in ds.file_meta]


FILES = of_images()


def write(path: Path, data: bytes, syntax: str = ExplicitVRLittleEndian, **tags: object) -> Path:
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4", "1.2.3.4"
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = 3, 4
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelData = data
    ds["PixelData"].VR = "OW"
    for keyword, value in tags.items():
        setattr(ds, keyword, value)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.save_as(path, enforce_file_format=True)
    return path


def outcome(path: Path) -> npt.NDArray[np.generic] | str:
    try:
        (found,) = pixels.decode(path, [None], allow_lossy=True)
    except ExamRejected as error:
        return error.message
    return found


def by_pydicom(path: Path, monkeypatch: pytest.MonkeyPatch) -> npt.NDArray[np.generic] | str:
    with monkeypatch.context() as patch:
        patch.setattr(pixels, "_plain", lambda path, ds: None)
        return outcome(path)


def the_same(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick, theirs = outcome(path), by_pydicom(path, monkeypatch)
    if isinstance(theirs, str) or isinstance(quick, str):
        assert quick == theirs if isinstance(quick, str) else False
    else:
        assert quick.dtype.kind == theirs.dtype.kind
        assert np.array_equal(quick, theirs)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_images_of_many_makers_have_the_pixels_that_pydicom_decodes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    the_same(path, monkeypatch)


@settings(max_examples=120, deadline=None)
@given(
    data=st.binary(min_size=0, max_size=30),
    stored=st.integers(1, 16),
    below=st.integers(0, 4),
    signed=st.integers(0, 1),
    grey=st.sampled_from(["MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"]),
    frames=st.sampled_from([None, 1, 2]),
)
@pytest.mark.filterwarnings("ignore")
def test_whatever_the_bits_the_pixels_are_pydicoms(
    tmp_path_factory: pytest.TempPathFactory,
    data: bytes,
    stored: int,
    below: int,
    signed: int,
    grey: str,
    frames: int | None,
) -> None:
    tags = {
        "BitsStored": stored,
        "HighBit": min(15, stored - 1 + below),
        "PixelRepresentation": signed,
        "PhotometricInterpretation": grey,
    } | ({} if frames is None else {"NumberOfFrames": frames})
    whole = np.resize(np.frombuffer(data or b"\x01", np.uint8), 24).tobytes() if len(data) % 3 else data
    path = write(tmp_path_factory.mktemp("bits") / "image", whole + b"\0" * (len(whole) % 2), **tags)
    the_same(path, pytest.MonkeyPatch())


def test_only_what_is_uncompressed_and_usual_is_read_straight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []
    lay_out = in_process.lay_out
    monkeypatch.setattr(
        in_process, "lay_out", lambda data, *given, **how: (asked.append(data), lay_out(data, *given, **how))[1]
    )
    data = np.arange(12, dtype=np.uint16).tobytes()
    assert np.array_equal(outcome(write(tmp_path / "a", data)), np.arange(12).reshape(3, 4))
    assert not asked
    outcome(write(tmp_path / "b", data, ImplicitVRLittleEndian))
    assert len(asked) == 1


def test_a_file_that_ends_before_its_pixels_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "image", np.arange(12, dtype=np.uint16).tobytes())
    path.write_bytes(path.read_bytes()[:-2])
    assert "shorter than its header says" in str(outcome(path))


def test_what_its_decoders_refuse_is_told_in_one_line_without_their_words(tmp_path: Path) -> None:
    """Their words were three lines in the exam's reason: `'NoneType' object has no attribute 'encode'`, say."""
    image, stream = mr_image("1.2.3"), codestream(96)
    cut = part10_of(compressed(image, stream[: len(stream) // 2] + b"\xff\xd9"), JPEG_LS)
    (tmp_path / "cut.dcm").write_bytes(cut)
    with pytest.raises(ExamRejected) as refused:
        list(pixels.decode(tmp_path / "cut.dcm", [None]))
    assert refused.value.message == (
        f"image {image.SOPInstanceUID} cannot be decoded from JPEG-LS Lossless Image Compression: "
        "its decoders take the data for damaged (RuntimeError)"
    )
