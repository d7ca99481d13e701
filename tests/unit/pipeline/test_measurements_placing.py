"""Measurements on an exam's grid: every point where the reader put it, and every reason why one is not used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from scipy.spatial.transform import Rotation

from pipeline.catalog import read_facts
from pipeline.catalog.facts import InstanceFacts
from pipeline.geometry import Geometry
from pipeline.measurements import MeasurementReport, Placed, Placement, merged, placed, read_measurements, renumbered
from pipeline.phantom import PhantomSpec
from pipeline.phantom.measurements import DrawnTool, ohif_report
from pipeline.proposal.records import Axes, Outline
from tests.support import measuring
from tests.support.measuring import SPEC, image, store, stored

Floats = npt.NDArray[np.float64]
GRID = Geometry((20, 100, 120), (1.0, 1.0, 2.0), (-50.0, -40.0, 0.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0), "1.2.3.4")
LONG, SHORT = [(40.0, 50.0), (60.0, 50.0)], [(50.0, 45.0), (50.0, 55.0)]
AXES = [*LONG, *SHORT]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images")


def facts(folder: Path, *images: Dataset) -> list[InstanceFacts]:
    return [read_facts(store(each, folder / f"{each.SOPInstanceUID}.dcm")) for each in images]


def ohif(of: Dataset, *points: object, labels: Sequence[str] = ("Tumor, left",), **how: object) -> MeasurementReport:
    drawn = [DrawnTool("Bidirectional", label, of, p) for label, p in zip(labels, points or [AXES], strict=True)]  # type: ignore[arg-type]
    return read_measurements(stored(ohif_report(SPEC, drawn, **how)))  # type: ignore[arg-type]


def moved(points: Sequence[tuple[float, float]], by: float) -> list[tuple[float, float]]:
    return [(x + by, y) for x, y in points]


def codes(placement: Placement) -> list[str]:
    assert placement.placed == ()
    return [n.code for n in placement.not_used]


def ends(placement: Placed) -> Floats:
    marking = placement.marking
    assert isinstance(marking, Axes)
    assert marking.short is not None
    return np.array([*marking.long, *marking.short])


# Where points lie


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    turn=st.lists(st.floats(-3, 3), min_size=3, max_size=3),
    spacing=st.tuples(st.integers(30, 300), st.integers(30, 300)),
    data=st.data(),
)
def test_pixels_of_an_oblique_image_become_the_places_that_they_were_drawn_at(
    folder: Path, turn: list[float], spacing: tuple[int, int], data: st.DataObject
) -> None:
    """The image shows a plane turned in space, its pixels are not square: the points are known in the patient first."""
    axes = Rotation.from_rotvec(turn).as_matrix()
    of = image(
        spacing_yx=(spacing[0] / 100, spacing[1] / 100), origin=(3.5, -7.25, 11.0), orientation=axes[:, :2].T.ravel(),
        series=f"oblique {turn} {spacing}", number=data.draw(st.integers(1, 10**6)),
    )  # fmt: skip
    across, down = (np.array(of.ImageOrientationPatient[n : n + 3], float) for n in (0, 3))
    scale = min(spacing) / 100
    plane = [(40 * scale, 50 * scale), (60 * scale, 50 * scale), (50 * scale, 45 * scale), (50 * scale, 55 * scale)]
    truth = np.array([np.array([3.5, -7.25, 11.0]) + across * x + down * y for x, y in plane])
    pixels = [(x / (spacing[1] / 100) + 0.5, y / (spacing[0] / 100) + 0.5) for x, y in plane]
    drawn = DrawnTool("Bidirectional", "tumor", of, pixels, (20 * scale, 10 * scale))
    report = read_measurements(stored(ohif_report(SPEC, [drawn])))
    grid = Geometry((200, 200, 200), (3.0, 3.0, 3.0), (-300.0, -300.0, -300.0), GRID.direction, "1.2.3.4")
    (one,) = placed(report, facts(folder, of), grid).placed
    assert np.abs(ends(one) - truth).max() < 1e-3


def test_the_corner_of_the_first_pixel_is_half_a_pixel_from_its_centre(folder: Path) -> None:
    of = image()
    (one,) = placed(ohif(of, moved(AXES, -39.5)), facts(folder, of), GRID).placed
    assert ends(one)[0].tolist() == pytest.approx([-50.0, 9.5, 10.0])


def test_what_was_measured_on_another_series_is_carried_by_frame_of_reference(folder: Path) -> None:
    subtraction = image(series="subtraction", origin=(-49.0, -40.0, 12.0))
    (one,) = placed(ohif(subtraction), facts(folder, subtraction), GRID).placed
    assert ends(one)[0].tolist() == pytest.approx([-9.5, 9.5, 12.0])


def test_points_in_the_patient_need_no_image(folder: Path) -> None:
    long, short = [(-10.0, 0.0, 10.0), (10.0, 0.0, 10.0)], [(0.0, -5.0, 10.0), (0.0, 5.0, 10.0)]
    of = image()
    report = read_measurements(stored(measuring.highdicom_axes(of, long, short, "Tumor", in_patient=True)))
    (one,) = placed(report, facts(folder, image(7)), GRID).placed
    assert ends(one).tolist() == [list(p) for p in (*long, *short)]


@pytest.mark.parametrize(
    ("tool", "points", "long_mm"),
    [
        ("CircleROI", [(50.0, 50.0), (60.0, 50.0)], 20.0),
        ("EllipticalROI", AXES, 20.0),
        ("RectangleROI", [(40.0, 40.0), (60.0, 40.0), (60.0, 50.0), (40.0, 50.0)], 500**0.5),
        ("PlanarFreehandROI", [(40.0, 40.0), (60.0, 40.0), (50.0, 50.0), (40.0, 40.0)], 20.0),
    ],
)
def test_what_surrounds_becomes_an_outline_of_its_size(
    folder: Path, tool: object, points: object, long_mm: float
) -> None:
    of = image()
    report = read_measurements(stored(ohif_report(SPEC, [DrawnTool(tool, "tumor", of, points)])))  # type: ignore[arg-type]
    (one,) = placed(report, facts(folder, of), GRID).placed
    assert isinstance(one.marking, Outline)
    corners = np.array(one.marking.points)
    assert np.linalg.norm(corners[:, None] - corners, axis=2).max() == pytest.approx(long_mm, rel=0.003)


def test_an_ellipse_whose_axes_have_different_middles_is_taken_as_two_axes(folder: Path) -> None:
    of = image()
    shape = [measuring.graphic("ELLIPSE", [*LONG, *moved(SHORT, 3)])]
    report = read_measurements(stored(measuring.state(of, shape, [measuring.text("Tumor")])))
    (one,) = placed(report, facts(folder, of), GRID).placed
    assert ends(one)[2:, 0].tolist() == pytest.approx([2.5, 2.5])


@pytest.mark.parametrize("edge", [(5.0, 0.0, 0.0), (0.0, 3.0, 4.0), (0.0, 0.0, 5.0)])
def test_a_circle_in_the_patient_has_its_radius_whatever_its_plane(
    folder: Path, edge: tuple[float, float, float]
) -> None:
    circle = measuring.node(
        "SCOORD3D", None, GraphicType="CIRCLE", ReferencedFrameOfReferenceUID="1.2.3.4",
        GraphicData=[0.0, 10.0, 16.0, edge[0], 10 + edge[1], 16 + edge[2]],
    )  # fmt: skip
    label = measuring.node("TEXT", measuring.COMMENT, TextValue="Tumor")
    report = read_measurements(measuring.report(measuring.group(label, measuring.number(measuring.LENGTH, circle))))
    (one,) = placed(report, facts(folder, image()), GRID).placed
    assert isinstance(one.marking, Outline)
    corners = np.array(one.marking.points)
    assert np.linalg.norm(corners - (0, 10, 16), axis=1) == pytest.approx(np.full(len(corners), 5.0))
    assert np.linalg.matrix_rank(corners - corners.mean(axis=0), tol=1e-6) == 2


def test_an_outline_of_thousands_of_points_is_thinned(folder: Path) -> None:
    of = image()
    angles = np.linspace(0, 2 * np.pi, 4000, endpoint=False)
    points = [(50 + 10 * float(np.cos(a)), 50 + 10 * float(np.sin(a))) for a in angles]
    report = read_measurements(stored(measuring.highdicom_region(of, "POLYLINE", [*points, points[0]], "tumor")))
    (one,) = placed(report, facts(folder, of), GRID).placed
    assert isinstance(one.marking, Outline)
    assert len(one.marking.points) == 200


# Why a measurement is not used


def test_images_that_never_came_are_named(folder: Path) -> None:
    here, missing = image(), image(5)
    placement = placed(ohif(missing), facts(folder, here), GRID)
    assert codes(placement) == ["images-missing"]
    assert missing.SOPInstanceUID in placement.not_used[0].why
    assert missing.SeriesInstanceUID in placement.not_used[0].why
    assert codes(placed(ohif(here), [], GRID)) == ["images-missing"]


def test_images_of_an_earlier_study_are_not_carried(folder: Path) -> None:
    prior = image(spec=PhantomSpec(8, patient=7))
    assert codes(placed(ohif(prior), facts(folder, image()), GRID)) == ["other-study"]


def test_a_report_of_another_patient_is_not_used(folder: Path) -> None:
    of = image()
    dataset = ohif_report(SPEC, [DrawnTool("Bidirectional", "tumor", of, AXES)])
    dataset.PatientID = "SOMEBODY-ELSE"
    other = read_measurements(stored(dataset))
    assert codes(placed(other, facts(folder, of), GRID)) == ["other-patient"]
    assert len(placed(other, facts(folder, of), GRID, check_patient=False).placed) == 1


@pytest.mark.parametrize("id_and_issuer", [("PHANTOM-000007", ""), ("", "")])
def test_a_report_that_leaves_out_the_issuer_or_the_patient_is_of_its_images_patient(
    folder: Path, id_and_issuer: tuple[str, str]
) -> None:
    of = image()
    dataset = ohif_report(SPEC, [DrawnTool("Bidirectional", "tumor", of, AXES)])
    dataset.PatientID, dataset.IssuerOfPatientID = id_and_issuer
    assert len(placed(read_measurements(stored(dataset)), facts(folder, of), GRID).placed) == 1


def test_another_frame_of_reference_is_not_carried(folder: Path) -> None:
    of = image(frame_of_reference="9.9")
    assert codes(placed(ohif(of), facts(folder, of), GRID)) == ["other-frame-of-reference"]


def test_without_a_frame_of_reference_only_the_grids_own_images_count(folder: Path) -> None:
    of = image(series="bare", frame_of_reference=None)
    grid = replace(GRID, frame_of_reference_uid=None)
    assert codes(placed(ohif(of), facts(folder, of), grid)) == ["no-frame-of-reference"]
    assert len(placed(ohif(of), facts(folder, of), grid, frozenset([of.SOPInstanceUID])).placed) == 1


def test_ends_outside_the_image_or_outside_the_grid_are_told(folder: Path) -> None:
    of, beyond = image(), image(9, origin=(-50.0, -40.0, 400.0))
    assert codes(placed(ohif(of, moved(AXES, 70)), facts(folder, of), GRID)) == ["outside-image"]
    assert codes(placed(ohif(beyond), facts(folder, beyond), GRID)) == ["outside-image"]


def test_axes_in_different_planes_of_the_patient_are_told(folder: Path) -> None:
    long, short = [(-10.0, 0.0, 10.0), (10.0, 0.0, 10.0)], [(0.0, -5.0, 16.0), (0.0, 5.0, 16.0)]
    of = image()
    report = read_measurements(stored(measuring.highdicom_axes(of, long, short, "Tumor", in_patient=True)))
    placement = placed(report, facts(folder, of), GRID)
    assert codes(placement) == ["no-lesion"]
    assert "different slices" in placement.not_used[0].why


def lengths(of: Dataset, value: str, unit: str) -> MeasurementReport:
    label = measuring.node("TEXT", measuring.COMMENT, TextValue="tumor")
    item = measuring.number(measuring.LENGTH, measuring.line(of, LONG), value, unit)
    return read_measurements(stored(measuring.report(measuring.group(label, item))))


@pytest.mark.parametrize(
    ("value", "unit", "code", "note"),
    [
        ("40.1", "mm", None, None),
        ("4", "cm", None, None),
        ("20", "mm", "length-contradicts", None),
        ("20", "{pixels}", None, "pixel"),
        ("40", "{pixels}", "length-contradicts", None),
        ("20", "1", None, "the length is written in 1"),
        ("", "mm", None, None),
    ],
)
def test_lengths_are_computed_from_end_points_and_written_ones_compared(
    folder: Path, value: str, unit: str, code: str | None, note: str | None
) -> None:
    of = image(series="coarse", spacing_yx=(2.0, 2.0), origin=(-100.0, -90.0, 10.0))
    grid = replace(GRID, origin_xyz_mm=(-100.0, -90.0, 0.0), shape_zyx=(20, 300, 300))
    placement = placed(lengths(of, value, unit), facts(folder, of), grid)
    if code:
        assert codes(placement) == [code]
    else:
        (one,) = placement.placed
        assert isinstance(one.marking, Axes)
        assert np.linalg.norm(np.subtract(*one.marking.long)) == pytest.approx(40.0)
        assert [note in n for n in one.notes] == ([True] if note else [])


def test_a_measurement_older_than_the_exam_is_not_used(folder: Path) -> None:
    of = image()
    dataset = measuring.report(
        measuring.group(
            measuring.node("TEXT", measuring.COMMENT, TextValue="tumor"),
            measuring.number(measuring.LENGTH, measuring.line(of, LONG)),
        )
    )
    group = dataset.ContentSequence[0].ContentSequence[0]
    group.ObservationDateTime = "20250301101500"
    assert codes(placed(read_measurements(stored(dataset)), facts(folder, of), GRID)) == ["earlier-date"]
    group.ObservationDateTime = "20260120"
    assert len(placed(read_measurements(stored(dataset)), facts(folder, of), GRID).placed) == 1


def test_forty_measurements_are_a_history_and_no_lesions_of_this_cancer(folder: Path) -> None:
    of = image()
    report = ohif(of, *[AXES] * 40, labels=["Lymph node"] * 40)
    assert codes(placed(report, facts(folder, of), GRID)) == ["too-many"] * 40


def test_a_point_has_no_extent(folder: Path) -> None:
    of = image()
    report = read_measurements(stored(ohif_report(SPEC, [DrawnTool("ArrowAnnotate", "tumor", of, LONG[:1])])))
    assert codes(placed(report, facts(folder, of), GRID)) == ["point"]


# Several reports


def both(folder: Path, of: Dataset, *reports: MeasurementReport) -> tuple[list[str | None], list[str]]:
    """Sources of what counts, by save number; codes of what does not."""
    images = facts(folder, of)
    result = merged([placed(r, images, GRID) for r in reports])
    numbers = {SPEC.uid("measurements", n): n for n in range(1, 9)}
    counted = [f"{p.measurement.label} of {numbers[p.measurement.source.sop_instance_uid]}" for p in result.placed]
    return counted, [n.code for n in result.not_used]  # type: ignore[return-value]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_measurement_saved_again_counts_once_and_is_that_of_the_newest(
    folder: Path, order: tuple[int, int], turned: bool
) -> None:
    of = image()
    again = [LONG[1], LONG[0], *SHORT] if turned else AXES
    saves = [ohif(of), ohif(of, moved(again, 0.3), save_number=2, time="140000")]
    assert both(folder, of, *(saves[n] for n in order)) == (["Tumor, left of 2"], ["saved-again"])


def test_a_presentation_state_and_a_report_of_one_measurement_are_one(folder: Path) -> None:
    of = image()
    lines = [measuring.graphic("POLYLINE", LONG), measuring.graphic("POLYLINE", SHORT)]
    state = read_measurements(stored(measuring.state(of, lines, [measuring.text("Tumor")])))
    by_hand = ohif_report(SPEC, [DrawnTool("Bidirectional", "Tumor", of, AXES)], time="140000")
    del by_hand.CurrentRequestedProcedureEvidenceSequence
    assert both(folder, of, read_measurements(stored(by_hand)), state) == (["Tumor of 1"], ["saved-again"])


def test_a_reader_who_measures_anew_replaces_his_own_and_adds_others(folder: Path) -> None:
    of = image()
    first = ohif(of, AXES, moved(AXES, 35), labels=["Tumor", "LN 1"])
    second = ohif(of, moved(AXES, 3), moved(AXES, -35), labels=["Tumor", "LN 2"], save_number=2, time="140000")
    assert both(folder, of, first, second) == (["Tumor of 2", "LN 1 of 1", "LN 2 of 2"], ["replaced"])


def test_what_two_readers_measured_differently_counts_for_neither(folder: Path) -> None:
    of = image()
    first = ohif(of, AXES, moved(AXES, 35), labels=["Tumor", "LN 1"], reader="Reader^One")
    second = ohif(of, moved(AXES, 3), labels=["Tumor"], reader="Reader^Two", save_number=2, time="140000")
    assert both(folder, of, first, second) == (["LN 1 of 1"], ["two-readers", "two-readers"])
    third = ohif(of, moved(AXES, 1), labels=["Tumor"], reader="Reader^Two", time="110000", save_number=3)
    assert both(folder, of, third, second, first)[0] == ["LN 1 of 1"]


def test_two_readers_who_agree_count(folder: Path) -> None:
    of = image()
    first = ohif(of, reader="Reader^One")
    second = ohif(of, moved(AXES, 0.2), reader="Reader^Two", save_number=2, time="140000")
    assert both(folder, of, first, second) == (["Tumor, left of 2"], ["saved-again"])


def test_one_lesion_measured_twice_in_a_report_counts_once(folder: Path) -> None:
    of = image()
    report = ohif(of, AXES, moved(AXES, 2), labels=["Tumor", "Tumor again"])
    assert both(folder, of, report) == (["Tumor of 1"], ["same-lesion"])


def test_a_measurement_copied_from_an_earlier_exam_is_told(folder: Path) -> None:
    of = image()
    today = ohif(of)
    (measurement,) = today.measurements
    prior = replace(today, study_date="20250101", source=replace(today.source, sop_instance_uid="1.2.9"))
    images = facts(folder, of)
    elsewhere = Placement(prior, (), ())
    result = merged([placed(today, images, GRID), elsewhere])
    assert (result.placed, [n.code for n in result.not_used]) == ((), ["copied-from-prior"])
    other = replace(measurement, tracking_uid="1.2.3")
    result = merged([placed(replace(today, measurements=(other,)), images, GRID), elsewhere])
    assert len(result.placed) == 1


def test_nodes_keep_the_numbers_of_their_labels_and_others_get_free_ones(folder: Path) -> None:
    of = image()
    points = [AXES, moved(AXES, 25), moved(AXES, -25)]
    images = facts(folder, of)

    def numbers(*labels: str) -> list[int | None]:
        result = merged([placed(ohif(of, *points, labels=labels), images, GRID)])
        return [p.measurement.lesion for p in renumbered(result.placed)]

    assert numbers("LN 5", "LN 2", "tumor") == [None, 2, 5]
    assert numbers("LN 2", "LN", "tumor") == [None, 1, 2]
    assert numbers("LN 1", "LN", "LN 4") == [2, 1, 4]
    assert numbers("LN 2", "LN 2", "LN 3") == [1, 2, 3]
    assert numbers("LN 1", "LN 1", "LN 3") == [1, 2, 3]
