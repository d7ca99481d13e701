"""Every real segmentation is read; those that come with masks by other software are equal to them voxel for voxel."""

from __future__ import annotations

import json
from pathlib import Path

import highdicom
import numpy as np
import pytest
import SimpleITK
from click.testing import CliRunner
from pydicom import dcmread

from config.schema import RoiSettings
from daemon.main import cli
from pipeline.roi.export import export

pytestmark = pytest.mark.cases


def mask(path: Path) -> np.ndarray:
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))


def run(cases: Path, out: Path, seg: str, images: str | None = None) -> dict:
    return export(cases / "seg" / seg, cases / "seg" / images if images else None, out, RoiSettings())


def test_dcmqi_liver_equals_its_nrrd(cases: Path, tmp_path: Path) -> None:
    run(cases, tmp_path, "dcmqi_ct/liver.dcm", "dcmqi_ct")
    assert np.array_equal(mask(tmp_path / "segment_1.nrrd"), mask(cases / "seg/dcmqi_ct/liver_seg.nrrd") > 0)
    ours, theirs = (
        SimpleITK.ReadImage(str(p)) for p in (tmp_path / "segment_1.nrrd", cases / "seg/dcmqi_ct/liver_seg.nrrd")
    )
    assert ours.GetOrigin() == pytest.approx(theirs.GetOrigin(), abs=1e-4)
    assert ours.GetSpacing() == pytest.approx(theirs.GetSpacing(), abs=1e-4)
    assert ours.GetDirection() == pytest.approx(theirs.GetDirection(), abs=1e-6)


def test_dcmqi_overlapping_segments_equal_their_nrrds(cases: Path, tmp_path: Path) -> None:
    run(cases, tmp_path, "dcmqi_ct/partial_overlaps.dcm", "dcmqi_ct")
    labels = {1: 1, 2: 2, 3: 3, 4: 1, 5: 1}
    for number, file in labels.items():
        theirs = mask(cases / f"seg/dcmqi_ct/partial_overlaps-{file}.nrrd") == number
        assert theirs.any()
        assert np.array_equal(mask(tmp_path / f"segment_{number}.nrrd"), theirs)


@pytest.mark.parametrize("name", ["binary", "binary_overlap", "binary_fractional", "true_fractional"])
def test_highdicom_segmentations_equal_what_highdicom_reads(cases: Path, tmp_path: Path, name: str) -> None:
    """The lone slice far below the other three makes no volume; what is drawn on it is said to lie outside."""
    seg = f"highdicom_ct/seg_image_ct_{name}.dcm"
    summary = run(cases, tmp_path, seg, "highdicom_ct/source")
    theirs = highdicom.seg.segread(cases / "seg" / seg)
    uids = [
        u
        for p, u in sorted(
            (float(d.ImagePositionPatient[2]), d.SOPInstanceUID)
            for d in (dcmread(f) for f in (cases / "seg/highdicom_ct/source").iterdir())
        )
    ][1:]
    for number in theirs.segment_numbers:
        planes = theirs.get_pixels_by_source_instance(
            uids, segment_numbers=[number], rescale_fractional=True, assert_missing_frames_are_empty=True
        )[..., 0]
        assert np.array_equal(mask(tmp_path / f"segment_{number}.nrrd") > 0, planes >= 0.5)
    outside = [s["number"] for s in summary["segments"] if any("outside" in n for n in s["notes"])]
    assert outside == ([1, 2] if name == "binary_overlap" else [])


@pytest.mark.parametrize("name", ["noppv", "ppv5"])
def test_a_sparse_labelmap_leaves_missing_slices_empty(cases: Path, tmp_path: Path, name: str) -> None:
    summary = run(cases, tmp_path, f"labelmap/sparse-labelmap-{name}.dcm")
    assert [s["number"] for s in summary["segments"]] == [1]
    voxels = mask(tmp_path / "segment_1.nrrd")
    assert voxels.any(axis=(1, 2)).tolist() == [True, False, True]
    stored = dcmread(cases / f"seg/labelmap/sparse-labelmap-{name}.dcm").pixel_array
    assert np.array_equal(voxels[[0, 2]], stored == 1)


