"""Which T2 and ADC an exam is measured on, where one series shows only one breast or a part of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.schema import Features, Sequences, Settings, SignatureSettings
from pipeline.analysis.choice_by_regions import matched_by_regions
from pipeline.analysis.signatures_in_use import Signatures
from pipeline.catalog import Exam, exam_in
from pipeline.phantom import PhantomExam, PhantomSpec, write_exam
from pipeline.run import analyse
from pipeline.sequences import Match, Region, match
from pipeline.sequences.evidence import Evidence
from pipeline.sequences.series_position import covered
from tests.support.drawn import redrawn
from tests.support.exams import EPI, T1, T2, exam, seg, series, uid
from tests.support.whole_exams import ADC, AGENT

SETTINGS = Settings(signature=SignatureSettings(max_outside=1.0, max_distance=1e9), features=Features(set="signature"))


def bilateral(*others: list) -> Exam:  # type: ignore[type-arg]
    """T1+C over both breasts (x from -50 to 49 mm, z from 0 to 38 mm), what is given, and a ROI drawn on T1+C."""
    t1c = series(10, "t1_fl3d post", slices=20, **T1, **AGENT)
    return exam(t1c, *others, seg(t1c))


def one_side(number: int, name: str, x_mm: float, slices: int = 20, **tags: object) -> list:  # type: ignore[type-arg]
    """A series whose 50 columns start at x_mm."""
    return series(number, name, slices=slices, shift_mm=x_mm + 50.0, Columns=50, **tags)


def points(x_mm: float, z_mm: float = 20.0) -> Region:
    spread = np.random.default_rng(0).uniform(-4, 4, (50, 3))
    return Region("1.9", (spread + np.array([x_mm, 0.0, z_mm]),))


def by_region(parts: Exam, region: Region) -> Match:
    return match(parts, Sequences(), region=region)


def test_headers_alone_leave_a_series_per_breast_open() -> None:
    found = match(bilateral(one_side(2, "T2 R", -50, **T2), one_side(3, "T2 L", 0, **T2)), Sequences())
    assert "ambiguous-t2" in found.codes
    assert {s.series_uid for s in found.contenders["t2"]} == {uid(2), uid(3)}


@pytest.mark.parametrize(("x_mm", "number"), [(-25.0, 2), (25.0, 3)])
@pytest.mark.parametrize("short", [20, 12])
def test_the_series_of_the_breast_with_the_region_is_chosen(x_mm: float, number: int, short: int) -> None:
    """Also where the stack of that breast is shorter than the other's."""
    slices = {2: 20, 3: 20} | {number: short}
    parts = bilateral(one_side(2, "T2 R", -50, slices[2], **T2), one_side(3, "T2 L", 0, slices[3], **T2))
    found = by_region(parts, points(x_mm, z_mm=12.0))
    assert found.chosen["t2"].series_uid == uid(number)
    assert "shows 100% of the regions" in found.chosen["t2"].why


def test_the_adc_map_of_the_breast_with_the_region_is_chosen() -> None:
    maps = one_side(4, "ADC R", -50, **EPI, **ADC), one_side(5, "ADC L", 0, **EPI, **ADC)
    assert by_region(bilateral(*maps), points(25.0)).chosen["adc"].series_uid == uid(5)


def test_a_series_that_does_not_show_the_regions_is_none_even_alone() -> None:
    found = by_region(bilateral(one_side(2, "T2 R", -50, **T2)), points(25.0))
    assert "t2" not in found.chosen
    (why,) = [r for r, c in zip(found.reasons, found.codes, strict=True) if c == "not-covering-t2"]
    assert "shows 0% of the regions" in why


def test_a_series_that_shows_all_of_the_regions_goes_before_one_that_shows_a_part() -> None:
    whole, part = series(2, "T2 tra", slices=20, **T2), series(3, "T2 tra fs", slices=12, **T2)
    assert by_region(bilateral(whole, part), points(0.0, z_mm=22.0)).chosen["t2"].series_uid == uid(2)


def test_a_few_slices_are_not_taken_for_the_series_that_they_are_of() -> None:
    whole, few = series(2, "T2 tra", slices=58, **T2), series(3, "T2 tra fs repeat", slices=3, **T2)
    for parts in (bilateral(whole, few), bilateral(few, whole)):
        assert match(parts, Sequences()).chosen["t2"].series_uid == uid(2)


def test_a_few_slices_after_contrast_are_no_t1c_beside_a_whole_volume() -> None:
    whole, few = (series(n, "t1 post fs", slices=s, **T1, **AGENT) for n, s in ((10, 58), (11, 3)))
    assert match(exam(whole, few), Sequences()).chosen["t1c"].series_uid == uid(10)


