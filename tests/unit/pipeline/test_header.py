"""Headers that are read quickly are those that pydicom reads."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLosslessSV1,
)

from pipeline.catalog import read_facts
from pipeline.dicom_file import fast_header
from pipeline.errors import NotDicom

# Those that come with pydicom; what it would download is left out.
PYDICOM_FILES = sorted((Path(pydicom.__file__).parent / "data" / "test_files").glob("*.dcm"))


def image(charset: str | None = None, *, undefined: bool = False) -> Dataset:
    ds = Dataset()
    if charset is not None:
        ds.SpecificCharacterSet = charset
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4", "1.2.3.4"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.3", "1.2.3.5"
    ds.Modality, ds.Manufacturer, ds.SeriesDescription = "MR", "SIEMENS", "t1 \u00e4" if charset else "t1"
    ds.PatientName, ds.PatientID, ds.AccessionNumber = "A^B", "7", ""
    item = Dataset()
    item.ReferencedSOPInstanceUID = "1.2.3.9"
    item.is_undefined_length_sequence_item = undefined
    ds.ReferencedImageSequence = Sequence([item])
    ds["ReferencedImageSequence"].is_undefined_length = undefined
    ds.EchoTime, ds.Rows, ds.Columns, ds.PixelSpacing = "4.5", 4, 4, ["0.7", "0.7"]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    block = ds.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, "IS", "800")
    ds.PixelData = np.arange(16, dtype=np.uint16).tobytes()
    ds["PixelData"].VR = "OW"
    return ds


def to_bytes(ds: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    ds.file_meta = meta
    file = DicomBytesIO()
    ds.save_as(file, enforce_file_format=True)
    return file.getvalue()


def the_same(path: Path) -> bool:
    """Whether the file is read quickly; fails if so and pydicom reads anything else."""
    found = fast_header.read_fast(path)
    if found is None:
        return False
    theirs = pydicom.dcmread(path, stop_before_pixels=True)
    assert list(found.keys()) == list(theirs.keys())
    for tag in theirs.keys():  # noqa: SIM118 - as read
        assert repr(found.get_item(tag)) == repr(theirs.get_item(tag)) or found[tag] == theirs[tag]
    assert found.file_meta == theirs.file_meta
    assert found.original_encoding == theirs.original_encoding
    assert found.original_character_set == theirs.original_character_set
    assert found.groups == {tag.group for tag in theirs.keys()}  # noqa: SIM118
    return True


def facts_of(path: Path) -> str:
    try:
        return repr(read_facts(path))
    except NotDicom as error:
        return error.message


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", PYDICOM_FILES, ids=lambda p: p.name)
def test_files_of_many_makers_have_the_header_that_pydicom_reads(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    the_same(path)
    quick = facts_of(path)
    monkeypatch.setattr(fast_header, "read_fast", lambda path: None)
    assert facts_of(path) == quick


@pytest.mark.parametrize("charset", [None, "ISO_IR 100", "ISO_IR 192", "\\ISO 2022 IR 87"])
@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEGLosslessSV1])
def test_an_image_in_explicit_little_endian_is_read_quickly(
    charset: str | None, undefined: bool, syntax: str, tmp_path: Path
) -> None:
    path = tmp_path / "image"
    ds = image(charset, undefined=undefined)
    if charset and "87" in charset:
        ds.SeriesDescription = "t1"
    if syntax == JPEGLosslessSV1:
        ds.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8 no picture"])
        ds["PixelData"].is_undefined_length = True
    path.write_bytes(to_bytes(ds, syntax))
    assert the_same(path)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_other_encodings_are_left_to_pydicom(syntax: str, tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(to_bytes(image(), syntax))
    assert fast_header.read_fast(path) is None
    assert read_facts(path).ref.sop_instance_uid == "1.2.3.4"


def test_a_long_header_is_read_on_and_one_longer_still_left_to_pydicom(tmp_path: Path) -> None:
    path = tmp_path / "image"
    for length, quick in ((100_000, True), (2_000_000, False)):
        ds = image()
        ds.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", bytes(length))
        path.write_bytes(to_bytes(ds))
        assert the_same(path) is quick


def test_the_place_of_the_pixels_is_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(to_bytes(image()))
    found = fast_header.read_fast(path)
    assert found is not None
    assert found.pixels is not None
    offset, length = found.pixels
    assert path.read_bytes()[offset : offset + length] == np.arange(16, dtype=np.uint16).tobytes()


WHOLE = to_bytes(image("ISO_IR 100", undefined=True))


@settings(max_examples=150, deadline=None)
@given(st.integers(128, len(WHOLE)))
def test_a_file_cut_short_anywhere_gives_what_pydicom_gives(tmp_path_factory: pytest.TempPathFactory, end: int) -> None:
    path = tmp_path_factory.mktemp("cut") / "image"
    path.write_bytes(WHOLE[:end])
    agree(path)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(128, len(WHOLE) - 33), st.integers(0, 255)), min_size=1, max_size=3))
@example([(WHOLE.index(b"\x08\x00\x40\x11SQ") + 3, 0)])  # a sequence under the number of a single text
def test_a_file_with_broken_bytes_gives_what_pydicom_gives(
    tmp_path_factory: pytest.TempPathFactory, breaks: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.mktemp("broken") / "image"
    data = bytearray(WHOLE)
    for at, byte in breaks:
        data[at] = byte
    path.write_bytes(data)
    agree(path)


def agree(path: Path) -> None:
    """The same facts, or the same refusal, either way."""
    quick = facts_of(path)
    was = fast_header.read_fast
    try:
        fast_header.read_fast = lambda path: None
        assert facts_of(path) == quick
    finally:
        fast_header.read_fast = was


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["SeriesDescription", "ProtocolName", "ImageComments", "StationName", "PatientComments"]),
        st.text(st.characters(min_codepoint=32, max_codepoint=0xFF, blacklist_characters="\\"), max_size=16),
    ),
    st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=3, max_size=3),
    st.integers(0, 3),
)
def test_whatever_the_values_the_header_is_pydicoms(
    tmp_path_factory: pytest.TempPathFactory, texts: dict[str, str], place: list[float], depth: int
) -> None:
    ds = image("ISO_IR 192", undefined=depth % 2 == 1)
    for keyword, text in texts.items():
        setattr(ds, keyword, text)
    ds.ImagePositionPatient = [f"{v:.6g}" for v in place]
    for _ in range(depth):
        outer = Dataset()
        outer.ReferencedImageSequence = ds.ReferencedImageSequence
        ds.ReferencedImageSequence = Sequence([outer])
        ds["ReferencedImageSequence"].is_undefined_length = True
    path = tmp_path_factory.mktemp("any") / "image"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path.write_bytes(to_bytes(ds))
        assert the_same(path)
    agree(path)
