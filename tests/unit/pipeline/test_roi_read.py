"""A tumour and lymph nodes are found in SEG objects of every kind and land on the right voxels."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.schema import RoiSettings
from pipeline.errors import GeometryRejected, RoiRejected
from pipeline.roi import draw_on, open_object, read
from tests.support.slices import (
    LYMPH_NODE,
    NEOPLASM,
    TISSUE,
    code,
    facts,
    grid,
    item,
    segment_item,
    uid,
    volume,
    write_seg,
)

SHAPE = (6, 8, 10)
AXES = [
    tuple(float(v) for v in (np.eye(3)[:, list(order)] * signs).ravel())
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]


def blob(z: int = 2, y: int = 3, x: int = 4, size: int = 2) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[z : z + size, y : y + size, x : x + size] = True
    return mask


def t1c(geometry=None):
    geometry = geometry or grid(SHAPE)
    return volume(np.zeros(geometry.shape_zyx, np.int16), geometry)


def tumor(number: int = 1, label: str = "a", **values):
    return segment_item(number, label, NEOPLASM, **values)


def node(number: int = 2, label: str = "b", **values):
    return segment_item(number, label, LYMPH_NODE, **values)


def one(path: Path, **kw):
    """The mask of segment 1 on the grid, and the counts."""
    geometry = kw.pop("geometry", grid(SHAPE))
    return draw_on(open_object(path), geometry, [1], kw.pop("threshold", 0.5), **kw)[1]


@pytest.mark.parametrize("direction", AXES)
def test_a_segmentation_lands_on_its_voxels_on_every_axis_permutation_and_flip(tmp_path: Path, direction) -> None:
    """The image is loaded with its normal along rows x columns; half of the masks are written the other way."""
    mask = np.random.default_rng(7).random(SHAPE) > 0.8
    written = grid(SHAPE, (0.7, 0.9, 2.5), (-31.0, 12.0, 45.0), direction)
    straight = np.reshape(direction, (3, 3)).copy()
    flipped = np.linalg.det(straight) < 0
    origin = written.origin_xyz_mm
    if flipped:
        straight[:, 2] *= -1
        origin = tuple((written.affine @ [0, 0, SHAPE[0] - 1, 1])[:3])
    image = grid(SHAPE, written.spacing_xyz_mm, origin, tuple(straight.ravel()))
    canvas = one(write_seg(tmp_path / "s.dcm", {1: mask}, written), geometry=image)
    assert np.array_equal(canvas.voxels_zyx, mask[::-1] if flipped else mask)
    assert (canvas.resampled, canvas.outside) == (0, 0)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.permutations(range(3)),
    signs=st.tuples(*[st.sampled_from([1, -1])] * 3),
    crop=st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 3)),
)
def test_frames_in_any_plane_and_crop_of_the_grid_are_placed_by_index(tmp_path_factory, order, signs, crop) -> None:
    """The segmentation is stored in other axes than the image (sagittal frames of an axial image, say), and cropped."""
    image = grid(SHAPE, (1.0, 1.0, 1.0), (5.0, -3.0, 2.0))
    mask = np.zeros(SHAPE, bool)
    mask[3:5, 4:7, 4:9] = np.random.default_rng(1).random((2, 3, 5)) > 0.4
    part = mask[crop[0] :, crop[1] :, crop[2] :]
    # Seen along other axes: transposed and flipped, with the geometry that says so.
    axes_xyz = list(order)
    turned = np.transpose(part, [2 - axes_xyz[2], 2 - axes_xyz[1], 2 - axes_xyz[0]])
    direction = np.eye(3)[:, axes_xyz] * signs
    flips = tuple(slice(None, None, s) for s in signs[::-1])
    first = [0 if s > 0 else n - 1 for s, n in zip(signs, turned.shape[::-1], strict=True)]
    low = np.array(image.origin_xyz_mm) + np.array(crop[::-1])
    origin = low + np.eye(3)[:, axes_xyz] @ first
    seg = grid(turned.shape, (1.0, 1.0, 1.0), tuple(origin), tuple(direction.ravel()))
    path = write_seg(tmp_path_factory.mktemp("s") / "s.dcm", {1: turned[flips]}, seg)
    canvas = one(path, geometry=image)
    assert np.array_equal(canvas.voxels_zyx, mask)
    assert canvas.resampled == 0


def test_a_mask_on_the_border_keeps_its_voxels(tmp_path: Path) -> None:
    mask = np.zeros(SHAPE, bool)
    mask[0, 0, :] = mask[-1, -1, :] = mask[:, 0, 0] = mask[:, -1, -1] = True
    canvas = one(write_seg(tmp_path / "s.dcm", {1: mask}, grid(SHAPE)))
    assert np.array_equal(canvas.voxels_zyx, mask)


def test_overlapping_segments_keep_all_of_their_voxels(tmp_path: Path) -> None:
    masks = {1: blob(), 2: blob(2, 3, 5)}
    drawn = draw_on(open_object(write_seg(tmp_path / "s.dcm", masks, grid(SHAPE))), grid(SHAPE), [1, 2], 0.5)
    assert all(np.array_equal(drawn[n].voxels_zyx, masks[n]) for n in masks)
    assert np.any(masks[1] & masks[2])


def test_frames_of_an_odd_number_of_pixels_are_unpacked_right(tmp_path: Path) -> None:
    shape = (5, 7, 9)
    mask = np.random.default_rng(3).random(shape) > 0.5
    canvas = one(write_seg(tmp_path / "s.dcm", {1: mask}, grid(shape)), geometry=grid(shape))
    assert np.array_equal(canvas.voxels_zyx, mask)


@pytest.mark.parametrize(("threshold", "voxels"), [(0.5, 2), (0.502, 1), (0.25, 3), (1.0, 1), (0.001, 3)])
def test_a_fractional_segmentation_is_cut_at_the_threshold(tmp_path: Path, threshold: float, voxels: int) -> None:
    values = np.zeros(SHAPE, np.uint8)
    values[2, 3, 3:6] = 64, 128, 255
    canvas = one(write_seg(tmp_path / "s.dcm", {1: values}, grid(SHAPE), kind="FRACTIONAL"), threshold=threshold)
    assert canvas.drawn == voxels
    assert bool(canvas.voxels_zyx[2, 3, 5])


def test_a_labelmap_gives_one_mask_per_label(tmp_path: Path) -> None:
    labels = blob().astype(np.uint8) + 2 * blob(4, 5, 6).astype(np.uint8)
    background = segment_item(0, "Background", ("125040", "DCM", "Background"))
    path = write_seg(tmp_path / "s.dcm", {0: labels}, grid(SHAPE), [background, tumor(1), node(2)], kind="LABELMAP")
    found = {r.role: r for r in read([facts(path)], t1c(), RoiSettings())}
    assert np.array_equal(found["tumor"].mask.voxels_zyx, blob())
    assert np.array_equal(found["lymph_nodes"].mask.voxels_zyx, blob(4, 5, 6))


def test_a_coarser_segmentation_is_resampled_and_says_so(tmp_path: Path) -> None:
    coarse = grid((3, 4, 5), (2.0, 2.0, 4.0), (0.5, 0.5, 1.0))
    mask = np.zeros((3, 4, 5), bool)
    mask[1, 1:3, 2] = True
    path = write_seg(tmp_path / "s.dcm", {1: mask}, coarse, [tumor()])
    (roi,) = read([facts(path)], t1c(), RoiSettings())
    wanted = np.zeros(SHAPE, bool)
    wanted[2:4, 2:6, 4:6] = True
    assert np.array_equal(roi.mask.voxels_zyx, wanted)
    assert "resampled" in roi.why


def test_an_oblique_segmentation_keeps_its_volume_and_middle(tmp_path: Path) -> None:
    image = grid((40, 40, 40), (1.0, 1.0, 1.0))
    a = 0.3
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    seg = grid((40, 40, 40), (1.0, 1.0, 1.0), tuple(np.array([20, 20, 0]) - turn @ [20, 20, 0]), tuple(turn.ravel()))
    z, y, x = np.mgrid[:40, :40, :40]
    ball = (z - 20) ** 2 + (y - 20) ** 2 + (x - 20) ** 2 <= 12**2
    canvas = one(write_seg(tmp_path / "s.dcm", {1: ball}, seg), geometry=image)
    assert canvas.resampled == np.any(ball, axis=(1, 2)).sum()
    assert canvas.voxels_zyx.sum() == pytest.approx(ball.sum(), rel=0.01)
    assert np.argwhere(canvas.voxels_zyx).mean(axis=0) == pytest.approx([20, 20, 20], abs=0.1)


def test_sparse_frames_fill_only_their_own_slices(tmp_path: Path) -> None:
    mask = np.zeros(SHAPE, bool)
    mask[1, 3, 3] = mask[4, 3, 3] = True
    canvas = one(write_seg(tmp_path / "s.dcm", {1: mask}, grid(SHAPE)))
    assert np.array_equal(canvas.voxels_zyx, mask)


def test_a_single_frame_thicker_than_the_slices_stays_on_its_slice(tmp_path: Path) -> None:
    """Slices of 4 mm every 2 mm overlap, as in interpolated 3D acquisitions; the frame was drawn on one of them."""
    mask = np.zeros(SHAPE, bool)
    mask[2, 3:5, 3:5] = True
    path = write_seg(tmp_path / "s.dcm", {1: mask}, grid(SHAPE), spacing_between=False, thickness_mm=4.0)
    assert np.array_equal(one(path).voxels_zyx, mask)


def test_frames_of_every_second_slice_that_say_so_fill_the_slices_between(tmp_path: Path) -> None:
    thick = grid((3, 8, 10), (1.0, 1.0, 4.0))
    mask = np.zeros((3, 8, 10), bool)
    mask[0:2, 3:5, 3:5] = True
    canvas = one(write_seg(tmp_path / "s.dcm", {1: mask}, thick))
    assert canvas.voxels_zyx.sum() >= 12
    assert np.ptp(np.flatnonzero(canvas.voxels_zyx.any(axis=(1, 2)))) == canvas.voxels_zyx.any(axis=(1, 2)).sum() - 1


def test_several_nodes_become_one_region_that_counts_them(tmp_path: Path) -> None:
    masks = {1: blob(0, 0, 0), 2: blob(2, 3, 3), 3: blob(4, 5, 6)}
    path = write_seg(tmp_path / "s.dcm", masks, grid(SHAPE), [tumor(1), node(2, "n1"), node(3, "n2")])
    found = {r.role: r for r in read([facts(path)], t1c(), RoiSettings())}
    nodes = found["lymph_nodes"]
    assert np.array_equal(nodes.mask.voxels_zyx, masks[2] | masks[3])
    assert (nodes.count, [s.number for s in nodes.segments]) == (2, [2, 3])
    assert found["tumor"].count == 1


def test_nodes_in_one_segment_are_counted_by_their_parts(tmp_path: Path) -> None:
    path = write_seg(tmp_path / "s.dcm", {1: blob(0, 0, 0) | blob(3, 5, 6)}, grid(SHAPE), [node(1)])
    (nodes,) = read([facts(path)], t1c(), RoiSettings())
    assert nodes.count == 2


@pytest.mark.parametrize("parted", [True, False])
def test_of_several_tumours_the_setting_takes_all_or_the_largest(tmp_path: Path, parted: bool) -> None:
    big, small = blob(0, 0, 0, 3), blob(4, 5, 6)
    masks, segments = ({1: small, 2: big}, [tumor(1), tumor(2)]) if parted else ({1: small | big}, [tumor(1)])
    path = write_seg(tmp_path / "s.dcm", masks, grid(SHAPE), segments)
    (union,) = read([facts(path)], t1c(), RoiSettings())
    assert (union.mask.voxels, union.count) == (35, 2)
    (largest,) = read([facts(path)], t1c(), RoiSettings(tumors="largest"))
    assert np.array_equal(largest.mask.voxels_zyx, big)
    assert "largest of 2" in largest.why


def test_both_sides_in_one_exam_are_never_pooled(tmp_path: Path) -> None:
    left, right = (
        item(
            AnatomicRegionModifierSequence=[code(*c)],
            CodeValue="76752008",
            CodingSchemeDesignator="SCT",
            CodeMeaning="Breast",
        )
        for c in (("7771000", "SCT", "Left"), ("24028007", "SCT", "Right"))
    )
    masks = {1: blob(0, 0, 0), 2: blob(3, 5, 6)}
    segments = [tumor(1, AnatomicRegionSequence=[left]), tumor(2, AnatomicRegionSequence=[right])]
    path = write_seg(tmp_path / "s.dcm", masks, grid(SHAPE), segments)
    found = {r.side: r for r in read([facts(path)], t1c(), RoiSettings())}
    assert set(found) == {"L", "R"}
    assert np.array_equal(found["L"].mask.voxels_zyx, masks[1])
    assert np.array_equal(found["R"].mask.voxels_zyx, masks[2])


def test_one_side_told_and_one_not_is_ambiguous(tmp_path: Path) -> None:
    segments = [tumor(1, "left lesion"), tumor(2, "lesion")]
    path = write_seg(tmp_path / "s.dcm", {1: blob(0, 0, 0), 2: blob(3, 5, 6)}, grid(SHAPE), segments)
    with pytest.raises(RoiRejected, match=r"no side is told for segment 2"):
        read([facts(path)], t1c(), RoiSettings())


WIDE = grid((6, 8, 40), (8.0, 2.0, 2.0), (-156.0, 0.0, 0.0))


def wide(x: int) -> np.ndarray:
    mask = np.zeros(WIDE.shape_zyx, bool)
    mask[2:4, 3:5, x : x + 2] = True
    return mask


@pytest.mark.parametrize(("x", "side"), [(4, "R"), (33, "L"), (20, None)])
def test_a_side_is_told_by_position_only_where_it_is_certain(tmp_path: Path, x: int, side: str | None) -> None:
    path = write_seg(tmp_path / "s.dcm", {1: wide(x)}, WIDE, [tumor(1)])
    (roi,) = read([facts(path)], t1c(WIDE), RoiSettings())
    assert roi.side == side


def test_one_segment_on_both_sides_is_refused(tmp_path: Path) -> None:
    path = write_seg(tmp_path / "s.dcm", {1: wide(4) | wide(33)}, WIDE, [tumor(1)])
    with pytest.raises(RoiRejected, match="both sides"):
        read([facts(path)], t1c(WIDE), RoiSettings())


def test_another_frame_of_reference_is_refused_with_both_named(tmp_path: Path) -> None:
    path = write_seg(tmp_path / "s.dcm", {1: blob()}, grid(SHAPE), [tumor()], frame="7.7.7")
    with pytest.raises(GeometryRejected, match=r"7\.7\.7.*1\.2\.3\.4\.5") as caught:
        read([facts(path)], t1c(), RoiSettings())
    assert caught.value.code == "other-frame-of-reference"


def test_without_a_frame_of_reference_the_source_images_vouch_for_the_place(tmp_path: Path) -> None:
    sources = [uid("s", z) for z in range(SHAPE[0])]
    named = write_seg(tmp_path / "n.dcm", {1: blob()}, grid(SHAPE), [tumor()], frame=None, sources=sources)
    (roi,) = read([facts(named)], t1c(), RoiSettings())
    assert np.array_equal(roi.mask.voxels_zyx, blob())
    bare = write_seg(tmp_path / "b.dcm", {1: blob()}, grid(SHAPE), [tumor()], frame=None)
    with pytest.raises(GeometryRejected, match="no frame of reference"):
        read([facts(bare)], t1c(), RoiSettings())


def test_an_empty_region_is_refused(tmp_path: Path) -> None:
    path = write_seg(tmp_path / "s.dcm", {1: np.zeros(SHAPE, bool)}, grid(SHAPE), [tumor()], all_frames=True)
    with pytest.raises(RoiRejected, match="empty") as caught:
        read([facts(path)], t1c(), RoiSettings())
    assert caught.value.code == "roi-empty"


def test_an_inverse_mask_is_refused(tmp_path: Path) -> None:
    path = write_seg(tmp_path / "s.dcm", {1: ~blob()}, grid(SHAPE), [tumor()])
    with pytest.raises(RoiRejected, match="inverse") as caught:
        read([facts(path)], t1c(), RoiSettings())
    assert caught.value.code == "roi-fills-image"


def test_a_region_outside_the_image_is_refused(tmp_path: Path) -> None:
    away = grid(SHAPE, origin_xyz_mm=(500.0, 0.0, 0.0))
    path = write_seg(tmp_path / "s.dcm", {1: blob()}, away, [tumor()])
    with pytest.raises(RoiRejected, match="8 of 8 pixels lie outside") as caught:
        read([facts(path)], t1c(), RoiSettings())
    assert caught.value.code == "roi-outside"


def test_a_region_half_outside_is_refused_and_allowed_where_the_setting_says_so(tmp_path: Path) -> None:
    shifted = grid(SHAPE, origin_xyz_mm=(5.0, 0.0, 0.0))
    path = write_seg(tmp_path / "s.dcm", {1: blob()}, shifted, [tumor()])
    with pytest.raises(RoiRejected, match="4 of 8 pixels lie outside"):
        read([facts(path)], t1c(), RoiSettings())
    (roi,) = read([facts(path)], t1c(), RoiSettings(min_inside=0.4))
    assert roi.mask.voxels == 4
    assert "4 of 8 pixels lie outside" in roi.why


def test_two_objects_that_draw_the_same_tumour_are_ambiguous(tmp_path: Path) -> None:
    one_ = write_seg(tmp_path / "1.dcm", {1: blob()}, grid(SHAPE), [tumor()])
    two = write_seg(tmp_path / "2.dcm", {1: blob(2, 3, 4)}, grid(SHAPE), [tumor()])
    with pytest.raises(RoiRejected, match="two objects draw the same tumor"):
        read([facts(one_), facts(two)], t1c(), RoiSettings())
    apart = write_seg(tmp_path / "3.dcm", {1: blob(0, 0, 0)}, grid(SHAPE), [tumor()])
    (roi,) = read([facts(one_), facts(apart)], t1c(), RoiSettings())
    assert roi.count == 2


def test_no_recognised_segment_is_refused_with_the_candidates_named(tmp_path: Path) -> None:
    segments = [segment_item(1, "Segment_1", TISSUE), segment_item(2, "breast", TISSUE)]
    path = write_seg(tmp_path / "s.dcm", {1: blob(), 2: blob(0, 0, 0)}, grid(SHAPE), segments)
    with pytest.raises(RoiRejected, match=r"segment 1 \(Segment_1.*segment 2 \(breast") as caught:
        read([facts(path)], t1c(), RoiSettings())
    assert caught.value.code == "roi-not-recognised"


def test_an_exam_without_any_object_is_refused() -> None:
    with pytest.raises(RoiRejected, match="no segmentation or structure set"):
        read([], t1c(), RoiSettings())
