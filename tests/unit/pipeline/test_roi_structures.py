"""Contours of an RTSTRUCT are filled as geometry says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from config.schema import RoiSettings
from pipeline.catalog import read_facts
from pipeline.errors import GeometryRejected, RoiRejected
from pipeline.roi import draw_on, open_object, read
from pipeline.roi.export import export
from pipeline.roi.polygon_fill import filled
from pipeline.roi.read import read_all
from tests.support.slices import facts, grid, item, uid, volume, write_slices, write_structures

GRID = grid((20, 60, 60), (1.0, 1.0, 2.0), (-10.0, 5.0, 3.0))


def circle(radius: float, z: float, centre: tuple[float, float] = (20.0, 35.0), points: int = 120) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    x, y = centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)
    return np.stack([x, y, np.full(points, z)], axis=1)


def drawn(path: Path, geometry=GRID, number: int = 1):
    return draw_on(open_object(path), geometry, [number], 0.5)[number]


@settings(max_examples=60, deadline=None)
@given(
    centre=st.tuples(st.floats(25, 35), st.floats(25, 35)),
    half=st.tuples(st.floats(3, 20), st.floats(3, 20)),
    angle=st.floats(0, 3),
)
def test_a_pixel_is_in_exactly_if_its_centre_is_inside(centre, half, angle) -> None:
    """Against the definition of a turned ellipse's inside; pixels within rounding of the outline may be either."""
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    t = np.linspace(0, 2 * np.pi, 4000, endpoint=False)
    outline = (turn @ np.stack([half[0] * np.cos(t), half[1] * np.sin(t)])).T + centre
    y, x = np.mgrid[:60, :60]
    local = np.stack([x - centre[0], y - centre[1]], axis=-1) @ turn
    level = (local[..., 0] / half[0]) ** 2 + (local[..., 1] / half[1]) ** 2
    mask = filled([outline], (60, 60))
    sure = np.abs(level - 1) > 1e-4
    assert np.array_equal(mask[sure], (level < 1)[sure])


def test_a_cylinder_holds_the_voxels_of_a_cylinder(tmp_path: Path) -> None:
    path = write_structures(tmp_path / "r.dcm", {1: [circle(12.3, 3.0 + 2 * z) for z in range(4, 9)]}, {1: "Tumor"})
    canvas = drawn(path)
    y, x = np.mgrid[:60, :60] - 30
    assert all(np.array_equal(canvas.voxels_zyx[z], x**2 + y**2 < 12.3**2) for z in range(4, 9))
    assert np.flatnonzero(canvas.voxels_zyx.any(axis=(1, 2))).tolist() == [4, 5, 6, 7, 8]
    assert canvas.resampled == 0


def test_a_contour_inside_another_is_a_hole_and_an_island_in_it_is_in(tmp_path: Path) -> None:
    rings = [circle(15, 11.0), circle(10, 11.0), circle(4, 11.0)]
    voxels = drawn(write_structures(tmp_path / "r.dcm", {1: rings}, {1: "Tumor"})).voxels_zyx[4]
    assert voxels.sum() == pytest.approx(np.pi * (225 - 100 + 16), rel=0.02)
    assert voxels[30, 30]
    assert not voxels[30, 30 + 7]
    assert voxels[30, 30 + 12]


def test_a_keyhole_leaves_the_same_hole(tmp_path: Path) -> None:
    outer, inner = circle(15, 11.0), circle(8, 11.0)[::-1]
    keyhole = np.concatenate([outer, outer[:1], inner[-1:], inner, outer[:1]])
    voxels = drawn(write_structures(tmp_path / "r.dcm", {1: [keyhole]}, {1: "Tumor"})).voxels_zyx[4]
    assert voxels.sum() == pytest.approx(np.pi * (225 - 64), rel=0.02)
    assert not voxels[30, 30]


def test_a_contour_written_twice_counts_once(tmp_path: Path) -> None:
    path = write_structures(tmp_path / "r.dcm", {1: [circle(9, 11.0)] * 2}, {1: "Tumor"})
    assert drawn(path).voxels_zyx.sum() == pytest.approx(np.pi * 81, rel=0.02)


