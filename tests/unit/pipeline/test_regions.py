"""Whether a ROI object holds a region, from its header and the bytes of its pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from pipeline.catalog import RTSTRUCT_CLASS, SEGMENTATION_CLASSES, read_facts

EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"


def saved(path: Path, sop_class: str, **values: object) -> Path:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = EXPLICIT_LITTLE
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = sop_class
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.3", "1.2.3.1"
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    ds.save_as(path, enforce_file_format=True)
    return path


def segmentation(path: Path, voxels: np.ndarray | None, segments: int = 1, frames: int = 2) -> Path:
    items = [Dataset() for _ in range(segments)]
    for number, item in enumerate(items, start=1):
        item.SegmentNumber, item.SegmentLabel = number, f"tumour {number}"
    values: dict[str, object] = {"Rows": 8, "Columns": 8, "NumberOfFrames": frames, "BitsAllocated": 8}
    if voxels is not None:
        values["PixelData"] = voxels.astype(np.uint8).tobytes()
    return saved(path, SEGMENTATION_CLASSES[0], SegmentSequence=Sequence(items), **values)


def structures(path: Path, *points: int) -> Path:
    rois, contours = [], []
    for number, count in enumerate(points, start=1):
        roi, contour, item = Dataset(), Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = number, "GTV"
        item.ContourGeometricType, item.ContourData = "CLOSED_PLANAR", [float(n) for n in range(3 * count)]
        contour.ReferencedROINumber, contour.ContourSequence = number, Sequence([item])
        rois.append(roi)
        contours.append(contour)
    return saved(path, RTSTRUCT_CLASS, StructureSetROISequence=Sequence(rois), ROIContourSequence=Sequence(contours))


def test_a_segmentation_with_one_voxel_set_holds_a_region(tmp_path: Path) -> None:
    voxels = np.zeros((2, 8, 8))
    voxels[1, 7, 7] = 1
    assert "no_region" not in read_facts(segmentation(tmp_path / "seg.dcm", voxels)).tags


@pytest.mark.parametrize(
    ("voxels", "segments", "why"),
    [
        (np.zeros((2, 8, 8)), 1, "all its voxels are zero"),
        (np.ones((1, 8, 8)), 1, "its pixel data end before its last frame"),
        (np.ones((2, 8, 8)), 0, "it has no segment"),
    ],
)
def test_a_segmentation_without_a_region_says_why(tmp_path: Path, voxels: np.ndarray, segments: int, why: str) -> None:
    assert read_facts(segmentation(tmp_path / "seg.dcm", voxels, segments)).tags["no_region"] == why


@pytest.mark.parametrize("how", ["rle", "deflated", "implicit", "big endian"])
@pytest.mark.parametrize("set_voxels", [0, 1])
def test_a_segmentation_in_another_encoding_says_so_too(tmp_path: Path, how: str, set_voxels: int) -> None:
    voxels = np.zeros((2, 8, 8), np.uint8)
    voxels.flat[100 : 100 + set_voxels] = 1
    path = segmentation(tmp_path / "seg.dcm", voxels)
    ds = dcmread(path)
    ds.SamplesPerPixel, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 1, 8, 7, 0
    ds.PhotometricInterpretation = "MONOCHROME2"
    if how == "rle":
        ds.compress(RLELossless, generate_instance_uid=False)
    else:
        ds.file_meta.TransferSyntaxUID = {
            "deflated": DeflatedExplicitVRLittleEndian,
            "implicit": ImplicitVRLittleEndian,
            "big endian": ExplicitVRBigEndian,
        }[how]
        ds["PixelData"].VR = "OW" if how == "implicit" else "OB"
    written = Dataset(ds)
    written.file_meta = ds.file_meta
    written.save_as(
        path,
        implicit_vr=how == "implicit",
        little_endian=how != "big endian",
        enforce_file_format=True,
    )
    assert read_facts(path).tags.get("no_region") == (None if set_voxels else "all its voxels are zero")


def test_a_segmentation_that_was_cut_off_holds_no_region(tmp_path: Path) -> None:
    path = segmentation(tmp_path / "seg.dcm", np.ones((2, 8, 8)))
    path.write_bytes(path.read_bytes()[:-16])
    assert read_facts(path).tags["no_region"] == "its pixel data end before its last frame"


def test_a_structure_set_holds_a_region_where_one_contour_bounds_an_area(tmp_path: Path) -> None:
    assert "no_region" not in read_facts(structures(tmp_path / "a.dcm", 1, 4)).tags
    why = "none of its ROIs has a contour that bounds an area"
    assert read_facts(structures(tmp_path / "b.dcm", 1, 2)).tags["no_region"] == why
    assert read_facts(structures(tmp_path / "c.dcm")).tags["no_region"] == "it has no ROI"


def test_the_segmentation_that_undid_a_report_holds_no_region(cases: Path) -> None:
    facts = read_facts(cases / "faults2" / "empty_seg.dcm")
    assert (facts.is_roi, facts.tags["no_region"]) == (True, "it has no segment")


def test_real_segmentations_and_structure_sets_hold_regions(cases: Path) -> None:
    found = [
        p for p in sorted((cases / "seg").rglob("*.dcm")) if "66.4" in dcmread(p, stop_before_pixels=True).SOPClassUID
    ]
    assert found
    assert [p.name for p in found if "no_region" in read_facts(p).tags] == []


def test_frames_that_say_the_same_are_taken_apart_once_and_lose_no_reference(tmp_path: Path) -> None:
    def frame(uid: str, number: int) -> Dataset:
        source, derivation, group = Dataset(), Dataset(), Dataset()
        source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4.1", uid
        source.ReferencedFrameNumber = number
        derivation.SourceImageSequence = Sequence([source])
        group.DerivationImageSequence = Sequence([derivation])
        return group

    frames = [frame("1.9.1", 1), frame("1.9.1", 2), frame("1.9.1", 1), frame("1.9.2", 1), frame("1.9.2", 1)]
    segment = Dataset()
    segment.SegmentNumber, segment.SegmentLabel = 1, "tumour"
    path = saved(
        tmp_path / "seg.dcm",
        SEGMENTATION_CLASSES[0],
        SegmentSequence=Sequence([segment]),
        NumberOfFrames=len(frames),
        PerFrameFunctionalGroupsSequence=Sequence(frames),
    )
    facts = read_facts(path)
    assert [r.sop_instance_uid for r in facts.references] == ["1.9.1", "1.9.2"]
    assert facts.tags["drawn_on_frames"] == ["1.9.1#1", "1.9.1#2", "1.9.2#1"]


def test_twenty_thousand_frames_cost_no_more_than_what_they_say(cases: Path) -> None:
    facts = read_facts(cases / "faults2" / "dimse" / "seg_20k_frames.dcm")
    assert (facts.frames, len(facts.references)) == (20000, 32)
    assert not any(name.startswith("frame_") for name in facts.tags)
