from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import InputRejected
from pipeline.geometry import Geometry
from pipeline.pictures import load_panels, make_panels, save_panels
from pipeline.pictures.panel import edges
from pipeline.records import Mask, Volume
from tests.support.reports import case

AXIAL = (1.0, 0, 0, 0, 1, 0, 0, 0, 1)
SAGITTAL = (0.0, 0, 1, 1, 0, 0, 0, -1, 0)


def grid(shape: tuple[int, int, int] = (5, 60, 50), direction: tuple[float, ...] = AXIAL) -> Geometry:
    return Geometry(shape, (1.0, 2.0, 3.0), (0.0, 0.0, 0.0), direction)


def volume(geometry: Geometry) -> Volume:
    voxels = np.arange(np.prod(geometry.shape_zyx), dtype=np.int16).reshape(geometry.shape_zyx)
    return Volume(voxels, geometry, "2.25.1")


def mask(geometry: Geometry, *places: tuple[slice, slice, slice]) -> Mask:
    voxels = np.zeros(geometry.shape_zyx, dtype=bool)
    for place in places:
        voxels[place] = True
    return Mask(voxels, geometry)


def test_the_panel_shows_the_slice_where_the_region_is_largest() -> None:
    geometry = grid()
    region = mask(geometry, np.s_[1:2, 10:12, 10:12], np.s_[3:4, 20:30, 20:30])
    (panel,) = make_panels({"t1c": volume(geometry)}, {("t1c", "tumor", "L"): region})
    assert (panel.slice_number, panel.slices, panel.side) == (4, 5, "L")
    top, left = panel.offset_yx
    rows, columns = panel.image_yx.shape
    whole = volume(geometry).voxels_zyx[3]
    assert np.array_equal(panel.image_yx, whole[top : top + rows, left : left + columns].astype(np.float32))
    assert top <= 20
    assert top + rows >= 30
    assert left <= 20
    assert left + columns >= 30


def test_a_region_at_the_border_moves_the_crop_instead_of_shrinking_it() -> None:
    geometry = grid((2, 100, 200))
    corner = mask(geometry, np.s_[0:1, 0:3, 198:200])
    (panel,) = make_panels({"t2": volume(geometry)}, {("t2", "lymph_nodes", None): corner})
    assert panel.image_yx.shape == (40, 80)
    assert panel.offset_yx == (0, 120)


def test_an_empty_mask_or_a_missing_sequence_makes_no_panel() -> None:
    geometry = grid()
    masks = {("t1c", "tumor", None): mask(geometry), ("t2", "tumor", None): mask(geometry, np.s_[0:1, 0:2, 0:2])}
    assert make_panels({"t1c": volume(geometry)}, masks) == ()


def test_contours_are_in_pixels_of_the_whole_slice() -> None:
    geometry = grid()
    (panel,) = make_panels(
        {"t1c": volume(geometry)}, {("t1c", "tumor", None): mask(geometry, np.s_[2:3, 40:44, 30:33])}
    )
    (contour,) = panel.contours
    assert contour.points_xy.min(axis=0).tolist() == [30, 40]
    assert contour.points_xy.max(axis=0).tolist() == [33, 44]


def test_nodes_have_the_numbers_of_the_result() -> None:
    geometry = grid()
    region = mask(geometry, np.s_[1:3, 10:12, 10:12], np.s_[2:5, 30:33, 10:12])
    numbers = np.zeros((4, 23, 2), np.uint16)
    numbers[:, :5], numbers[:, 5:] = 7, 3
    numbers[~region.voxels_zyx[region.box_zyx]] = 0
    masks = {("t1c", "lymph_nodes", None): Mask(region.voxels_zyx, geometry, numbers)}
    (panel,) = make_panels({"t1c": volume(geometry)}, masks)
    assert {c.number: c.points_xy[:, 1].min() for c in panel.contours} == {7: 10.0, 3: 30.0}


def test_all_panels_of_nodes_show_the_same_node_each_in_its_largest_slice() -> None:
    """The largest on T1+C that every sequence has, though another is the largest on T2."""
    geometry = grid()
    volumes, masks = {}, {}
    sizes = {"t1c": {1: 8, 2: 6, 3: 4}, "t2": {2: 3, 3: 7}, "adc": {1: 5, 2: 4, 3: 3}}
    for n, (sequence, nodes) in enumerate(sizes.items()):
        numbers = np.zeros(geometry.shape_zyx, np.uint16)
        for number, size in nodes.items():
            numbers[(number + n) % 5, 15 * number : 15 * number + size, 20 : 20 + size] = number
        region = Mask(numbers > 0, geometry)
        volumes[sequence] = volume(geometry)
        masks[sequence, "lymph_nodes", "L"] = Mask(region.voxels_zyx, geometry, numbers[region.box_zyx])
    panels = make_panels(volumes, masks)
    assert [(p.sequence, p.node, p.slice_number) for p in panels] == [("t1c", 2, 3), ("t2", 2, 4), ("adc", 2, 5)]
    assert all({c.number for c in p.contours} >= {2} for p in panels)


def test_a_sequence_without_the_node_that_is_shown_has_no_panel_of_another() -> None:
    geometry = grid()
    masks = {}
    for sequence, number in (("t1c", 1), ("t2", 2)):
        region = mask(geometry, np.s_[1:2, 10:14, 10:14])
        numbers = np.full((1, 4, 4), number, np.uint16)
        masks[sequence, "lymph_nodes", None] = Mask(region.voxels_zyx, geometry, numbers)
    panels = make_panels({s: volume(geometry) for s in ("t1c", "t2")}, masks)
    assert [(p.sequence, p.node) for p in panels] == [("t1c", 1)]


def test_letters_at_the_edges_name_the_patients_directions() -> None:
    assert edges(grid()) == ("R", "L", "A", "P")
    assert edges(grid(direction=SAGITTAL)) == ("A", "P", "H", "F")


def test_an_oblique_slice_has_two_letters() -> None:
    c, s = np.cos(0.5), np.sin(0.5)
    assert edges(grid(direction=(c, -s, 0.0, s, c, 0.0, 0.0, 0.0, 1.0)))[:2] == ("RA", "LP")


def test_panels_survive_the_file(tmp_path: Path) -> None:
    panels = case("bilateral").panels
    save_panels(tmp_path / "panels.npz", panels)
    loaded = load_panels(tmp_path / "panels.npz")
    assert len(loaded) == len(panels) == 12
    for ours, theirs in zip(panels, loaded, strict=True):
        assert np.array_equal(ours.image_yx, theirs.image_yx)
        assert ours.source == theirs.source
        assert ours.edges == theirs.edges
        assert ours.offset_yx == theirs.offset_yx
        assert ours.node == theirs.node
        for a, b in zip(ours.contours, theirs.contours, strict=True):
            assert np.array_equal(a.points_xy, b.points_xy)
            assert (a.role, a.side, a.number) == (b.role, b.side, b.number)


def test_the_same_panels_give_the_same_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_panels(tmp_path / name, case("high").panels)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_file_that_holds_no_panels_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 nothing")
    np.savez(tmp_path / "y.npz", description=np.frombuffer(b'{"schema": "else", "panels": []}', dtype=np.uint8))
    for name in ("x.npz", "y.npz", "absent.npz"):
        with pytest.raises(InputRejected):
            load_panels(tmp_path / name)
