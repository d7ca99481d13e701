"""Regions are carried to other grids by position, by a registration object or by registering the images."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from config.schema import Align
from pipeline.align import apply, carry, nearest, relate
from pipeline.align.rigid import image_of
from pipeline.errors import GeometryRejected, RoiRejected
from pipeline.geometry import Geometry
from pipeline.records import Mask, Roi, Volume
from tests.support.slices import AXIAL, FRAME, REGISTRATION, facts, grid, volume, write_registration

AXES = [
    tuple(float(v) for v in (np.eye(3)[:, list(order)] * signs).ravel())
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]


def empty(geometry: Geometry, series: str = "s") -> Volume:
    return volume(np.zeros(geometry.shape_zyx, np.int16), geometry, series)


def roi_of(mask: np.ndarray, geometry: Geometry) -> Roi:
    return Roi("tumor", None, Mask(mask, geometry), (), 1, "test")


def itk_nearest(mask: np.ndarray, source: Geometry, target: Geometry) -> np.ndarray:
    """SimpleITK's own nearest-neighbour resampling: the reference."""
    moving = image_of(volume(mask.astype(np.int16), source))
    fixed = image_of(empty(target))
    return SimpleITK.GetArrayFromImage(
        SimpleITK.Resample(moving, fixed, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor, 0.0)
    ).astype(bool)


@pytest.mark.parametrize("direction", AXES)
def test_a_mask_comes_back_unchanged_from_every_axis_permutation_and_flip(direction) -> None:
    source = grid((5, 6, 7), (1.0, 1.0, 1.0), (3.0, -2.0, 8.0))
    mask = np.random.default_rng(5).random(source.shape_zyx) > 0.7
    size = np.abs(np.reshape(direction, (3, 3))).T @ np.array([7, 6, 5])
    shape = tuple(int(n) for n in size[::-1])
    turn = np.reshape(direction, (3, 3))
    middle = np.array([3.0, -2.0, 8.0]) + np.array([3.0, 2.5, 2.0])
    origin = middle - turn @ ((size - 1) / 2)
    target = grid(shape, (1.0, 1.0, 1.0), tuple(origin), direction)
    there = nearest(mask, source, target)
    assert there.sum() == mask.sum()
    assert np.array_equal(nearest(there, target, source), mask)
    assert np.array_equal(there, itk_nearest(mask, source, target))


@settings(max_examples=40, deadline=None)
@given(
    spacing=st.tuples(*[st.floats(0.6, 3)] * 3),
    origin=st.tuples(*[st.floats(-4, 4)] * 3),
    angle=st.floats(-0.6, 0.6),
    seed=st.integers(0, 99),
)
def test_nearest_equals_simpleitk_on_any_grid(spacing, origin, angle, seed) -> None:
    source = grid((9, 10, 11), (1.1, 0.9, 2.0), (-3.0, -2.0, 1.0))
    mask = ndimage.binary_dilation(np.random.default_rng(seed).random(source.shape_zyx) > 0.97)
    c, s = np.cos(angle), np.sin(angle)
    target = grid((8, 12, 13), spacing, origin, (c, -s, 0.0, s, c, 0.0, 0.0, 0.0, 1.0))
    ours, theirs = nearest(mask, source, target), itk_nearest(mask, source, target)
    # A centre that falls on the border of two voxels may be rounded either way.
    borders = np.linalg.inv(source.affine) @ target.affine
    z, y, x = np.mgrid[:8, :12, :13]
    at = (
        np.einsum("ij,jzyx->izyx", borders[:3, :3], np.stack([x, y, z]).astype(float))
        + borders[:3, 3, None, None, None]
    )
    sure = (np.abs(np.abs(at - np.round(at)) - 0.5) > 1e-6).all(axis=0)
    assert np.array_equal(ours[sure], theirs[sure])


def test_a_shared_frame_of_reference_relates_two_grids() -> None:
    source, target = grid((20, 30, 30), (1.0, 1.0, 1.0)), grid((10, 15, 15), (2.0, 2.0, 2.0), (0.5, 0.5, 0.5))
    mask = np.zeros(source.shape_zyx, bool)
    mask[4:12, 6:16, 6:16] = True
    aligned, evidence = carry(roi_of(mask, source), empty(target, "t"), empty(source), Align())
    assert evidence.method == "frame_of_reference"
    assert aligned.kept_volume == pytest.approx(1.0)
    assert aligned.mask.voxels == 100
    assert (evidence.shift_mm, evidence.rotation_deg) == (0, 0)


