"""A reader's segmentation against what was proposed: equal voxels accept it in any form, others are drawn."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import RLELossless

from config.schema import RoiSettings
from pipeline.catalog import put_mark
from pipeline.records import Roi
from pipeline.roi.read import read_all
from tests.support.slices import NEOPLASM, facts, grid, segment_item, volume, write_seg

SHAPE = (6, 8, 16)


def block() -> npt.NDArray[np.bool_]:
    mask = np.zeros(SHAPE, bool)
    mask[1:4, 2:6, 3:9] = True
    return mask


def proposal(folder: Path, label: str = "Tumor, left") -> Path:
    segment = segment_item(1, label, NEOPLASM)
    segment.SegmentAlgorithmType, segment.SegmentAlgorithmName = "SEMIAUTOMATIC", "axrad proposal"
    path = write_seg(folder / "proposal.dcm", {1: block()}, grid(SHAPE), [segment])
    ds = pydicom.dcmread(path)
    put_mark(ds, "proposal")
    ds.save_as(path)
    return path


def saved(folder: Path, mask: npt.NDArray[np.bool_], form: str, label: str = "Tumor, left") -> Path:
    """As a viewer saves it: the label and nothing else that says what it is."""
    path = folder / f"{form}.dcm"
    if form == "LABELMAP":
        return write_seg(path, {0: mask.astype(np.uint8)}, grid(SHAPE), [segment_item(1, label)], kind="LABELMAP")
    return write_seg(path, {1: mask}, grid(SHAPE), [segment_item(1, label)], all_frames=form == "all frames")


def read_with(folder: Path, file: Path) -> Roi:
    ours = replace(facts(proposal(folder)), ours=True)
    image = volume(np.zeros(SHAPE, np.int16), grid(SHAPE))
    (roi,) = read_all([facts(file)], image, RoiSettings(), proposals=[ours]).rois
    return roi


@pytest.mark.parametrize("form", ["BINARY", "LABELMAP", "all frames"])
def test_equal_voxels_in_any_form_accept_the_proposal(tmp_path: Path, form: str) -> None:
    file = saved(tmp_path, block(), form)
    roi = read_with(tmp_path, file)
    uid = roi.segments[0].source.sop_instance_uid
    assert (roi.origin, roi.confirmed_by) == ("measured", f"segmentation {uid}")
    assert roi.segments[0].algorithm == "axrad proposal"


@pytest.mark.parametrize("form", ["BINARY", "LABELMAP"])
def test_one_voxel_more_or_less_is_drawn(tmp_path: Path, form: str) -> None:
    for change in (True, False):
        mask = block()
        mask[1, 2, 3 if not change else 9] = change
        roi = read_with(tmp_path, saved(tmp_path, mask, form))
        assert (roi.origin, roi.confirmed_by) == ("drawn", None)


def test_the_same_voxels_on_the_other_side_accept_nothing(tmp_path: Path) -> None:
    roi = read_with(tmp_path, saved(tmp_path, block(), "BINARY", "Tumor, right"))
    assert (roi.origin, roi.confirmed_by) == ("drawn", None)


def test_a_proposal_whose_file_is_gone_changes_nothing(tmp_path: Path) -> None:
    image = volume(np.zeros(SHAPE, np.int16), grid(SHAPE))
    gone = replace(facts(proposal(tmp_path)), path=None)
    file = saved(tmp_path, block(), "BINARY")
    (roi,) = read_all([facts(file)], image, RoiSettings(), proposals=[gone]).rois
    assert roi.origin == "drawn"


def one_bit_rle(frame: npt.NDArray[np.bool_]) -> bytes:
    """A frame as OHIF run-length codes one bit per pixel: one segment of packed bits in literal runs."""
    bits = np.packbits(frame.ravel(), bitorder="little").tobytes()
    runs = b"".join(bytes([len(part) - 1]) + part for n in range(0, len(bits), 128) if (part := bits[n : n + 128]))
    return struct.pack("<16I", 1, 64, *([0] * 14)) + runs + b"\0" * (len(runs) % 2)


@pytest.mark.parametrize("edited", [False, True])
def test_a_copy_of_one_bit_in_rle_accepts_by_equal_voxels_and_is_drawn_by_others(tmp_path: Path, edited: bool) -> None:
    mask = block()
    mask[1, 2, 3] = not edited
    path = saved(tmp_path, mask, "BINARY")
    ds = pydicom.dcmread(path)
    frames = np.unpackbits(np.frombuffer(ds.PixelData, np.uint8), bitorder="little")
    frames = frames[: ds.NumberOfFrames * ds.Rows * ds.Columns].reshape(-1, ds.Rows, ds.Columns).astype(bool)
    ds.PixelData = encapsulate([one_bit_rle(frame) for frame in frames])
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    ds.file_meta.TransferSyntaxUID = RLELossless
    ds.save_as(path)
    assert pydicom.dcmread(path).BitsAllocated == 1
    roi = read_with(tmp_path, path)
    assert roi.origin == ("drawn" if edited else "measured")
    assert bool(roi.confirmed_by) is not edited
