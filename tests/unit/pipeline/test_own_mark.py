"""A segmentation that axrad wrote is told by its mark; one whose voxels were changed since is a reader's."""

from __future__ import annotations

import copy
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLSLossless, RLELossless

from config.schema import RoiSettings
from pipeline.catalog import exam_of, put_mark, read_facts
from pipeline.catalog.own_mark import algorithm_item
from pipeline.errors import RoiRejected
from pipeline.geometry import Geometry
from pipeline.records import Volume
from pipeline.roi import read
from tests.support.segmentations import written_seg


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return written_seg(tmp_path / "seg.dcm")


def marked(path: Path) -> Dataset:
    ds = pydicom.dcmread(path)
    put_mark(ds, "union")
    ds.save_as(path)
    return ds


def test_a_readers_segmentation_has_no_mark(path: Path) -> None:
    assert not read_facts(path).ours


def test_a_marked_segmentation_is_ours_and_in_no_exam(path: Path) -> None:
    marked(path)
    facts = read_facts(path)
    assert facts.ours
    assert exam_of(facts.ref.study_uid, [facts]).rois == ()


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_it_stays_ours_in_another_transfer_syntax(path: Path, syntax: str) -> None:
    ds = marked(path)
    ds.file_meta.TransferSyntaxUID = syntax
    ds.save_as(path, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
    assert read_facts(path).ours


def test_it_stays_ours_with_its_frames_in_another_order_and_an_empty_one(path: Path) -> None:
    ds = marked(path)
    frames = ds.pixel_array
    groups = list(ds.PerFrameFunctionalGroupsSequence)
    empty = np.zeros_like(frames[:1])
    ds.PerFrameFunctionalGroupsSequence = [*groups[::-1], groups[0]]
    ds.NumberOfFrames = len(groups) + 1
    bits = np.packbits(np.concatenate([frames[::-1], empty]).ravel(), bitorder="little").tobytes()
    ds.PixelData = bits + b"\0" * (len(bits) % 2)
    ds.save_as(path)
    assert read_facts(path).ours


def test_one_voxel_makes_it_a_readers(path: Path) -> None:
    ds = marked(path)
    bits = bytearray(ds.PixelData)
    place = next(i for i, byte in enumerate(bits) if byte)
    bits[place] ^= 1
    ds.PixelData = bytes(bits)
    ds.save_as(path)
    facts = read_facts(path)
    assert not facts.ours
    assert facts.tags["own_mark"] == "changed"


def without_private_elements(path: Path) -> None:
    ds = pydicom.dcmread(path)
    ds.remove_private_tags()
    ds.save_as(path)


def test_it_stays_ours_where_an_archive_removed_private_elements(path: Path) -> None:
    marked(path)
    without_private_elements(path)
    assert read_facts(path).ours


def test_the_mark_of_earlier_versions_beside_our_algorithm_is_known(path: Path) -> None:
    ds = marked(path)
    for segment in ds.SegmentSequence:
        (algorithm,) = segment.SegmentationAlgorithmIdentificationSequence
        algorithm.AlgorithmParameters = algorithm.AlgorithmParameters.removeprefix("axrad, ")
    ds.save_as(path)
    without_private_elements(path)
    assert read_facts(path).ours


def test_the_mark_stands_beside_an_algorithm_of_another_name(path: Path) -> None:
    ds = pydicom.dcmread(path)
    for segment in ds.SegmentSequence:
        named = algorithm_item("a site's network", "3", ("123110", "DCM", "Artificial Intelligence"))
        segment.SegmentationAlgorithmIdentificationSequence = [named]
    put_mark(ds, "proposal")
    ds.save_as(path)
    without_private_elements(path)
    assert read_facts(path).ours
    segments = pydicom.dcmread(path).SegmentSequence
    assert {len(s.SegmentationAlgorithmIdentificationSequence) for s in segments} == {1}


def test_without_private_elements_too_one_voxel_makes_it_a_readers(path: Path) -> None:
    ds = marked(path)
    bits = bytearray(ds.PixelData)
    bits[next(i for i, byte in enumerate(bits) if byte)] ^= 1
    ds.PixelData = bytes(bits)
    ds.save_as(path)
    without_private_elements(path)
    facts = read_facts(path)
    assert not facts.ours
    assert facts.tags["own_mark"] == "changed"


def test_a_segment_that_a_reader_adds_to_it_makes_it_a_readers(path: Path) -> None:
    ds = marked(path)
    groups = [copy.deepcopy(g) for g in ds.PerFrameFunctionalGroupsSequence]
    segment = copy.deepcopy(ds.SegmentSequence[0])
    segment.SegmentNumber = 99
    del segment.SegmentationAlgorithmIdentificationSequence
    ds.SegmentSequence.append(segment)
    for group in groups:
        group.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 99
    frames = ds.pixel_array
    ds.PerFrameFunctionalGroupsSequence = [*ds.PerFrameFunctionalGroupsSequence, *groups]
    ds.NumberOfFrames = len(ds.PerFrameFunctionalGroupsSequence)
    bits = np.packbits(np.concatenate([frames, frames]).ravel(), bitorder="little").tobytes()
    ds.PixelData = bits + b"\0" * (len(bits) % 2)
    ds.save_as(path)
    without_private_elements(path)
    assert not read_facts(path).ours


def test_without_its_mark_it_is_told_by_no_maker(path: Path) -> None:
    ds = pydicom.dcmread(path)
    ds.Manufacturer = "axrad"
    ds.save_as(path)
    assert not read_facts(path).ours


def test_no_region_is_read_from_it(path: Path) -> None:
    marked(path)
    grid = Geometry((2, 4, 4), (1, 1, 1), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1), "1.2.3")
    volume = Volume(np.zeros((2, 4, 4), np.float32), grid, "1.2.3.4")
    with pytest.raises(RoiRejected, match="that axrad wrote"):
        read([read_facts(path)], volume, RoiSettings())