def test_the_same_grid_keeps_the_mask_as_it_is() -> None:
    source = grid()
    mask = np.zeros(source.shape_zyx, bool)
    mask[2, 3, 4] = True
    aligned, evidence = carry(roi_of(mask, source), empty(source, "t"), empty(source), Align())
    assert evidence.method == "same_grid"
    assert np.array_equal(aligned.mask.voxels_zyx, mask)


def test_different_frames_of_reference_are_refused_and_named() -> None:
    with pytest.raises(GeometryRejected, match=r"different frames of reference \(1\.2\.3\.4\.5, 9\.9\)") as caught:
        relate(empty(grid()), empty(grid(frame="9.9"), "t"), Align())
    assert caught.value.code == "other-frame-of-reference"


def test_images_without_a_frame_of_reference_are_not_taken_to_share_one() -> None:
    with pytest.raises(GeometryRejected, match="none, none"):
        relate(empty(grid(frame=None)), empty(grid(frame=None), "t"), Align())


def test_a_region_outside_the_other_image_is_refused() -> None:
    source = grid((20, 20, 20), (1.0, 1.0, 1.0))
    mask = np.zeros(source.shape_zyx, bool)
    mask[4:8, 4:8, 4:8] = True
    away = grid((20, 20, 20), (1.0, 1.0, 1.0), (100.0, 0.0, 0.0))
    with pytest.raises(RoiRejected, match="no voxel") as caught:
        carry(roi_of(mask, source), empty(away, "t"), empty(source), Align())
    assert caught.value.code == "roi-outside"


def test_a_region_that_loses_too_much_volume_is_refused() -> None:
    source = grid((20, 20, 20), (1.0, 1.0, 1.0))
    mask = np.zeros(source.shape_zyx, bool)
    mask[4:8, 4:8, 0:8] = True
    cut = grid((20, 20, 20), (1.0, 1.0, 1.0), (6.0, 0.0, 0.0))
    with pytest.raises(RoiRejected, match=r"keeps 0\.25") as caught:
        carry(roi_of(mask, source), empty(cut, "t"), empty(source), Align())
    assert caught.value.code == "roi-volume"
    aligned, _ = carry(roi_of(mask, source), empty(cut, "t"), empty(source), Align(min_kept_volume=0.2))
    assert aligned.kept_volume == pytest.approx(0.25)


def test_a_region_that_gains_too_much_volume_is_refused() -> None:
    source = grid((9, 9, 9), (1.0, 1.0, 1.0))
    mask = np.zeros(source.shape_zyx, bool)
    mask[4, 4, 4] = True
    coarse = grid((3, 3, 3), (4.0, 4.0, 4.0))
    with pytest.raises(RoiRejected, match=r"keeps 64\.00"):
        carry(roi_of(mask, source), empty(coarse, "t"), empty(source), Align())


def turned(angle_deg: float, shift) -> np.ndarray:
    a = np.radians(angle_deg)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]
    matrix[:3, 3] = shift
    return matrix


def test_a_spatial_registration_is_obeyed_between_frames_of_reference(tmp_path: Path) -> None:
    """T1+C is the registered space: points of the other frame come into it by the matrix, so T1+C goes back by it."""
    source = grid((20, 20, 20), (1.0, 1.0, 1.0), frame="1.1")
    target = grid((20, 20, 20), (1.0, 1.0, 1.0), frame="2.2")
    path = write_registration(tmp_path / "r.dcm", {"1.1": np.eye(4), "2.2": turned(0, (3, -2, 1))}, own="1.1")
    mask = np.zeros(source.shape_zyx, bool)
    mask[8:12, 8:12, 8:12] = True
    aligned, evidence = carry(
        roi_of(mask, source), empty(target, "t"), empty(source), Align(), [facts(path, REGISTRATION)]
    )
    assert evidence.method == "spatial_registration"
    assert evidence.shift_mm == pytest.approx(np.sqrt(14))
    assert np.argwhere(aligned.mask.voxels_zyx).mean(axis=0) == pytest.approx([8.5, 11.5, 6.5])
    assert aligned.kept_volume == 1