def test_contours_between_slices_fill_the_slices_of_their_thickness(tmp_path: Path) -> None:
    """Drawn every 4 mm on another series, the first 1 mm off a slice of 2 mm spacing: no slice is left out."""
    path = write_structures(tmp_path / "r.dcm", {1: [circle(9, 12.0 + 4 * n) for n in range(3)]}, {1: "Tumor"})
    canvas = drawn(path)
    assert canvas.resampled == 3
    assert np.flatnonzero(canvas.voxels_zyx.any(axis=(1, 2))).tolist() == [4, 5, 6, 7, 8, 9]


def test_sagittal_contours_fill_an_axial_image(tmp_path: Path) -> None:
    """A ball drawn in sagittal planes 1 mm apart, on an image that is sliced axially."""
    contours = []
    for x in np.arange(-9.0, 10.0):
        ring = circle(float(np.sqrt(10**2 - x**2)), 0.0, (0.0, 0.0))
        contours.append(np.stack([np.full(len(ring), 20.0 + x), 35.0 + ring[:, 0], 23.0 + ring[:, 1]], axis=1))
    canvas = drawn(write_structures(tmp_path / "r.dcm", {1: contours}, {1: "Tumor"}))
    z, y, x = np.mgrid[:20, :60, :60]
    ball = (2 * (z - 10)) ** 2 + (y - 30) ** 2 + (x - 30) ** 2 < 10**2
    # Pixels of half a millimetre in the contours' own plane: only voxels on the surface may differ.
    assert np.count_nonzero(ball ^ canvas.voxels_zyx) < 0.03 * np.count_nonzero(ball)
    assert np.argwhere(canvas.voxels_zyx).mean(axis=0) == pytest.approx([10, 30, 30], abs=0.15)


def test_a_structure_set_gives_tumour_and_nodes_by_name(tmp_path: Path) -> None:
    contours = {1: [circle(9, 11.0)], 2: [circle(3, 21.0)], 3: [circle(25, 11.0)]}
    path = write_structures(tmp_path / "r.dcm", contours, {1: "肿瘤", 2: "ALN left", 3: "BODY"})
    image = volume(np.zeros(GRID.shape_zyx, np.int16), GRID)
    found = {r.role: r for r in read([facts(path)], image, RoiSettings())}
    assert set(found) == {"tumor", "lymph_nodes"}
    assert found["lymph_nodes"].side == "L"
    assert found["tumor"].mask.volume_mm3 == pytest.approx(np.pi * 81 * 2, rel=0.02)


def test_points_and_open_lines_enclose_nothing(tmp_path: Path) -> None:
    path = write_structures(tmp_path / "r.dcm", {1: [circle(9, 11.0)]}, {1: "Tumor"}, kind="OPEN_PLANAR")
    canvas = drawn(path)
    assert not canvas.voxels_zyx.any()
    assert canvas.notes == ["contours left out: 1 (points and open lines enclose nothing)"]


def test_a_contour_that_is_not_flat_is_refused(tmp_path: Path) -> None:
    bent = circle(9, 11.0)
    bent[:, 2] += np.sin(np.linspace(0, 6 * np.pi, len(bent)))
    path = write_structures(tmp_path / "r.dcm", {1: [bent]}, {1: "Tumor"})
    with pytest.raises(RoiRejected, match="not flat"):
        drawn(path)


DEGENERATE = {
    "one point": ("20\\35\\11", "on one line"),
    "two points": ("20\\35\\11\\22\\35\\11", "on one line"),
    "one point, many times": ("\\".join(["20\\35\\11"] * 5), "on one line"),
    "two points and the first again": ("20\\35\\11\\22\\35\\11\\20\\35\\11", "on one line"),
    "a slanted line there and back": ("20\\35\\11\\21\\36\\11\\22\\37\\11\\21\\36\\11", "on one line"),
    "nothing": ("", "no points"),
    "half a point": ("20\\35\\11\\22\\35\\11\\22\\30\\11\\5", "do not come in threes"),
    "a word": ("20\\35\\11\\x\\35\\11\\22\\30\\11", "no numbers (text)"),
    "not a number": ("20\\35\\11\\nan\\35\\11\\22\\30\\11", "no numbers (not finite)"),
    "a hole in the list": ("20\\35\\\\22\\35\\11\\22\\30\\11", "one is empty"),
    "a point at the other end of the world": ("20\\35\\11\\9e9\\35\\11\\22\\30\\11", "longer than 2 m"),
}