def in_rle_of_bits(frame: np.ndarray) -> bytes:
    """As OHIF packs a frame of one bit per pixel: literal runs of one RLE segment."""
    packed = np.packbits(frame.ravel(), bitorder="little").tobytes()
    runs = b"".join(bytes([len(run) - 1]) + run for run in (packed[n : n + 128] for n in range(0, len(packed), 128)))
    data = (1).to_bytes(4, "little") + (64).to_bytes(4, "little") + bytes(56) + runs
    return data + b"\0" * (len(data) % 2)


def deflated(frame: np.ndarray) -> bytes:
    packed = np.packbits(frame.ravel(), bitorder="little").tobytes()
    coder = zlib.compressobj(wbits=-15)
    data = coder.compress(packed + b"\0" * (len(packed) % 2)) + coder.flush()
    return data + b"\0" * (len(data) % 2)


# A syntax that pydicom writes, the one that it stands for, and how a frame is coded.
CODINGS = {
    "one bit in RLE": (RLELossless, "", in_rle_of_bits),
    "deflated frames": (JPEGLSLossless, "1.2.840.10008.1.2.8.1\0", deflated),
}


def coded_again(path: Path, coding: str, frames: np.ndarray) -> None:
    syntax, instead, code = CODINGS[coding]
    ds = pydicom.dcmread(path)
    ds.file_meta.TransferSyntaxUID = syntax
    ds.PixelData = encapsulate([code(frame) for frame in frames])
    ds["PixelData"].is_undefined_length = True
    ds.save_as(path)
    if instead:
        path.write_bytes(path.read_bytes().replace(syntax.encode(), instead.encode()))


def as_labelmap(path: Path, frames: np.ndarray) -> None:
    ds = pydicom.dcmread(path)
    numbers = [g.SegmentIdentificationSequence[0].ReferencedSegmentNumber for g in ds.PerFrameFunctionalGroupsSequence]
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.66.7"
    ds.SegmentationType, ds.BitsAllocated, ds.BitsStored, ds.HighBit = "LABELMAP", 8, 8, 7
    ds.PixelData = np.stack([f * np.uint8(n) for f, n in zip(frames, numbers, strict=True)]).tobytes()
    ds["PixelData"].VR = "OB"
    ds.compress(RLELossless, generate_instance_uid=False)
    ds.save_as(path)


@pytest.mark.parametrize("coding", [*CODINGS, "labelmap in RLE"])
@pytest.mark.parametrize("changed", [False, True])
def test_one_voxel_tells_in_whatever_coding(path: Path, coding: str, changed: bool) -> None:
    frames = marked(path).pixel_array.copy()
    if changed:
        frames[tuple(np.argwhere(frames)[0])] = 0
    if coding in CODINGS:
        coded_again(path, coding, frames)
    else:
        as_labelmap(path, frames)
    facts = read_facts(path)
    assert (facts.ours, facts.tags["own_mark"]) == ((False, "changed") if changed else (True, "ours"))


def test_where_the_voxels_cannot_be_decoded_the_mark_is_believed(path: Path) -> None:
    frames = marked(path).pixel_array
    coded_again(path, "one bit in RLE", frames)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2 * 2 - 200])
    assert read_facts(path).ours