def test_a_spatial_registration_that_names_only_the_other_frame_is_understood(tmp_path: Path) -> None:
    path = write_registration(tmp_path / "r.dcm", {"2.2": turned(30, (3, -2, 1))}, own="1.1")
    one, other = empty(grid(frame="1.1")), empty(grid(frame="2.2"), "t")
    there = relate(one, other, Align(), [facts(path, REGISTRATION)])
    back = relate(other, one, Align(), [facts(path, REGISTRATION)])
    assert np.array(back.transform).reshape(4, 4) == pytest.approx(turned(30, (3, -2, 1)), abs=1e-8)
    assert np.array(there.transform).reshape(4, 4) @ turned(30, (3, -2, 1)) == pytest.approx(np.eye(4), abs=1e-8)
    assert there.rotation_deg == pytest.approx(30)


def test_a_registration_within_one_frame_moves_only_the_images_that_it_names(tmp_path: Path) -> None:
    """Movement between sequences, corrected by hand on a workstation: the T2 images are moved onto the rest."""
    named = [s.ref.sop_instance_uid for s in empty(grid(), "t").sources_z]
    path = write_registration(tmp_path / "r.dcm", {FRAME: turned(0, (3, 0, 0))}, own=FRAME, images=named)
    one, two, three = empty(grid()), empty(grid(), "t"), empty(grid((3, 4, 5)), "u")
    moved = relate(one, two, Align(), [facts(path, REGISTRATION)])
    assert np.array(moved.transform).reshape(4, 4)[:3, 3] == pytest.approx([-3, 0, 0])
    assert relate(one, three, Align(), [facts(path, REGISTRATION)]).method == "frame_of_reference"


def test_a_registration_that_names_some_images_holds_for_their_whole_frame(tmp_path: Path) -> None:
    path = write_registration(tmp_path / "r.dcm", {"2.2": turned(0, (3, 0, 0))}, own="1.1", images=["7.7"])
    evidence = relate(empty(grid(frame="1.1")), empty(grid(frame="2.2"), "t"), Align(), [facts(path, REGISTRATION)])
    assert evidence.shift_mm == pytest.approx(3)


def test_a_registration_of_other_frames_is_left_alone(tmp_path: Path) -> None:
    path = write_registration(tmp_path / "r.dcm", {"5.5": turned(0, (9, 9, 9))}, own="6.6")
    evidence = relate(empty(grid()), empty(grid((3, 8, 10), (1, 1, 4)), "t"), Align(), [facts(path, REGISTRATION)])
    assert evidence.method == "frame_of_reference"


def test_registrations_that_disagree_are_refused(tmp_path: Path) -> None:
    paths = [write_registration(tmp_path / f"{n}.dcm", {"2.2": turned(0, (n, 0, 0))}, own="1.1") for n in (1.0, 4.0)]
    with pytest.raises(GeometryRejected, match="differently"):
        relate(
            empty(grid(frame="1.1")), empty(grid(frame="2.2"), "t"), Align(), [facts(p, REGISTRATION) for p in paths]
        )


def test_a_matrix_called_rigid_that_is_none_is_refused(tmp_path: Path) -> None:
    path = write_registration(tmp_path / "r.dcm", {"2.2": np.diag([2.0, 1, 1, 1])}, own="1.1")
    with pytest.raises(GeometryRejected, match="called rigid"):
        relate(empty(grid(frame="1.1")), empty(grid(frame="2.2"), "t"), Align(), [facts(path, REGISTRATION)])


def scene(points: np.ndarray, seed: int) -> np.ndarray:
    """A smooth body with blobs, as values at patient points (n x 3)."""
    random = np.random.default_rng(seed)
    middle = np.array([40.0, 40.0, 30.0])
    body = 1 / (1 + np.exp((np.linalg.norm((points - middle) / (32, 28, 24), axis=1) - 1) * 12))
    value = 80 * body
    for _ in range(25):
        centre = middle + random.uniform(-0.6, 0.6, 3) * (32, 28, 24)
        width = random.uniform(3, 7)
        value += random.uniform(-60, 120) * body * np.exp(-(((points - centre) / width) ** 2).sum(axis=1) / 2)
    return value