def test_a_fractional_segmentation_without_any_reference_is_placed_by_its_planes(cases: Path, tmp_path: Path) -> None:
    path = cases / "seg/ispy1_1001_fractional_seg.dcm"
    run(cases, tmp_path, path.name)
    image = SimpleITK.ReadImage(str(tmp_path / "segment_1.nrrd"))
    stored = dcmread(path).pixel_array
    # Frames run from left to right; the normal of these sagittal planes points the other way or this way.
    voxels = SimpleITK.GetArrayFromImage(image)
    assert np.array_equal(voxels, (stored >= 128)[::-1]) or np.array_equal(voxels, stored >= 128)
    assert image.GetSpacing() == pytest.approx((0.78125, 0.78125, 2.0))
    first = image.TransformIndexToPhysicalPoint((0, 0, 0))
    assert first[0] == pytest.approx(
        min(95.6999969482, 43.6999969482) if voxels[0].sum() == (stored[-1] >= 128).sum() else 95.7
    )


def test_the_command_writes_masks_and_one_json_document(cases: Path, tmp_path: Path) -> None:
    folder = cases / "seg" / "dcmqi_ct"
    done = CliRunner().invoke(
        cli, ["roi", str(folder / "partial_overlaps.dcm"), "--images", str(folder), "--out", str(tmp_path), "--json"]
    )
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"segment_{n}.nrrd" for n in range(1, 6)]
    assert [s["voxels"] for s in summary["segments"]] == [9602, 11888, 10743, 6693, 4713]
    assert summary["rois"] == {}


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("rtutils_voxel_centre_contours/plain.dcm", {1: 2417, 2: 301}),
        ("rtstruct_two_point_contour/single.dcm", {1: 2417, 2: 301}),
        ("rtstruct_point_in_body/point_in_body.dcm", {1: 2417, 2: 301, 3: 0}),
    ],
)
def test_structure_sets_of_rt_utils_give_back_the_masks_they_were_made_from(
    cases: Path, tmp_path: Path, name: str, numbers: dict[int, int]
) -> None:
    """Contours through voxel centres; a contour of one point, which encloses nothing, is left out and counted."""
    folder = cases / "faults2"
    summary = export(folder / name, folder / "rtstruct_two_point_contour/img", tmp_path, RoiSettings())
    assert {s["number"]: s["voxels"] for s in summary["segments"]} == numbers
    notes = [n for s in summary["segments"] for n in s["notes"]]
    assert [n.startswith("contours left out: 1 (fewer than three points") for n in notes] == [True] * (
        "plain" not in name
    )


def test_a_region_on_an_image_in_three_packages_has_its_true_volume(cases: Path, tmp_path: Path) -> None:
    folder = cases / "faults2/enhanced_three_stacks"
    summary = export(folder / "stack3_seg.dcm", folder / "2.dcm", tmp_path, RoiSettings())
    assert (summary["grid"]["size_xyz"][2], summary["grid"]["spacing_xyz_mm"][2]) == (30, 3.0)
    assert summary["rois"]["tumor"]["volume_mm3"] == 2985.0


def test_the_structure_set_of_a_viewer_gives_back_its_labels(cases: Path, tmp_path: Path) -> None:
    """OHIF writes contours through the centres of border voxels, with two decimals."""
    (tmp_path / "images").mkdir()
    arguments = ["phantom", "--preset", "small", "--seed", "4101", "--vendor", "siemens", "--no-seg"]
    made = CliRunner().invoke(cli, [*arguments, "--out", str(tmp_path / "images")])
    assert made.exit_code == 0, made.output
    seg = cases / "measurements/ohif_ui/siemens_seg_edited_rtstruct.dcm"
    summary = export(seg, tmp_path / "images", tmp_path / "out", RoiSettings())
    assert [s["voxels"] for s in summary["segments"]] == [1429, 299, 148, 230]