def spoilt(path: Path, number: int, data: str) -> Path:
    """The structure set with one more contour in ROI `number`, whose data are these bytes."""
    ds = dcmread(path)
    tag = Tag("ContourData")
    raw = RawDataElement(tag, "DS", len(data), data.encode(), 0, False, True)
    contour = item(ContourGeometricType="CLOSED_PLANAR", NumberOfContourPoints=1)
    contour._dict[tag] = raw
    ds.ROIContourSequence[number - 1].ContourSequence.append(contour)
    ds.save_as(path)
    return path


@pytest.mark.parametrize("data", DEGENERATE)
@pytest.mark.parametrize("number", [1, 3])
def test_a_contour_that_encloses_nothing_is_left_out_and_counted(tmp_path: Path, data: str, number: int) -> None:
    """In the tumour or in another region: what the other contours enclose is read as though it were not there."""
    text, why = DEGENERATE[data]
    contours = {1: [circle(9, 11.0)], 2: [circle(3, 21.0)], 3: [circle(25, 11.0)]}
    names = {1: "Tumor", 2: "Axillary LN", 3: "BODY"}
    whole = drawn(write_structures(tmp_path / "whole.dcm", contours, names))
    path = spoilt(write_structures(tmp_path / "r.dcm", contours, names), number, text)
    assert np.array_equal(drawn(path).voxels_zyx, whole.voxels_zyx)
    (note,) = drawn(path, number=number).notes
    assert note.startswith("contours left out: 1 (")
    assert why in note
    image = volume(np.zeros(GRID.shape_zyx, np.int16), GRID)
    tumor = {r.role: r for r in read([facts(path)], image, RoiSettings())}["tumor"]
    assert ("contours left out" in tumor.why) == (number == 1)


def test_a_decimal_comma_in_a_contour_is_read_and_told(tmp_path: Path) -> None:
    data = "\\".join(f"{v:.3f}".replace(".", ",") for v in circle(9, 11.0).ravel())
    path = write_structures(tmp_path / "r.dcm", {1: [circle(4, 21.0)]}, {1: "Tumor"})
    canvas = drawn(spoilt(path, 1, data))
    assert canvas.voxels_zyx[4].sum() == pytest.approx(np.pi * 81, rel=0.02)
    assert canvas.notes == ["contours written with a decimal comma: 1"]


def test_contours_of_one_region_in_two_items_are_all_drawn(tmp_path: Path) -> None:
    path = write_structures(tmp_path / "r.dcm", {1: [circle(9, 11.0)], 2: [circle(9, 13.0)]}, {1: "Tumor"})
    ds = dcmread(path)
    ds.ROIContourSequence[1].ReferencedROINumber = 1
    ds.save_as(path)
    assert np.flatnonzero(drawn(path).voxels_zyx.any(axis=(1, 2))).tolist() == [4, 5]


def test_contours_in_another_frame_of_reference_are_refused(tmp_path: Path) -> None:
    path = write_structures(tmp_path / "r.dcm", {1: [circle(9, 11.0)]}, {1: "Tumor"}, frame="8.8")
    with pytest.raises(GeometryRejected, match="another frame of reference"):
        read([facts(path)], volume(np.zeros(GRID.shape_zyx, np.int16), GRID), RoiSettings())


def placed(path: Path, number: int, images: list[str]) -> Path:
    """The structure set with the image named that each contour of a ROI was drawn on."""
    ds = dcmread(path)
    for contour, image in zip(ds.ROIContourSequence[number - 1].ContourSequence, images, strict=True):
        contour.ContourImageSequence = [item(ReferencedSOPInstanceUID=image)]
    ds.save_as(path)
    return path


@pytest.mark.parametrize(("off", "astray"), [(0, 0), (1, 3), (3, 3)])
def test_contours_off_the_images_that_they_name_are_told(tmp_path: Path, off: int, astray: int) -> None:
    voxels = np.zeros(GRID.shape_zyx, np.int16)
    images = [read_facts(p) for p in write_slices(tmp_path / "img", voxels, GRID)]
    path = write_structures(tmp_path / "r.dcm", {1: [circle(9, 11.0 + 2 * n) for n in range(3)]}, {1: "Tumor"})
    placed(path, 1, [uid("s", 4 + n + off) for n in range(3)])
    (tumor,) = read([facts(path)], volume(voxels, GRID), RoiSettings(), images=images)
    found = tumor.segments[0].contradictions
    assert [(c.kind, c.value, c.stops) for c in found] == ([("position", 2.0 * off, True)] if astray else [])
    assert all(f"3 of 3 contours lie up to {2 * off:.2f} mm ({off:.1f} slices)" in c.text for c in found)


