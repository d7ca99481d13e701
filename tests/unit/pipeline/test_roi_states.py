"""An edited segmentation keeps what it was; an object that cannot be read displaces none that can."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from config.schema import RoiSettings
from pipeline.analysis.quality_checks import shape_checks
from pipeline.catalog import InstanceFacts, SegmentFacts
from pipeline.codestream import Broken
from pipeline.decoding.packed_bits import expanded
from pipeline.errors import ExamRejected, RoiRejected
from pipeline.records import Code, Mask, Roi, Segment
from pipeline.roi import Reading, read_all
from tests.support.slices import LYMPH_NODE, NEOPLASM, code, facts, grid, item, segment_item, volume, write_seg

SHAPE = (6, 12, 12)
LEFT = item(
    CodeValue="76752008",
    CodingSchemeDesignator="SCT",
    CodeMeaning="Breast",
    AnatomicRegionModifierSequence=[code("7771000", "SCT", "Left")],
)


def blob(at: int, size: int = 3) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[1:4, at : at + size, at : at + size] = True
    return mask


def seg(folder: Path, name: str, masks: dict, segments: list, date: str) -> InstanceFacts:
    path = write_seg(folder / name, masks, grid(SHAPE), segments)
    return replace(facts(path), tags={"ContentDate": date})


def original(folder: Path) -> InstanceFacts:
    segments = [
        segment_item(1, "one", NEOPLASM, AnatomicRegionSequence=[LEFT], TrackingID="T", TrackingUID="2.25.7"),
        segment_item(2, "two", LYMPH_NODE, TrackingID="N", TrackingUID="2.25.8"),
    ]
    return seg(folder, "old.dcm", {1: blob(1), 2: blob(7)}, segments, "20260101")


def read(*objects: InstanceFacts) -> Reading:
    return read_all(objects, volume(np.zeros(SHAPE, np.int16), grid(SHAPE)), RoiSettings())


def test_a_later_state_without_codes_has_role_side_and_tracking_of_the_earlier(tmp_path: Path) -> None:
    edited = {1: blob(1, 4), 2: blob(7)}
    bare = [segment_item(1, "one"), segment_item(2, "two")]
    found = read(original(tmp_path), seg(tmp_path, "new.dcm", edited, bare, "20260102"))
    tumor = next(r for r in found.rois if r.role == "tumor")
    assert (tumor.mask.voxels, tumor.side) == (48, "L")
    assert [s.tracking_uid for s in tumor.segments] == ["2.25.7"]
    assert "later state of segment 1" in tumor.why
    assert [one.why.split(" of ")[0] for one in found.left_out] == [
        "drawn again as segment 1 (one, Tissue)",
        "drawn again as segment 2 (two, Tissue)",
    ]


def test_a_bare_segment_of_another_place_inherits_nothing(tmp_path: Path) -> None:
    bare = [segment_item(1, "one"), segment_item(2, "two")]
    found = read(original(tmp_path), seg(tmp_path, "new.dcm", {1: blob(5), 2: blob(7)}, bare, "20260102"))
    assert [r.role for r in found.rois] == ["lymph_nodes"]


def test_what_another_author_drew_elsewhere_under_the_same_name_replaces_nothing(tmp_path: Path) -> None:
    other = seg(tmp_path, "new.dcm", {1: blob(4)}, [segment_item(1, "two")], "20260102")
    found = read(original(tmp_path), replace(other, tags={**other.tags, "author_key": "b"}))
    assert [(r.role, r.mask.voxels) for r in found.rois] == [("tumor", 27), ("lymph_nodes", 27)]


def test_two_coded_drawings_of_one_lesion_stay_ambiguous(tmp_path: Path) -> None:
    again = seg(tmp_path, "new.dcm", {1: blob(1)}, [segment_item(1, "one", NEOPLASM)], "20260102")
    with pytest.raises(RoiRejected, match="two objects draw the same"):
        read(original(tmp_path), again)


def broken(folder: Path, type_: Code) -> InstanceFacts:
    path = folder / "broken.dcm"
    path.write_bytes(b"no DICOM")
    found = replace(facts(path), segments=(SegmentFacts(1, "again", None, type_, None),))
    return replace(found, tags={"ContentDate": "20260103"})


def test_an_object_that_cannot_be_read_displaces_none_that_can(tmp_path: Path) -> None:
    found = read(original(tmp_path), broken(tmp_path, Code("108369006", "SCT", "Neoplasm")))
    assert [r.role for r in found.rois] == ["tumor", "lymph_nodes"]
    (left_out,) = found.left_out
    assert left_out.segment is None
    assert "cannot be read" in left_out.why


def test_an_object_that_cannot_be_read_is_missed_where_no_other_draws_its_region(tmp_path: Path) -> None:
    alone = seg(tmp_path, "node.dcm", {1: blob(7)}, [segment_item(1, "n", LYMPH_NODE)], "20260101")
    with pytest.raises(ExamRejected):
        read(alone, broken(tmp_path, Code("108369006", "SCT", "Neoplasm")))


def test_what_joins_no_region_is_told_with_the_reason(tmp_path: Path) -> None:
    segments = [segment_item(1, "GTV_T"), segment_item(2, "GTV-N"), segment_item(3, "CTVn"), segment_item(4, "ROI 4")]
    masks = {1: blob(0, 2), 2: blob(3, 2), 3: blob(6, 2), 4: blob(9, 2)}
    found = read(seg(tmp_path, "a.dcm", masks, segments, "20260101"))
    assert [(r.role, [s.number for s in r.segments]) for r in found.rois] == [("tumor", [1]), ("lymph_nodes", [2])]
    assert [(one.segment, one.label, one.why) for one in found.left_out] == [
        (3, "CTVn", '"ctv" says that it is neither'),
        (4, "ROI 4", "no code or word that tells"),
    ]


def test_a_thin_column_through_many_slices_is_a_failed_check() -> None:
    voxels = np.zeros((22, 20, 20), bool)
    voxels[:, 4:6, 4:7] = True
    geometry = grid(voxels.shape, (1.4, 1.4, 2.0))
    column = Segment(facts(Path("a")).ref, 1, "Tumor", Mask(voxels, geometry))
    roi = Roi("tumor", None, column.mask, (column,), 1, "")
    (check,) = shape_checks([roi])
    assert (check.check, check.ok) == ("shape.segment_1", False)
    voxels = np.zeros((22, 20, 20), bool)
    voxels[3:13, 4:12, 4:12] = True
    lesion = replace(column, mask=Mask(voxels, geometry))
    assert not list(shape_checks([replace(roi, segments=(lesion,))]))


def test_packed_bits_in_run_length_coding_are_read() -> None:
    frame = (1).to_bytes(4, "little") + (64).to_bytes(4, "little") + bytes(56)
    assert expanded(frame + bytes([2, 1, 2, 3, 254, 9, 128, 0, 7]), 7) == bytes([1, 2, 3, 9, 9, 9, 7])


@pytest.mark.parametrize("tail", [b"", bytes([5, 1]), bytes([255])])
def test_packed_bits_that_end_early_are_refused(tail: bytes) -> None:
    frame = (1).to_bytes(4, "little") + (64).to_bytes(4, "little") + bytes(56)
    with pytest.raises(Broken, match="ends after"):
        expanded(frame + tail, 7)