def test_in_phase_images_lose_against_water_whatever_their_name() -> None:
    water = series(2, "Ax T2", slices=20, **{**T2, "ImageType": ["DERIVED", "PRIMARY", "WATER"]})
    within = series(3, "Ax T2", slices=20, **{**T2, "ImageType": ["DERIVED", "PRIMARY", "IN_PHASE"]})
    for parts in (bilateral(water, within), bilateral(within, water)):
        assert match(parts, Sequences()).chosen["t2"].series_uid == uid(2)
    assert match(bilateral(within), Sequences()).chosen["t2"].series_uid == uid(3)


def test_a_series_that_shows_the_tumour_but_not_the_nodes_is_none() -> None:
    tumour, nodes = points(-25.0).points_mm[0], points(25.0).points_mm[0][:5]
    parts = bilateral(one_side(2, "T2 R", -50, **T2), one_side(3, "T2 L", 0, **T2))
    assert "not-covering-t2" in by_region(parts, Region("1.9", (tumour, nodes))).codes


def test_a_region_in_another_frame_of_reference_decides_nothing() -> None:
    parts = bilateral(one_side(2, "T2 R", -50, **T2), one_side(3, "T2 L", 0, **T2))
    assert "ambiguous-t2" in by_region(parts, replace(points(25.0), frame_of_reference_uid="1.8")).codes


@given(st.floats(-80, 80), st.floats(-80, 80), st.floats(-30, 60))
def test_a_point_is_covered_where_it_lies_in_a_voxel(x: float, y: float, z: float) -> None:
    evidence = Evidence(bilateral().series[0])
    inside = -50.5 <= x <= 49.5 and -50.5 <= y <= 49.5 and -1.0 <= z <= 39.0
    part = covered(evidence, evidence.slices, Region("1.9", (np.array([[x, y, z]]),)))
    assert part == float(inside)


def test_real_headers_of_a_t2_per_side_lead_to_the_side_of_the_regions(cases: Path) -> None:
    found = matched_by_regions(exam_in(cases / "faults2" / "per_side_t2"), Settings())
    assert found.chosen["t2"].description == "LT SAG FSE T2"


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> tuple[PhantomExam, Exam]:
    """An exam with regions on both sides, and T2 and ADC as two series each: the left and the right half."""
    folder = tmp_path_factory.mktemp("halves")
    phantom = write_exam(folder, PhantomSpec(seed=22, preset="small", laterality="L"))
    for name in ("t2", "adc"):
        for path in sorted(
            p for p in folder.rglob("*.dcm") if phantom.chosen[name] in str(pydicom.dcmread(p).SeriesInstanceUID)
        ):
            _cut(path)
    return phantom, exam_in(folder)


def _cut(path: Path) -> None:
    """One image as two, of a series each: its first and its last columns, some of them in both."""
    image = pydicom.dcmread(path)
    columns = image.Columns
    along_row = np.array(image.ImageOrientationPatient[:3], float) * float(image.PixelSpacing[1])
    for number, (first, last) in enumerate(((0, columns * 11 // 20), (columns * 9 // 20, columns))):
        half = pydicom.dcmread(path)
        half.PixelData = np.ascontiguousarray(image.pixel_array[:, first:last]).tobytes()
        half.Columns = last - first
        half.ImagePositionPatient = [float(v) for v in np.array(image.ImagePositionPatient, float) + first * along_row]
        half.SeriesInstanceUID = f"{image.SeriesInstanceUID}.{number}"
        half.SOPInstanceUID = f"{image.SOPInstanceUID}.{number}"
        half.file_meta.MediaStorageSOPInstanceUID = half.SOPInstanceUID
        half.save_as(path.with_name(f"{path.stem}-{number}.dcm"))
    path.unlink()


def test_each_breast_is_measured_on_its_own_t2_and_adc(halves: tuple[PhantomExam, Exam], tmp_path: Path) -> None:
    phantom, cut = halves
    tumor, nodes = (phantom.masks[role].voxels_zyx for role in ("tumor", "lymph_nodes"))
    sides = {
        side: [("tumor", side, np.roll(tumor, t, axis=2)), ("lymph_nodes", side, np.roll(nodes, n, axis=2))]
        for side, t, n in (("L", 40, 28), ("R", -25, -35))
    }
    both_in, left_in = (tmp_path / name for name in ("both", "left"))
    both_in.mkdir()
    left_in.mkdir()
    both = redrawn(cut, phantom, both_in, [*sides["L"], *sides["R"]])  # type: ignore[list-item]
    signatures = Signatures.from_settings(SETTINGS.signature)
    found = analyse(both, SETTINGS, signatures).result
    assert found.reasons == ()
    assert (found.status, found.laterality) == ("evaluated", "B")
    left, right = found.sides["L"], found.sides["R"]
    assert right.sequences["t2"].series_uid != found.sequences["t2"].series_uid
    assert right.sequences["adc"].series_uid != found.sequences["adc"].series_uid
    assert right.alignment.keys() == {"t2", "adc"}
    alone = analyse(redrawn(cut, phantom, left_in, sides["L"]), SETTINGS, signatures).result  # type: ignore[arg-type]
    assert left.features == alone.features, "the other side changes nothing"