def test_an_image_that_contours_on_several_planes_name_contradicts_none(tmp_path: Path) -> None:
    """OHIF names one image for all contours."""
    voxels = np.zeros(GRID.shape_zyx, np.int16)
    images = [read_facts(p) for p in write_slices(tmp_path / "img", voxels, GRID)]
    path = write_structures(tmp_path / "r.dcm", {1: [circle(9, 11.0 + 2 * n) for n in range(3)]}, {1: "Tumor"})
    placed(path, 1, [uid("s", 4)] * 3)
    (tumor,) = read([facts(path)], volume(voxels, GRID), RoiSettings(), images=images)
    assert tumor.segments[0].contradictions == ()


def elsewhere(path: Path, number: int) -> Path:
    ds = dcmread(path)
    ds.StructureSetROISequence[number - 1].ReferencedFrameOfReferenceUID = "8.8"
    ds.save_as(path)
    return path


def test_a_frame_of_reference_that_is_no_uid_is_named_by_its_kind(tmp_path: Path) -> None:
    path = write_structures(tmp_path / "r.dcm", {1: [circle(9, 11.0)]}, {1: "Tumor"}, frame="Doe^Jane")
    with pytest.raises(GeometryRejected, match="Frame of Reference UID is unreadable: text that is no UID") as told:
        read([facts(path)], volume(np.zeros(GRID.shape_zyx, np.int16), GRID), RoiSettings())
    assert "Doe" not in told.value.message


def test_regions_on_the_images_are_read_beside_those_in_another_frame_of_reference(tmp_path: Path) -> None:
    contours = {1: [circle(9, 11.0)], 2: [circle(3, 21.0)], 3: [circle(8, 15.0)]}
    names = {1: "GTVp", 2: "Axillary LN", 3: "GTVp CT"}
    path = elsewhere(write_structures(tmp_path / "r.dcm", contours, names), 3)
    reading = read_all([facts(path)], volume(np.zeros(GRID.shape_zyx, np.int16), GRID), RoiSettings())
    assert [[s.number for s in r.segments] for r in reading.rois] == [[1], [2]]
    assert [(left.label, left.why) for left in reading.left_out] == [
        ("GTVp CT", "it lies in another frame of reference than the images")
    ]


def test_a_region_that_is_drawn_in_another_frame_of_reference_only_is_missed(tmp_path: Path) -> None:
    path = write_structures(tmp_path / "r.dcm", {1: [circle(9, 11.0)], 2: [circle(3, 21.0)]}, {1: "Tumor", 2: "LN"})
    with pytest.raises(GeometryRejected, match=r"segment 2 \(LN\) .* another frame of reference"):
        read([facts(elsewhere(path, 2))], volume(np.zeros(GRID.shape_zyx, np.int16), GRID), RoiSettings())


def test_a_region_that_is_not_ours_and_cannot_be_drawn_stops_no_export(tmp_path: Path) -> None:
    write_slices(tmp_path / "img", np.zeros(GRID.shape_zyx, np.int16), GRID)
    bent = circle(20, 11.0)
    bent[:, 2] += np.sin(np.linspace(0, 6 * np.pi, len(bent)))
    contours = {1: [circle(9, 11.0)], 2: [bent], 3: [circle(9, 13.0)]}
    path = write_structures(tmp_path / "r.dcm", contours, {1: "Tumor", 2: "BODY", 3: "Heart"})
    told = export(elsewhere(path, 3), tmp_path / "img", tmp_path / "out", RoiSettings())
    assert [s["number"] for s in told["segments"]] == [1]
    assert told["rois"]["tumor"]["voxels"] == 253
    assert any("segment 2 is left out" in r and "not flat" in r for r in told["reasons"])
    assert any("segment 3 is left out" in r and "frame of reference" in r for r in told["reasons"])


def test_a_region_of_ours_that_cannot_be_drawn_is_still_refused(tmp_path: Path) -> None:
    write_slices(tmp_path / "img", np.zeros(GRID.shape_zyx, np.int16), GRID)
    bent = circle(9, 11.0)
    bent[:, 2] += np.sin(np.linspace(0, 6 * np.pi, len(bent)))
    path = write_structures(tmp_path / "r.dcm", {1: [bent], 2: [circle(20, 11.0)]}, {1: "Tumor", 2: "BODY"})
    with pytest.raises(RoiRejected, match="not flat"):
        export(path, tmp_path / "img", tmp_path / "out", RoiSettings())
