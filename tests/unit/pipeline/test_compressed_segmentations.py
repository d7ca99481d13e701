"""A reader's copy of a proposal in the compressed forms that archives make of it: read by its voxels, or told apart."""

from __future__ import annotations

from pathlib import Path

import gdcm
import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames

from config.schema import RoiSettings
from pipeline.catalog import put_mark, read_facts
from pipeline.errors import PixelsRejected
from pipeline.records import Roi
from pipeline.roi.read import read_all
from tests.support.slices import SEG, facts, grid, volume
from tests.unit.pipeline.test_readers_word import SHAPE, block, read_with, saved

LOSSLESS = {
    "RLE": gdcm.TransferSyntax.RLELossless,
    "JPEG lossless": gdcm.TransferSyntax.JPEGLosslessProcess14_1,
    "JPEG-LS": gdcm.TransferSyntax.JPEGLSLossless,
    "JPEG 2000": gdcm.TransferSyntax.JPEG2000Lossless,
}
LOSSY = {"JPEG-LS": gdcm.TransferSyntax.JPEGLSNearLossless, "JPEG 2000": gdcm.TransferSyntax.JPEG2000}
FORMS = ["BINARY", "LABELMAP"]


def coded(path: Path, syntax: int) -> Path:
    """The file coded by GDCM, which takes segmentations of eight bits a pixel, and several frames of one class only."""
    ds = pydicom.dcmread(path)
    sop_class = ds.SOPClassUID
    if ds.BitsAllocated == 1:
        ds.PixelData = bits_of(ds).tobytes()
        ds["PixelData"].VR = "OB"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = SEG
    ds.save_as(path)
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(path))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    ds = pydicom.dcmread(path)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = sop_class
    ds.save_as(path)
    assert ds.file_meta.TransferSyntaxUID.is_compressed
    return path


def bits_of(ds: Dataset) -> npt.NDArray[np.uint8]:
    shape = (int(ds.NumberOfFrames), int(ds.Rows), int(ds.Columns))
    packed = np.frombuffer(ds.PixelData, np.uint8)
    return np.unpackbits(packed, count=int(np.prod(shape)), bitorder="little").reshape(shape)


def edited_block() -> npt.NDArray[np.bool_]:
    mask = block()
    mask[1, 2, 3] = False
    return mask


def answered(roi: Roi) -> tuple[str, bool]:
    return roi.origin, roi.confirmed_by is not None


@pytest.mark.parametrize("syntax", LOSSLESS.values(), ids=LOSSLESS)
@pytest.mark.parametrize("form", FORMS)
def test_a_copy_by_another_maker_accepts_by_equal_voxels_and_is_drawn_by_others(
    tmp_path: Path, form: str, syntax: int
) -> None:
    assert answered(read_with(tmp_path, coded(saved(tmp_path, block(), form), syntax))) == ("measured", True)
    assert answered(read_with(tmp_path, coded(saved(tmp_path, edited_block(), form), syntax))) == ("drawn", False)


@pytest.mark.parametrize("syntax", LOSSLESS.values(), ids=LOSSLESS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("private", [True, False])
def test_a_copy_with_our_mark_is_ours_until_a_voxel_changes(
    tmp_path: Path, form: str, syntax: int, private: bool
) -> None:
    for mask, state in ((block(), (True, "ours")), (edited_block(), (False, "changed"))):
        path = saved(tmp_path, block(), form)
        marked, pixels = pydicom.dcmread(path), pydicom.dcmread(saved(tmp_path, mask, form)).PixelData
        put_mark(marked, "proposal")
        if not private:
            marked.remove_private_tags()
        marked.PixelData = pixels
        marked.save_as(path)
        read = read_facts(coded(path, syntax))
        assert (read.ours, read.tags["own_mark"]) == state


def test_one_bit_per_pixel_in_jpeg_2000_is_read(tmp_path: Path) -> None:
    path = saved(tmp_path, block(), "BINARY")
    plain = pydicom.dcmread(path)
    # Coded as eight bits around the level that one bit is shifted by, then called one bit: the same codestream.
    shifted = pydicom.dcmread(path)
    shifted.PixelData = (bits_of(plain) + np.uint8(127)).tobytes()
    shifted["PixelData"].VR = "OB"
    shifted.BitsAllocated, shifted.BitsStored, shifted.HighBit = 8, 8, 7
    shifted.save_as(path)
    ds = pydicom.dcmread(coded(path, LOSSLESS["JPEG 2000"]))
    frames = [bytearray(f) for f in generate_frames(ds.PixelData, number_of_frames=plain.NumberOfFrames)]
    for frame in frames:
        depth = frame.index(b"\xff\x51") + 40
        assert frame[depth] == 7
        frame[depth] = 0
    ds.PixelData = encapsulate([bytes(f) for f in frames])
    ds["PixelData"].is_undefined_length = True
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 1, 1, 0
    ds.save_as(path)
    assert answered(read_with(tmp_path, path)) == ("measured", True)


@pytest.mark.parametrize("syntax", LOSSY.values(), ids=LOSSY)
@pytest.mark.parametrize("form", FORMS)
def test_what_lost_voxels_in_compression_is_refused_with_what_to_do(tmp_path: Path, form: str, syntax: int) -> None:
    file = coded(saved(tmp_path, block(), form), syntax)
    with pytest.raises(PixelsRejected, match="with loss, so its voxels need not be those") as refused:
        read_with(tmp_path, file)
    assert refused.value.code == "lossy"
    assert "allow_lossy" not in refused.value.message


def test_a_header_of_one_bit_over_frames_of_eight_is_refused_by_name(tmp_path: Path) -> None:
    path = coded(saved(tmp_path, block(), "BINARY"), LOSSLESS["JPEG-LS"])
    ds = pydicom.dcmread(path)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 1, 1, 0
    ds.save_as(path)
    with pytest.raises(PixelsRejected, match="its codestream has 8 bits a sample, its header says 1 of 1"):
        read_with(tmp_path, path)


def test_one_that_cannot_be_decoded_is_listed_where_another_draws_the_same(tmp_path: Path) -> None:
    damaged = coded(saved(tmp_path / "damaged", block(), "LABELMAP"), LOSSLESS["JPEG 2000"])
    ds = pydicom.dcmread(damaged)
    ds.PixelData = encapsulate([b"\xff\x4f\xff\x51" + bytes(60)] * int(ds.NumberOfFrames))
    ds["PixelData"].is_undefined_length = True
    ds.save_as(damaged)
    sound = coded(saved(tmp_path, block(), "BINARY"), LOSSLESS["JPEG-LS"])
    image = volume(np.zeros(SHAPE, np.int16), grid(SHAPE))
    reading = read_all([facts(damaged), facts(sound)], image, RoiSettings())
    assert [int(roi.mask.voxels_zyx.sum()) for roi in reading.rois] == [int(block().sum())]
    (left_out,) = reading.left_out
    assert left_out.why.startswith("cannot be read: ")
