"""A segmentation whose geometry contradicts itself or the images that it names is refused, or told with figures."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread

from config.schema import Features as FeatureSettings
from config.schema import RoiSettings, Settings, SignatureSettings
from pipeline.analysis.signatures_in_use import Signatures
from pipeline.catalog import exam_in, read_facts
from pipeline.errors import RoiRejected
from pipeline.phantom import PhantomSpec, write_exam
from pipeline.records import Segment
from pipeline.roi import read
from pipeline.roi.export import export
from pipeline.roi.repeated_planes import Drawn
from pipeline.run import analyse
from tests.support.drawn import redrawn
from tests.support.slices import (
    NEOPLASM,
    facts,
    grid,
    item,
    segment_item,
    uid,
    volume,
    write_enhanced,
    write_seg,
    write_slices,
)

GRID = grid((10, 20, 24), (1.0, 1.0, 3.0), (-12.0, 4.0, 30.0))
TUMOR = [segment_item(1, "Tumor", NEOPLASM)]


def block() -> np.ndarray:
    mask = np.zeros(GRID.shape_zyx, bool)
    mask[3:7, 5:12, 6:15] = True
    mask[4, 12, 9] = True
    return mask


def drawn(tmp_path: Path, seg: Path, settings: RoiSettings | None = None) -> Segment:
    """The one segment of the object, drawn on the images in `tmp_path`/img, which it may name."""
    images = [read_facts(p) for p in sorted((tmp_path / "img").iterdir())]
    image = volume(np.zeros(GRID.shape_zyx, np.int16), GRID)
    (roi,) = read([facts(seg)], image, settings or RoiSettings(), images=images)
    return roi.segments[0]


def written(tmp_path: Path, spoil=lambda ds: None) -> Path:
    """Images, and a SEG that names one of them per frame, altered by `spoil`."""
    if not (tmp_path / "img").exists():
        write_slices(tmp_path / "img", np.zeros(GRID.shape_zyx, np.int16), GRID)
    path = write_seg(tmp_path / "seg.dcm", {1: block()}, GRID, TUMOR, sources=[uid("s", z) for z in range(10)])
    ds = dcmread(path)
    spoil(ds)
    ds.save_as(path)
    return path


def frames(ds):
    return ds.PerFrameFunctionalGroupsSequence


def move(millimetres: float, axis: int = 2):
    def spoil(ds) -> None:
        for frame in frames(ds):
            frame.PlanePositionSequence[0].ImagePositionPatient[axis] += millimetres

    return spoil


def kinds(segment: Segment) -> list[str]:
    return [c.kind for c in segment.contradictions]


def test_positions_that_agree_with_the_images_say_nothing(tmp_path: Path) -> None:
    assert drawn(tmp_path, written(tmp_path)).contradictions == ()


@settings(max_examples=15, deadline=None)
@given(slices=st.floats(-2.9, 2.9).filter(lambda s: abs(abs(s) - 0.5) > 0.01))
def test_more_than_half_a_slice_from_the_images_is_told(
    tmp_path_factory: pytest.TempPathFactory, slices: float
) -> None:
    tmp_path = tmp_path_factory.mktemp("off")
    segment = drawn(tmp_path, written(tmp_path, move(3.0 * slices)))
    assert kinds(segment) == (["position"] if abs(slices) > 0.5 else [])
    for found in segment.contradictions:
        assert found.stops
        assert found.value == pytest.approx(3 * abs(slices), abs=1e-3)
        # Where the position is written with six digits, the last one of the sentence may be rounded the other way.
        shown = re.match(r"4 of 4 frames lie up to (\d\.\d\d) mm", found.text)
        assert shown is not None
        assert float(shown[1]) == pytest.approx(3 * abs(slices), abs=0.006)


def test_one_frame_astray_is_measured_by_the_distance_between_images(tmp_path: Path) -> None:
    """And not by the distance between frames, which it makes smaller."""

    def one(millimetres: float):
        def spoil(ds) -> None:
            frames(ds)[1].PlanePositionSequence[0].ImagePositionPatient[2] += millimetres

        return spoil

    assert kinds(drawn(tmp_path, written(tmp_path, one(1.2)))) == []
    (found,) = drawn(tmp_path, written(tmp_path, one(2.4))).contradictions
    assert "1 of 4 frames lie up to 2.40 mm (0.8 slices)" in found.text


def test_the_position_governs_where_a_segmentation_contradicts_its_images(tmp_path: Path) -> None:
    segment = drawn(tmp_path, written(tmp_path, move(6.0)))
    assert np.flatnonzero(segment.mask.voxels_zyx.any(axis=(1, 2))).tolist() == [5, 6, 7, 8]


def test_a_shift_within_the_plane_is_a_contradiction_too(tmp_path: Path) -> None:
    assert kinds(drawn(tmp_path, written(tmp_path, move(4.0, axis=0)))) == ["position"]


def test_a_mirrored_plane_contradicts_its_image_and_one_written_from_the_other_end_does_not(tmp_path: Path) -> None:
    def mirrored(ds, at_other_end: bool) -> None:
        ds.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient = [-1, 0, 0, 0, 1, 0]
        if at_other_end:
            move(23.0, axis=0)(ds)

    assert kinds(drawn(tmp_path, written(tmp_path, lambda ds: mirrored(ds, True)))) == []
    whole_way = RoiSettings(min_inside=0)
    with pytest.raises(RoiRejected, match="empty"):
        drawn(tmp_path, written(tmp_path, lambda ds: mirrored(ds, False)), whole_way)


def test_only_frames_that_name_exactly_one_image_are_compared(tmp_path: Path) -> None:
    def two_each(ds) -> None:
        move(6.0)(ds)
        for n, frame in enumerate(frames(ds)):
            extra = item(ReferencedSOPClassUID="1.2", ReferencedSOPInstanceUID=uid("s", 9 - n))
            frame.DerivationImageSequence.append(item(SourceImageSequence=[extra]))

    assert drawn(tmp_path, written(tmp_path, two_each)).contradictions == ()


def test_the_frame_of_an_enhanced_image_is_the_one_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "img").mkdir()
    write_enhanced(tmp_path / "img/e.dcm", np.zeros(GRID.shape_zyx, np.int16), GRID, list(range(9, -1, -1)))

    def from_enhanced(shift: int):
        def spoil(ds) -> None:
            # frames of the SEG come from the highest slice down, as those of the image do
            for n, frame in enumerate(frames(ds)):
                source = frame.DerivationImageSequence[0].SourceImageSequence[0]
                source.ReferencedSOPInstanceUID, source.ReferencedFrameNumber = uid("e.dcm"), 4 + n + shift

        return spoil

    assert kinds(drawn(tmp_path, written(tmp_path, from_enhanced(0)))) == []
    assert kinds(drawn(tmp_path, written(tmp_path, from_enhanced(2)))) == ["position"]


@pytest.mark.parametrize("sources", [True, False])
def test_pixels_of_another_size_are_told_with_the_figure(tmp_path: Path, sources: bool) -> None:
    """Also where the segmentation names only the series: it then has the rows and columns of its slices."""

    def larger(ds) -> None:
        ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [1.01, 1.01]
        if not sources:
            for frame in frames(ds):
                del frame.DerivationImageSequence
            named = [item(ReferencedSOPClassUID="1.2", ReferencedSOPInstanceUID=uid("s", z)) for z in range(10)]
            ds.ReferencedSeriesSequence = [item(SeriesInstanceUID=uid("s"), ReferencedInstanceSequence=named)]

    (found,) = drawn(tmp_path, written(tmp_path, larger)).contradictions
    assert (found.kind, found.value, found.stops, found.harmless) == ("pixel_spacing", "+1.00%", False, False)
    assert "1.00% larger" in found.text
    assert "volumes by +2.0%" in found.text


def test_planes_turned_against_their_images_are_told(tmp_path: Path) -> None:
    def turned(ds) -> None:
        c, s = float(np.cos(0.05)), float(np.sin(0.05))
        orientation = ds.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
        orientation.ImageOrientationPatient = [1, 0, 0, 0, c, s]

    found = {c.kind: c for c in drawn(tmp_path, written(tmp_path, turned)).contradictions}
    assert found["orientation"].value == pytest.approx(2.86, abs=0.01)
    assert "turned by 2.9 degrees" in found["orientation"].text


def test_a_crop_of_the_images_is_told_and_harmless(tmp_path: Path) -> None:
    written(tmp_path)
    crop = grid((10, 16, 20), (1.0, 1.0, 3.0), (-10.0, 6.0, 30.0))
    mask = block()[:, 2:18, 2:22]
    path = write_seg(tmp_path / "crop.dcm", {1: mask}, crop, TUMOR, sources=[uid("s", z) for z in range(10)])
    segment = drawn(tmp_path, path)
    assert np.array_equal(segment.mask.voxels_zyx, block())
    assert [(c.kind, c.harmless) for c in segment.contradictions] == [("size", True)]


def at_one_place(ds) -> None:
    for frame in frames(ds):
        frame.PlanePositionSequence[0].ImagePositionPatient = [-12.0, 4.0, 39.0]


def jittered(ds) -> None:
    for n, frame in enumerate(frames(ds)):
        frame.PlanePositionSequence[0].ImagePositionPatient = [-12.0, 4.0 + 0.7 * n, 39.0 + 0.01 * n]


@pytest.mark.parametrize("spoil", [at_one_place, jittered])
def test_two_frames_of_one_segment_on_one_plane_are_refused(tmp_path: Path, spoil) -> None:
    with pytest.raises(RoiRejected, match=r"frames \d and \d of segment 1 lie on one plane") as caught:
        drawn(tmp_path, written(tmp_path, spoil))
    assert caught.value.code == "roi-frames-on-one-plane"


def test_a_frame_written_twice_counts_once_and_segments_may_share_planes(tmp_path: Path) -> None:
    whole = block()
    path = write_seg(tmp_path / "twice.dcm", {1: whole, 2: whole}, GRID, [*TUMOR, segment_item(2, "Other")])
    ds = dcmread(path)
    for frame in frames(ds)[4:]:
        frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 1
    ds.save_as(path)
    written(tmp_path)
    assert np.array_equal(drawn(tmp_path, path).mask.voxels_zyx, whole)


def test_tiles_beside_each_other_on_one_plane_are_both_drawn() -> None:
    tiles, mask = Drawn("frames {} and {}", "1.2"), np.ones((20, 24), bool)
    left = grid((1, 20, 24), (1.0, 1.0, 3.0))
    right = grid((1, 20, 24), (1.0, 1.0, 3.0), (24.0, 0.0, 0.0))
    assert [tiles.first_time(1, left, mask), tiles.first_time(2, right, mask), tiles.first_time(3, left, mask)] == [
        True,
        True,
        False,
    ]
    with pytest.raises(RoiRejected):
        tiles.first_time(4, grid((1, 20, 24), (1.0, 1.0, 3.0), (5.0, 0.0, 0.0)), mask)


def test_an_exam_whose_regions_contradict_its_images_is_not_evaluated_unless_allowed(tmp_path: Path) -> None:
    """The check fails in both cases; what is measured is what lies where the positions say."""
    (tmp_path / "exam").mkdir()
    phantom = write_exam(tmp_path / "exam", PhantomSpec(seed=22, preset="small", laterality="L"))
    exam = exam_in(tmp_path / "exam")
    masks = {role: mask.voxels_zyx for role, mask in phantom.masks.items()}
    exam = redrawn(exam, phantom, tmp_path, [(role, "L", mask) for role, mask in masks.items()])
    path = tmp_path / "drawn.dcm"
    ds = dcmread(path)
    depths = sorted({float(f.PlanePositionSequence[0].ImagePositionPatient[2]) for f in frames(ds)})
    move(float(np.diff(depths).min()) * 2)(ds)
    ds.save_as(path)
    chosen = Settings(
        signature=SignatureSettings(max_outside=1.0, max_distance=1e9), features=FeatureSettings(set="signature")
    )
    signatures = Signatures.from_settings(chosen.signature)
    refused = analyse(exam, chosen, signatures).result
    assert (refused.status, refused.reason_codes) == ("not_evaluated", ("roi-contradicts-images",))
    assert "roi.allow_contradictory_positions" in refused.reasons[0]
    allowed = chosen.model_copy(update={"roi": RoiSettings(allow_contradictory_positions=True)})
    result = analyse(exam, allowed, signatures).result
    assert result.prediction is not None
    for found in (refused, result):
        failed = [q for q in found.quality if q.check.startswith("drawn_on.position.segment_")]
        assert [q.ok for q in failed] == [False] * len(masks)
        assert all("slices) from the images" in q.note for q in failed)


@pytest.mark.cases
def test_frames_three_slices_from_their_images_are_told(cases: Path, tmp_path: Path) -> None:
    folder = cases / "faults2"
    images = folder / "seg_all_frames_one_place/img"
    summary = export(folder / "seg_positions_contradict_references/seg.dcm", images, tmp_path, RoiSettings())
    text = "frames lie up to 6.00 mm (3.0 slices) from the images that they name as their source"
    assert [s["notes"] for s in summary["segments"]] == [[f"9 of 9 {text}"], [f"5 of 5 {text}"]]
    assert [s["voxels"] for s in summary["segments"]] == [1661, 301]


@pytest.mark.cases
def test_all_frames_at_one_place_are_refused(cases: Path, tmp_path: Path) -> None:
    folder = cases / "faults2/seg_all_frames_one_place"
    with pytest.raises(RoiRejected, match="lie on one plane and show different things"):
        export(folder / "seg.dcm", folder / "img", tmp_path, RoiSettings())
