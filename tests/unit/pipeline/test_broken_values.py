"""One value that nobody needs rejects nothing; one that is needed is named by file, attribute and kind."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from config.schema import RoiSettings, Sequences
from pipeline.analysis.quality_checks import header_checks
from pipeline.catalog import FrameRef, Selection, read_facts
from pipeline.errors import ExamRejected, GeometryRejected, NotDicom
from pipeline.roi.export import export
from pipeline.volumes import load, load_series, read_frames, stacks_of
from tests.support.slices import NEOPLASM, grid, segment_item, write_seg, write_slices

SHAPE = (4, 5, 6)
GRID = grid(SHAPE)
OPTIONAL = (
    "InstanceNumber",
    "SeriesNumber",
    "AcquisitionNumber",
    "SliceThickness",
    "SliceLocation",
    "EchoTime",
    "RepetitionTime",
    "InversionTime",
    "TriggerTime",
    "TemporalPositionIdentifier",
    "NumberOfFrames",
    "SamplesPerPixel",
    "HighBit",
    "PhotometricInterpretation",
    "ImageType",
    "LossyImageCompression",
    "DiffusionBValue",
    "DiffusionGradientOrientation",
    "SequenceName",
    "ContrastBolusAgent",
    "ImageComments",
    "PatientID",
    "WindowCenter",
)
BROKEN = {
    "text": (None, b"N/A "),
    "nothing": (None, b""),
    "several": (None, b"1\\2\\3 "),
    "not a number": (None, b"nan "),
    "an odd byte": (None, b"\x01"),
    "a word of another kind": ("LO", b"unknown "),
    "a binary number": ("FD", struct.pack("<d", 1.5)),
    "half a binary number": ("FD", b"\x01\x02\x03\x04"),
}


def break_value(path: Path, keyword: str, value: bytes, vr: str | None = None) -> None:
    ds = dcmread(path)
    tag = Tag(keyword)
    kind = vr or dictionary_VR(tag).split(" ")[0]
    value += b" " * (len(value) % 2 if kind in ("DS", "IS", "LO", "CS") else 0)
    ds._dict[tag] = RawDataElement(tag, kind, len(value), value, 0, False, True)
    ds.save_as(path)


def written(folder: Path) -> tuple[list[Path], np.ndarray]:
    values = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE) - 30
    return write_slices(folder, values, GRID), values


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("keyword", OPTIONAL)
def test_a_broken_value_that_nobody_needs_changes_no_voxel(tmp_path: Path, keyword: str, kind: str) -> None:
    paths, values = written(tmp_path)
    vr, value = BROKEN[kind]
    break_value(paths[1], keyword, value, vr)
    facts = [read_facts(p) for p in paths]
    chosen = Selection("s", "test", frames=tuple(map(FrameRef, facts)))
    assert np.array_equal(load(chosen, Sequences()).voxels_zyx, values)


@pytest.mark.parametrize(
    ("keyword", "value", "kind"),
    [
        ("Rows", b"Doe^Jane", "4 values instead of 1"),
        ("Columns", b"", "it has no Columns"),
        ("PixelSpacing", b"Doe^Jane", "text"),
        ("PixelSpacing", b"1", "1 values instead of 2"),
        ("ImagePositionPatient", b"0\\0\\Doe^Jane", "text"),
        ("ImageOrientationPatient", b"1\\0\\0\\0\\inf\\0", "not finite"),
        ("RescaleSlope", b"Doe^Jane", "text"),
        ("RescaleSlope", b"1\\2", "2 values instead of 1"),
        ("RescaleIntercept", b"nan", "not finite"),
        ("BitsStored", b"Doe^Jane", "4 values instead of 1"),
        ("PixelRepresentation", b"Doe^Jane", "4 values instead of 1"),
    ],
)
def test_a_needed_value_is_named_by_file_attribute_and_kind(
    tmp_path: Path, keyword: str, value: bytes, kind: str
) -> None:
    paths, _ = written(tmp_path)
    break_value(paths[1], keyword, value)
    read_facts(paths[1])
    with pytest.raises(ExamRejected) as caught:
        load_series(paths)
    said = caught.value.message
    assert paths[1].name in said
    assert keyword in said
    assert kind in said
    assert "Doe" not in said


def test_an_identity_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    paths, _ = written(tmp_path)
    break_value(paths[1], "SOPInstanceUID", b"\x01", "FD")
    with pytest.raises(NotDicom, match=r"no SOPInstanceUID.*SOPInstanceUID \(a value of VR FD where text belongs\)"):
        read_facts(paths[1])


def test_what_was_left_out_is_told(tmp_path: Path) -> None:
    paths, _ = written(tmp_path)
    break_value(paths[1], "InstanceNumber", b"N/A")
    break_value(paths[2], "InstanceNumber", b"N/A")
    facts = [read_facts(p) for p in paths]
    assert [f.tags.get("unreadable") for f in facts] == [None, ["InstanceNumber"], ["InstanceNumber"], None]
    (check,) = header_checks({"t2": Selection("s", "test", frames=tuple(map(FrameRef, facts)))})
    assert (check.check, check.value, check.ok) == ("headers.t2.unreadable", "InstanceNumber in 2 images", True)


def test_phases_are_not_told_apart_by_a_number_that_is_missing(tmp_path: Path) -> None:
    """A number that cannot be read would count as the first: the voxels of another phase, in silence."""
    paths = []
    for phase in (0, 1):
        numbers = [phase * 4 + z + 1 for z in range(4)]
        values = np.full(SHAPE, phase, np.int16)
        paths += write_slices(tmp_path, values, GRID, numbers=numbers, ImageComments=str(phase))
    assert len(load_series(paths)) == 2
    break_value(paths[6], "InstanceNumber", b"N/A")
    with pytest.raises(GeometryRejected, match="same position"):
        load_series(paths)


def test_a_decimal_comma_is_read_and_told(tmp_path: Path) -> None:
    geometry = grid(SHAPE, (0.75, 0.5, 2.5), (-3.25, 1.5, 4.0))
    paths = write_slices(tmp_path / "img", np.zeros(SHAPE, np.int16), geometry)
    for path in paths:
        position = "\\".join(str(v) for v in dcmread(path).ImagePositionPatient)
        break_value(path, "PixelSpacing", b"0,5\\0,75")
        break_value(path, "ImagePositionPatient", position.replace(".", ",").encode())
        break_value(path, "RescaleSlope", b"2,5")
        break_value(path, "RescaleIntercept", b"1")
    (volume,) = load_series(paths)
    assert volume.geometry.same_grid(geometry)
    assert volume.voxels_zyx[0, 0, 0] == 1
    assert {f.slope for p in paths for f in read_frames(p)} == {2.5}
    facts = [read_facts(p) for p in paths]
    assert all(f.tags["PixelSpacing"] == [0.5, 0.75] for f in facts)
    (check,) = header_checks({"t1c": Selection("s", "test", frames=tuple(map(FrameRef, facts)))})
    assert check.check == "headers.t1c.decimal_comma"
    assert "PixelSpacing in 4 images" in str(check.value)
    mask = np.zeros(SHAPE, bool)
    mask[1:3, 2:4, 2:4] = True
    seg = write_seg(tmp_path / "seg.dcm", {1: mask}, geometry, [segment_item(1, "Tumor", NEOPLASM)])
    summary = export(seg, tmp_path / "img", tmp_path / "out", RoiSettings())
    assert summary["segments"][0]["voxels"] == 8
    assert "PixelSpacing is written with a decimal comma in 4 images" in summary["reasons"]


def test_a_decimal_comma_in_a_segmentation_is_read_and_told(tmp_path: Path) -> None:
    geometry = grid(SHAPE, (0.75, 0.5, 2.5))
    write_slices(tmp_path / "img", np.zeros(SHAPE, np.int16), geometry)
    mask = np.zeros(SHAPE, bool)
    mask[1:3, 2:4, 2:4] = True
    seg = write_seg(tmp_path / "seg.dcm", {1: mask}, geometry, [segment_item(1, "Tumor", NEOPLASM)])
    ds = dcmread(seg)
    measures = ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    tag = Tag("PixelSpacing")
    measures._dict[tag] = RawDataElement(tag, "DS", 8, b"0,5\\0,75", 0, False, True)
    ds.save_as(seg)
    summary = export(seg, tmp_path / "img", tmp_path / "out", RoiSettings())
    assert summary["segments"][0]["voxels"] == 8
    assert summary["segments"][0]["notes"] == ["PixelSpacing is written with a decimal comma"]


@pytest.mark.parametrize("depth", [300, 3000])
def test_a_deeply_nested_file_among_the_images_is_left_out_with_its_reason(tmp_path: Path, depth: int) -> None:
    paths, values = written(tmp_path / "img")
    ds = dcmread(paths[0], stop_before_pixels=True)
    deep = tmp_path / "img/deep.dcm"
    ds.save_as(deep)
    item = struct.pack("<HH2sHLHHL", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF, 0xFFFE, 0xE000, 0xFFFFFFFF)
    end = struct.pack("<HHLHHL", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    data = deep.read_bytes()
    first_of_0028 = data.index(b"\x28\x00\x02\x00US")
    deep.write_bytes(data[:first_of_0028] + item * depth + end * depth)
    (stack,), rejected = stacks_of([*paths, deep])
    assert np.array_equal(stack.load().voxels_zyx, values)
    assert len(rejected) == 1
    assert deep.name in rejected[0].message
    mask = np.ones(SHAPE, bool)
    mask[:, :3] = False
    seg = write_seg(tmp_path / "seg.dcm", {1: mask}, GRID, [segment_item(1, "Tumor", NEOPLASM)])
    assert export(seg, tmp_path / "img", tmp_path / "out", RoiSettings())["segments"][0]["voxels"] == mask.sum()
