"""What readers measured is read from every writer's shape, and understood by the words of segments, or listed."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from pipeline.errors import NotDicom, RoiRejected
from pipeline.measurements import (
    Measurement,
    MeasurementReport,
    presentation_state,
    read_file,
    read_files,
    read_measurements,
)
from pipeline.phantom.measurements import DrawnTool, LabelPlace, Tool, ohif_report
from tests.support import measuring
from tests.support.measuring import SPEC, image, stored

IMAGE = image()
LONG, SHORT = [(10.0, 20.0), (30.0, 22.0)], [(20.0, 15.0), (19.0, 27.0)]


def only(dataset: Dataset) -> Measurement:
    report = read_measurements(stored(dataset))
    assert [n.why for n in report.not_used] == []
    (measurement,) = report.measurements
    return measurement


def refusals(dataset: Dataset) -> list[tuple[int | None, str]]:
    report = read_measurements(stored(dataset))
    assert report.measurements == ()
    return [(n.number, n.code) for n in report.not_used]


def ohif(tool: Tool = "Bidirectional", label: str = "Tumor, left", points: object = None, **how: object) -> Dataset:
    drawn = DrawnTool(tool, label, IMAGE, [*LONG, *SHORT] if points is None else points)  # type: ignore[arg-type]
    return ohif_report(SPEC, [drawn], **how)  # type: ignore[arg-type]


# Every writer's shape

point = st.tuples(st.integers(0, 400), st.integers(0, 400)).map(lambda p: (p[0] / 4, p[1] / 4))
ends = st.tuples(point, point).filter(lambda line: math.dist(*line) > 2)


def crossing(long: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """A line across the middle of another, half as long."""
    (x, y), (u, v) = long
    across = ((y - v) / 4, (u - x) / 4)
    middle = ((x + u) / 2, (y + v) / 2)
    return [(middle[0] - across[0], middle[1] - across[1]), (middle[0] + across[0], middle[1] + across[1])]


WRITERS: dict[str, Callable[[list[tuple[float, float]], list[tuple[float, float]]], Dataset]] = {
    "OHIF": lambda long, short: ohif(points=[*long, *short]),
    "highdicom": lambda long, short: measuring.highdicom_axes(IMAGE, long, short, "Tumor, left"),
    "two values by hand": lambda long, short: measuring.report(
        measuring.group(
            measuring.node("TEXT", measuring.TRACKING, TextValue="Tumor, left"),
            measuring.number(measuring.LENGTH, measuring.line(IMAGE, long)),
            measuring.number(measuring.LENGTH, measuring.line(IMAGE, short)),
        )
    ),
    "presentation state": lambda long, short: measuring.state(
        IMAGE,
        [measuring.graphic("POLYLINE", short), measuring.graphic("POLYLINE", long)],
        [measuring.text("Tumor, left")],
    ),
}


@pytest.mark.parametrize("writer", WRITERS)
@settings(max_examples=8)
@given(long=ends)
def test_long_and_short_axis_are_read_from_every_writers_shape(writer: str, long: tuple[object, object]) -> None:
    line = list(long)
    measurement = only(WRITERS[writer](line, crossing(line)))  # type: ignore[arg-type]
    assert (measurement.shape, measurement.role, measurement.side) == ("axes", "tumor", "L")
    got = [v for g in measurement.graphics for p in g.points for v in p]
    assert got == pytest.approx(measuring.flat([*line, *crossing(line)]), abs=1e-4)  # type: ignore[list-item,arg-type]
    assert {g.image.ref.sop_instance_uid for g in measurement.graphics if g.image} == {IMAGE.SOPInstanceUID}


@pytest.mark.parametrize("shape", ["highdicom", "slicer"])
def test_points_in_the_patient_keep_their_frame_of_reference(shape: str) -> None:
    long, short = [(1.5, -2.0, 3.0), (11.5, -2.0, 3.0)], [(6.0, -6.0, 3.0), (6.0, 2.0, 3.0)]
    dataset = (
        measuring.highdicom_axes(IMAGE, long, short, "Tumor, left", in_patient=True)
        if shape == "highdicom"
        else measuring.report(measuring.slicer_line(long, "Tumor, left", "1.2.3.4"))
    )
    measurement = only(dataset)
    assert measurement.graphics[0].points == tuple(long)
    assert {g.frame_of_reference_uid for g in measurement.graphics} == {"1.2.3.4"}


SQUARE = [(10.0, 10.0), (30.0, 10.0), (30.0, 20.0), (10.0, 20.0)]
TRIANGLE = [(10.0, 10.0), (30.0, 10.0), (25.0, 20.0)]


@pytest.mark.parametrize(
    ("tool", "points", "shape", "count"),
    [
        ("Length", LONG, "length", 2),
        ("EllipticalROI", [*LONG, *SHORT], "ellipse", 4),
        ("CircleROI", LONG, "circle", 2),
        ("RectangleROI", SQUARE, "rectangle", 4),
        ("RectangleROI", [*SQUARE, SQUARE[0]], "rectangle", 4),
        ("PlanarFreehandROI", [*TRIANGLE, TRIANGLE[0]], "outline", 3),
        ("ArrowAnnotate", LONG[:1], "point", 1),
        ("ArrowAnnotate", LONG, "point", 2),
    ],
)
def test_every_tool_of_the_viewer_has_its_shape(tool: Tool, points: object, shape: str, count: int) -> None:
    measurement = only(ohif(tool, points=points))
    assert (measurement.shape, len(measurement.graphics[0].points)) == (shape, count)


circle = ends.map(list)
ellipse = ends.map(lambda line: [*line, *crossing(list(line))])
outline = st.lists(point, min_size=3, max_size=40, unique=True)
SHAPES: dict[str, tuple[Tool, str, st.SearchStrategy[list[tuple[float, float]]]]] = {
    "circle": ("CircleROI", "CIRCLE", circle),
    "ellipse": ("EllipticalROI", "ELLIPSE", ellipse),
    "outline": ("PlanarFreehandROI", "POLYLINE", outline),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("writer", ["OHIF", "highdicom", "presentation state"])
@settings(max_examples=6)
@given(data=st.data())
def test_what_surrounds_a_lesion_is_read_as_it_was_drawn(writer: str, shape: str, data: st.DataObject) -> None:
    tool, kind, strategy = SHAPES[shape]
    points = data.draw(strategy)
    drawn = [*points, points[0]] if kind == "POLYLINE" else points
    if writer == "OHIF":
        measurement = only(ohif(tool, points=drawn))
    elif writer == "highdicom":
        measurement = only(measuring.highdicom_region(IMAGE, kind, drawn, "Tumor"))
    else:
        measurement = only(measuring.state(IMAGE, [measuring.graphic(kind, drawn)], [measuring.text("Tumor")]))
    assert measurement.shape == shape or (measurement.shape == "rectangle" and len(points) == 4)
    assert measuring.flat(measurement.graphics[0].points) == pytest.approx(measuring.flat(points), abs=1e-4)


def test_a_region_and_the_values_measured_on_it_are_one_measurement() -> None:
    assert only(measuring.highdicom_region(IMAGE, "CIRCLE", LONG, "LN 2 right")).shape == "circle"


def test_where_the_text_of_a_label_stands_is_no_shape() -> None:
    place = measuring.node(
        "SCOORD", ("TEXTPOS", "99X", "Text annotation position"), measuring.image_node(IMAGE),
        GraphicType="POINT", GraphicData=[1.0, 2.0],
    )  # fmt: skip
    dataset = measuring.report(
        measuring.group(
            measuring.node("TEXT", measuring.COMMENT, TextValue="tumor"),
            measuring.number(measuring.LENGTH, measuring.line(IMAGE, LONG)),
            place,
        )
    )
    assert only(dataset).shape == "length"


def test_the_handles_of_a_spline_and_its_kind_are_no_shape_and_no_label() -> None:
    """The viewer keeps them beside the line itself, in the same value."""
    handles = measuring.node(
        "SCOORD", ("ControlPoints", "99CS3D", "Control Points"), measuring.image_node(IMAGE),
        GraphicType="MULTIPOINT", GraphicData=measuring.flat(TRIANGLE),
    )  # fmt: skip
    perimeter = measuring.number(("131191004", "SCT", "Perimeter"), measuring.line(IMAGE, [*TRIANGLE, TRIANGLE[0]]))
    perimeter.ContentSequence = [*perimeter.ContentSequence, handles]
    kind = measuring.node("TEXT", ("SplineType", "99CS3D", "Spline Type"), TextValue="LINEAR")
    label = measuring.node("TEXT", measuring.COMMENT, TextValue="Tumor")
    measurement = only(measuring.report(measuring.group(kind, label, perimeter)))
    assert (measurement.shape, measurement.label) == ("outline", "Tumor")


def test_a_measurement_of_a_reformatted_view_may_name_no_image() -> None:
    line = measuring.slicer_line([(1.0, 2.0, 3.0), (9.0, 2.0, 3.0)], "Tumor", "1.2.3.4")
    nowhere = measuring.image_node(IMAGE)
    nowhere.ReferencedSOPSequence[0].ReferencedSOPInstanceUID = "none"
    line.ContentSequence[1].ContentSequence[0].ContentSequence = [nowhere]
    report = read_measurements(measuring.report(line))
    assert [m.graphics[0].image for m in report.measurements] == [None]
    assert report.references == ()


OLDER = {"CS3DTEXT": ("CORNERSTONEFREETEXT", "CORNERSTONEJS"), "103339001": ("G-A185", "SRT"),
         "103340004": ("G-A186", "SRT"), "363698007": ("G-C0E3", "SRT")}  # fmt: skip


@pytest.mark.parametrize("place", ["finding_site", "finding"])
def test_codes_of_earlier_versions_of_the_viewer_are_read(place: LabelPlace) -> None:
    dataset = ohif(label_in=place)
    for element in dataset.iterall():
        for item in element.value if element.VR == "SQ" else ():
            if item.get("CodeValue") in OLDER:
                item.CodeValue, item.CodingSchemeDesignator = OLDER[item.CodeValue]
    measurement = only(dataset)
    assert (measurement.shape, measurement.role, measurement.label) == ("axes", "tumor", "Tumor, left")


def test_of_the_contours_of_a_volume_the_largest_is_taken() -> None:
    def contour(z: float, half: float) -> Dataset:
        corners = [(x * half, y * half, z) for x, y in ((-1, -1), (1, -1), (1, 1.2), (-1, 1))]
        return measuring.node(
            "SCOORD3D", ("121231", "DCM", "Volume Surface"), GraphicType="POLYGON",
            GraphicData=measuring.flat([*corners, corners[0]]), ReferencedFrameOfReferenceUID="1.2.3.4",
        )  # fmt: skip

    label = measuring.node("TEXT", measuring.COMMENT, TextValue="Tumor")
    contours = [contour(z, 9.0 - abs(z)) for z in (-2.0, 0.0, 2.0)]
    measurement = only(measuring.report(measuring.group(label, *contours)))
    assert measurement.shape == "outline"
    assert {p[2] for p in measurement.graphics[0].points} == {0.0}
    assert "of 3 contours" in measurement.notes[0]


def test_an_arrow_is_a_place_and_its_line_no_length() -> None:
    """The viewer writes an arrow as a line of two points, the tip first."""
    label = measuring.node("TEXT", measuring.COMMENT, TextValue="Tumor")
    arrow = measuring.number(("111010", "DCM", "label"), measuring.line(IMAGE, LONG), "0", "1")
    measurement = only(measuring.report(measuring.group(label, arrow)))
    assert (measurement.shape, measurement.graphics[0].points[0]) == ("point", LONG[0])


def test_an_open_line_surrounds_nothing() -> None:
    dataset = measuring.report(
        measuring.group(
            measuring.node("TEXT", measuring.COMMENT, TextValue="tumor"),
            measuring.number(measuring.LENGTH, measuring.line(IMAGE, TRIANGLE)),
        )
    )
    assert refusals(dataset) == [(1, "open-line")]


def test_a_value_of_a_segment_is_left_to_the_segmentation() -> None:
    segment = measuring.node("IMAGE", ("121191", "DCM", "Referenced Segment"))
    group = measuring.group(measuring.node("TEXT", measuring.COMMENT, TextValue="tumor"), segment)
    assert refusals(measuring.report(group)) == [(1, "of-a-segment")]


def test_coordinates_by_reference_are_looked_up_once_and_never_in_a_circle() -> None:
    inner = measuring.node("NUM", measuring.LENGTH)
    by_reference = measuring.node("", None, ReferencedContentItemIdentifier=[1, 1, 1, 2])
    inner.ContentSequence = [by_reference]
    label = measuring.node("TEXT", measuring.COMMENT, TextValue="tumor")
    there = measuring.report(measuring.group(label, measuring.line(IMAGE, LONG), inner))
    assert only(there).shape == "length"
    by_reference.ReferencedContentItemIdentifier = [1, 1, 1, 1, 1]
    circle = measuring.report(measuring.group(inner, label))
    assert refusals(circle)[0][1] == "no-coordinates"


# Labels, wherever writers put them

LABELS = [
    ("Tumor, left", "tumor", "L", None),
    ("Lymph node 2, left", "lymph_nodes", "L", 2),
    ("LN2 right", "lymph_nodes", "R", 2),
    ("LK 3 axillär links", "lymph_nodes", "L", 3),
    ("tumor 23 mm", "tumor", None, None),
    ("LN 2: 14 x 9.5 mm", "lymph_nodes", None, 2),
    ("Lesion 1", "tumor", None, 1),
    ("右侧乳腺癌", "tumor", "R", None),
    ("左腋窝淋巴结2", "lymph_nodes", "L", 2),
    ("tumour, BI-RADS 5", "tumor", None, None),
]


@pytest.mark.parametrize(("label", "role", "side", "lesion"), LABELS)
@pytest.mark.parametrize("place", ["finding_site", "finding", "comment"])
def test_a_label_is_understood_in_every_place(
    label: str, role: str, side: str | None, lesion: int | None, place: LabelPlace
) -> None:
    measurement = only(ohif(label=label, label_in=place))
    assert (measurement.role, measurement.side, measurement.lesion) == (role, side, lesion)
    assert measurement.label == label


CODED = [
    (("108369006", "SCT", "Neoplasm"), ("76752008", "SCT", "Breast"), "tumor"),
    (("M-80003", "SRT", "Neoplasm, Primary"), ("T-04000", "SRT", "Breast"), "tumor"),
    (("4147007", "SCT", "Mass"), ("68171009", "SCT", "Axillary lymph node"), "lymph_nodes"),
    (("59441001", "SCT", "Lymph node"), ("T-D8104", "SRT", "Axilla"), "lymph_nodes"),
]


@pytest.mark.parametrize(("finding", "site", "role"), CODED)
@pytest.mark.parametrize("side", [("7771000", "SCT", "Left"), ("G-A101", "SRT", "Left")])
def test_finding_and_site_by_code_tell_role_and_side(
    finding: tuple[str, str, str], site: tuple[str, str, str], role: str, side: tuple[str, str, str]
) -> None:
    measurement = only(measuring.highdicom_axes(IMAGE, LONG, SHORT, "1", finding, site, side))
    assert (measurement.role, measurement.side) == (role, "L")


@pytest.mark.parametrize(
    ("label", "code"),
    [
        ("", "no-role"),
        ("cyst", "no-role"),
        ("tumor + 5 mm", "no-role"),
        ("左侧测量", "no-role"),
        ("tumor and lymph node", "contradictory"),
        ("tumor left right", "contradictory"),
        ("axillary lesion", "contradictory"),
    ],
)
def test_what_is_unclear_is_listed_and_never_guessed(label: str, code: str) -> None:
    assert refusals(ohif(label=label)) == [(1, code)]


def test_two_texts_that_contradict_each_other_are_listed() -> None:
    group = measuring.group(
        measuring.node("TEXT", measuring.TRACKING, TextValue="Lymph node 1"),
        measuring.node("TEXT", measuring.COMMENT, TextValue="Tumour"),
        measuring.number(measuring.LENGTH, measuring.line(IMAGE, LONG)),
    )
    assert refusals(measuring.report(group)) == [(1, "contradictory")]


# Presentation states


def test_each_shape_of_a_state_has_the_text_linked_to_it_or_anchored_at_it() -> None:
    graphics = [
        measuring.graphic("ELLIPSE", [*LONG, *SHORT], linked=1),
        measuring.graphic("CIRCLE", [(70.0, 70.0), (75.0, 70.0)]),
        measuring.graphic("POINT", [(90.0, 20.0)]),
    ]
    texts = [
        measuring.text("Tumor L", linked=1),
        measuring.text("LN 1", (75.0, 71.0)),
        measuring.text("LN 2", (91.0, 20.0)),
    ]
    report = read_measurements(stored(measuring.state(IMAGE, graphics, texts)))
    got = {(m.shape, m.role, m.lesion) for m in report.measurements}
    assert got == {("ellipse", "tumor", None), ("circle", "lymph_nodes", 1), ("point", "lymph_nodes", 2)}


def test_one_text_at_two_shapes_that_are_no_axes_is_listed() -> None:
    circles = [measuring.graphic("CIRCLE", [(x, 70.0), (x + 5, 70.0)]) for x in (30.0, 70.0)]
    assert refusals(measuring.state(IMAGE, circles, [measuring.text("Tumor")])) == [(1, "several-shapes")]


def test_graphics_in_units_of_the_display_are_listed() -> None:
    shapes = [measuring.graphic("CIRCLE", [(0.5, 0.5), (0.6, 0.5)], units="DISPLAY")]
    assert refusals(measuring.state(IMAGE, shapes, [measuring.text("Tumor")])) == [(1, "not-in-pixels")]


# Bad input


def tumor(*content: Dataset) -> Dataset:
    return measuring.report(measuring.group(measuring.node("TEXT", measuring.COMMENT, TextValue="tumor"), *content))


def scoord(kind: str, data: object, *content: Dataset) -> Dataset:
    item = measuring.node("SCOORD", None, *content, GraphicType=kind)
    item.GraphicData = data
    return measuring.number(measuring.LENGTH, item)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (scoord("POLYLINE", [1.0, 2.0, 3.0], measuring.image_node(IMAGE)), "damaged-coordinates"),
        (scoord("POLYLINE", [1.0, 2.0, float("nan"), 3.0], measuring.image_node(IMAGE)), "damaged-coordinates"),
        (scoord("POLYLINE", [], measuring.image_node(IMAGE)), "no-coordinates"),
        (scoord("ELLIPSOID", [1.0] * 12, measuring.image_node(IMAGE)), "unknown-shape"),
        (scoord("CIRCLE", [1.0, 2.0], measuring.image_node(IMAGE)), "damaged-coordinates"),
        (scoord("POLYLINE", [1.0, 2.0, 3.0, 4.0]), "no-image"),
        (scoord("POLYLINE", [1.0, 2.0, 3.0, 4.0], measuring.image_node(IMAGE, [1, 2])), "several-frames"),
        (scoord("POLYLINE", [1.0] * 12_000, measuring.image_node(IMAGE)), "damaged-coordinates"),
        (scoord("POLYLINE", [1.0] * 16_000, measuring.image_node(IMAGE)), "too-many-points"),
    ],
)
def test_coordinates_that_cannot_be_used_are_listed(content: Dataset, code: str) -> None:
    assert refusals(tumor(content)) == [(1, code)]


def test_axes_on_two_images_lie_in_different_slices() -> None:
    axes = [
        measuring.number(("103339001", "SCT", "Long Axis"), measuring.line(IMAGE, LONG)),
        measuring.number(("103340004", "SCT", "Short Axis"), measuring.line(image(2), SHORT)),
    ]
    assert refusals(tumor(*axes)) == [(1, "axes-apart")]


def too_large(dataset: Dataset) -> None:
    with pytest.raises(RoiRejected) as refusal:
        read_measurements(dataset)
    assert refusal.value.code == "measurements-too-large"
    assert str(dataset.SOPInstanceUID) in refusal.value.message


def test_trees_beyond_the_limits_are_refused() -> None:
    deep = measuring.node("CONTAINER")
    for _ in range(30):
        deep = measuring.node("CONTAINER", None, deep)
    too_large(measuring.report(deep))
    too_large(measuring.report(*[measuring.node("TEXT", measuring.COMMENT, TextValue="x")] * 10_001))
    too_large(measuring.report(*[measuring.group()] * 501))


def test_each_text_of_a_state_is_read_once_and_too_many_graphics_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    anchors: list[Dataset] = []
    monkeypatch.setattr(presentation_state, "_anchor", anchors.append)
    state = measuring.state(IMAGE, [measuring.graphic("POLYLINE", LONG)] * 30, [measuring.text("Tumor, left")] * 40)
    read_measurements(stored(state))
    assert len(anchors) == 40
    state.GraphicAnnotationSequence = [*state.GraphicAnnotationSequence] * 30
    too_large(stored(state))


def test_a_file_of_too_many_items_or_bytes_is_refused_before_anything_is_made_of_it(tmp_path: Path) -> None:
    """Items of a sequence, and a sparse file: neither takes memory to speak of."""
    path = measuring.store(measuring.report(), tmp_path / "sr.dcm")
    begin = path.read_bytes()[: path.read_bytes().index(b"\x40\x00\x30\xa7")]
    items = b"\xfe\xff\x00\xe0\0\0\0\0" * 200_000
    end = b"\xfe\xff\xdd\xe0\0\0\0\0"
    path.write_bytes(begin + b"\x40\x00\x30\xa7SQ\0\0\xff\xff\xff\xff" + items + end)
    tracemalloc.start()
    with pytest.raises(RoiRejected) as refusal:
        read_file(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert refusal.value.code == "measurements-too-large"
    assert most < 3 * len(items)
    with path.open("ab") as file:
        file.truncate(17 << 20)
    with pytest.raises(RoiRejected, match="longer than 16 MB"):
        read_file(path)


def test_one_object_that_cannot_be_read_leaves_the_others(tmp_path: Path) -> None:
    good, bad = measuring.store(ohif(), tmp_path / "good.dcm"), tmp_path / "bad.dcm"
    bad.write_bytes(b"no DICOM at all")
    reports, unreadable = read_files([bad, good])
    assert [len(r.measurements) for r in reports] == [1]
    assert [(path, error.code) for path, error in unreadable] == [(bad, "not-dicom")]
    with pytest.raises(NotDicom):
        read_files([bad])


def test_what_is_no_measurement_object_or_a_report_of_ours_is_refused() -> None:
    with pytest.raises(RoiRejected, match="no report") as refusal:
        read_measurements(IMAGE)
    assert refusal.value.code == "no-measurements"
    with pytest.raises(RoiRejected) as ours:
        read_measurements(measuring.report(Manufacturer="axrad"))
    assert ours.value.code == "own-report"
    assert refusals(measuring.report()) == [(None, "no-measurements")]


@settings(max_examples=60)
@given(st.data())
def test_a_damaged_report_is_read_or_refused_by_an_error_of_ours(data: st.DataObject) -> None:
    dataset = ohif()
    places = [dataset, *dataset.ContentSequence, *dataset.ContentSequence[2].ContentSequence[0].ContentSequence]
    place = data.draw(st.sampled_from(places))
    element = data.draw(st.sampled_from([e.tag for e in place]))
    if data.draw(st.booleans()) or place[element].VR in ("SQ", "FL"):
        del place[element]
    else:
        place[element].value = None
    try:
        report = read_measurements(dataset)
    except (RoiRejected, NotDicom):
        return
    assert isinstance(report, MeasurementReport)
    assert len(report.measurements) + len(report.not_used) >= 1


def test_readers_are_told_apart_without_their_names() -> None:
    by_name = {name: read_measurements(ohif(reader=name)) for name in ("Reader^One", "Reader^Two", "unknown^unknown")}
    assert by_name["unknown^unknown"].reader_key == ""
    assert len({r.reader_key for r in by_name.values()}) == 3
    assert not any("Reader" in repr(r) for r in by_name.values())


def test_the_images_of_a_report_are_named_with_their_series_and_study() -> None:
    report = read_measurements(stored(ohif()))
    (reference,) = report.references
    expected = (IMAGE.StudyInstanceUID, IMAGE.SeriesInstanceUID, IMAGE.SOPClassUID, IMAGE.SOPInstanceUID)
    assert (reference.study_uid, reference.series_uid, reference.sop_class_uid, reference.sop_instance_uid) == expected