def pictured(geometry: Geometry, series: str, seed: int = 1, move: np.ndarray | None = None, contrast=None) -> Volume:
    """The scene as an image on a grid, the scene moved by `move` (4x4), seen with another contrast."""
    z, y, x = np.mgrid[tuple(slice(n) for n in geometry.shape_zyx)]
    index = np.stack([x.ravel(), y.ravel(), z.ravel(), np.ones(x.size)])
    points = (np.linalg.inv(np.eye(4) if move is None else move) @ geometry.affine @ index)[:3].T
    value = scene(points, seed)
    value = value if contrast is None else contrast(value)
    noise = np.random.default_rng(2).normal(0, 2, value.shape)
    return volume((value + noise).reshape(geometry.shape_zyx).astype(np.int16), geometry, series)


FINE = grid((30, 54, 54), (1.5, 1.5, 2.0))
COARSE = grid((20, 40, 40), (2.0, 2.0, 3.0), (1.0, 0.5, 0.7))


def unlike(value: np.ndarray) -> np.ndarray:
    """T2 to T1: bright and dark partly change places."""
    return 200 * np.exp(-(((value - 90) / 60) ** 2)) * (value > 15)


@pytest.mark.parametrize(("shift", "angle"), [((5.0, -4.0, 3.0), 0.0), ((2.0, 6.0, -4.0), 3.0)])
def test_a_known_shift_is_recovered_within_half_a_voxel_of_the_coarser_image(shift, angle) -> None:
    move = turned(angle, shift)
    evidence = relate(
        pictured(FINE, "s"), pictured(COARSE, "t", move=move, contrast=unlike), Align(registration="rigid")
    )
    assert evidence.method == "rigid"
    found = np.array(evidence.transform).reshape(4, 4)
    inner = np.array([[x, y, z, 1.0] for x in (25, 55) for y in (25, 55) for z in (20, 40)]).T
    apart = np.linalg.norm(((found - move) @ inner)[:3], axis=0)
    assert apart.max() < 0.5 * max(COARSE.spacing_xyz_mm)
    assert evidence.details["shared_information"] > evidence.details["shared_information_unmoved"]


def test_registration_gives_the_same_matrix_every_time() -> None:
    images = pictured(FINE, "s"), pictured(COARSE, "t", move=turned(0, (3, 2, 1)))
    first, second = (relate(*images, Align(registration="rigid")) for _ in range(2))
    assert first.transform == second.transform


def test_two_unrelated_volumes_are_refused() -> None:
    noise = np.random.default_rng(3).normal(100, 30, COARSE.shape_zyx)
    other = volume(ndimage.gaussian_filter(noise, 2.0).astype(np.float32), COARSE, "t")
    with pytest.raises(GeometryRejected, match=r"cannot be registered|would move") as caught:
        relate(pictured(FINE, "s"), other, Align(registration="rigid"))
    assert caught.value.code in ("registration-failed", "registration-too-far")


def test_a_movement_beyond_the_limits_is_refused() -> None:
    images = pictured(FINE, "s"), pictured(COARSE, "t", move=turned(0, (5, -4, 3)))
    with pytest.raises(GeometryRejected, match=r"would move .* 7\.\d mm") as caught:
        relate(*images, Align(registration="rigid", max_shift_mm=4))
    assert caught.value.code == "registration-too-far"


def test_registration_relates_images_of_different_frames_of_reference() -> None:
    other = grid(COARSE.shape_zyx, COARSE.spacing_xyz_mm, COARSE.origin_xyz_mm, AXIAL, "9.9")
    one, two = pictured(FINE, "s"), pictured(other, "t", move=turned(0, (3, 2, -2)))
    evidence = relate(one, two, Align(registration="rigid"))
    mask = np.zeros(FINE.shape_zyx, bool)
    mask[12:18, 22:30, 22:30] = True
    aligned = apply(roi_of(mask, FINE), two, evidence, Align())
    wanted = np.array([3.0, 2, -2]) + (FINE.affine @ [25.5, 25.5, 14.5, 1])[:3]
    found = (other.affine @ [*np.argwhere(aligned.mask.voxels_zyx).mean(axis=0)[::-1], 1])[:3]
    assert found == pytest.approx(wanted, abs=1.5)
    assert aligned.mask.geometry.frame_of_reference_uid == "9.9"
