"""Synthetic exams: what they hold, that they repeat, and that their truth is true."""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner
from pydicom import Dataset, dcmread

from daemon.cli.phantom import phantom as phantom_command
from pipeline.errors import InputRejected
from pipeline.phantom import VENDORS, PhantomExam, PhantomSeries, PhantomSpec, write_exam

SMALL = PhantomSpec(seed=5, preset="small")


@pytest.fixture(scope="module")
def exams(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PhantomExam]:
    """One small exam per vendor, of one seed."""
    folder = tmp_path_factory.mktemp("phantoms")
    return {vendor: write_exam(folder / vendor, replace(SMALL, vendor=vendor)) for vendor in VENDORS}


def headers(series: PhantomSeries) -> list[Dataset]:
    return [dcmread(path, stop_before_pixels=True) for path in series.paths]


def stack(series: PhantomSeries) -> npt.NDArray[np.float64]:
    """Real values of all instances, in the order written."""
    planes = []
    for path in series.paths:
        ds = dcmread(path)
        planes.append(ds.pixel_array * float(getattr(ds, "RescaleSlope", 1)))
    return np.stack(planes)


def labelled(exam: PhantomExam, label: str) -> list[PhantomSeries]:
    return [s for s in exam.series if s.label == label]


@pytest.mark.parametrize("vendor", VENDORS)
def test_an_exam_has_every_series_of_a_breast_protocol_in_one_frame_of_reference(
    exams: dict[str, PhantomExam], vendor: str
) -> None:
    exam = exams[vendor]
    labels = [s.label for s in exam.series]
    assert {"localizer", "t2", "dwi", "adc", "subtraction", "mip"} <= set(labels)
    dynamic = ["t1_dynamic"] if vendor == "philips" else ["t1_pre"] + ["t1_post"] * 4
    assert [label for label in labels if label.startswith("t1")] == dynamic
    files = [dcmread(path, stop_before_pixels=True) for path in exam.paths]
    assert {ds.FrameOfReferenceUID for ds in files} == {exam.frame_of_reference_uid}
    assert {ds.StudyInstanceUID for ds in files} == {exam.study_uid}
    assert len({ds.SOPInstanceUID for ds in files}) == len(files)
    assert {ds.PatientName.family_name for ds in files} == {"Phantom"}
    assert {ds.PatientID for ds in files} == {"PHANTOM-000005"}


def test_the_three_sequences_lie_on_three_different_grids(exams: dict[str, PhantomExam]) -> None:
    exam = exams["siemens"]
    grids = set()
    for uid in exam.chosen.values():
        first = headers(next(s for s in exam.series if s.series_uid == uid))[0]
        grids.add((tuple(first.PixelSpacing), first.SliceThickness, tuple(first.ImagePositionPatient)))
    assert len(grids) == 3


def test_equal_specs_give_equal_bytes(tmp_path: Path) -> None:
    first, second = (write_exam(tmp_path / name, SMALL) for name in ("a", "b"))
    digests = [[hashlib.sha256(path.read_bytes()).hexdigest() for path in exam.paths] for exam in (first, second)]
    assert digests[0] == digests[1]
    assert SMALL.uid("study") != replace(SMALL, seed=6).uid("study")


def test_a_corrected_seg_is_a_new_instance_on_the_same_images() -> None:
    corrected = replace(SMALL, seg_revision=2)
    assert corrected.uid("instance", 401, 1) == SMALL.uid("instance", 401, 1)
    assert corrected.uid("seg", corrected.seg_revision) != SMALL.uid("seg", SMALL.seg_revision)


@pytest.mark.parametrize("vendor", VENDORS)
def test_the_seg_refers_to_the_first_phase_after_contrast_and_holds_the_truth(
    exams: dict[str, PhantomExam], vendor: str
) -> None:
    exam = exams[vendor]
    assert exam.seg_path is not None
    seg = hd.seg.segread(exam.seg_path)
    referenced = seg.ReferencedSeriesSequence[0]
    assert referenced.SeriesInstanceUID == exam.chosen["t1c"]
    assert {i.ReferencedSOPInstanceUID for i in referenced.ReferencedInstanceSequence} <= set(exam.t1c_instances)
    found = seg.get_pixels_by_source_instance(
        list(exam.t1c_instances), segment_numbers=[1, 2, 3, 4], assert_missing_frames_are_empty=True
    )
    assert np.array_equal(found[..., 0] > 0, exam.masks["tumor"].voxels_zyx)
    assert np.array_equal(found[..., 1:].any(axis=-1), exam.masks["lymph_nodes"].voxels_zyx)
    assert found.sum(axis=(0, 1, 2)).min() > 30
    labels = [d.SegmentLabel for d in seg.SegmentSequence]
    assert labels == ["Tumor", "Axillary lymph node 1", "Axillary lymph node 2", "Axillary lymph node 3"]
    tumor, node = seg.SegmentSequence[0], seg.SegmentSequence[1]
    assert tumor.SegmentedPropertyTypeCodeSequence[0].CodeValue == "86049000"
    assert node.SegmentedPropertyTypeCodeSequence[0].CodeValue == "59441001"
    side = tumor.AnatomicRegionSequence[0].AnatomicRegionModifierSequence[0].CodeMeaning
    assert side[0] == exam.truth.laterality
    assert len({s.TrackingUID for s in seg.SegmentSequence}) == 4


def test_the_tumour_enhances_and_then_washes_out(exams: dict[str, PhantomExam]) -> None:
    exam = exams["siemens"]
    mask = exam.masks["tumor"].voxels_zyx
    means = [stack(s)[mask].mean() for s in exam.series if s.label.startswith("t1")]
    assert means[1] > 1.8 * means[0]
    assert means[4] < means[2]
    assert stack(labelled(exam, "subtraction")[0])[mask].mean() == pytest.approx(means[1] - means[0], rel=0.02)


def test_philips_keeps_all_phases_in_one_series_and_ge_numbers_them(exams: dict[str, PhantomExam]) -> None:
    dynamic = headers(labelled(exams["philips"], "t1_dynamic")[0])
    positions = [int(ds.TemporalPositionIdentifier) for ds in dynamic]
    slices = exams["philips"].geometry.shape_zyx[0]
    assert positions == [phase for phase in range(1, 6) for _ in range(slices)]
    assert [s.description[:4] for s in labelled(exams["ge"], "t1_post")] == ["Ph1/", "Ph2/", "Ph3/", "Ph4/"]
    pre = headers(labelled(exams["ge"], "t1_pre")[0])[0]
    assert "ContrastBolusAgent" not in pre


@pytest.mark.parametrize(
    ("vendor", "group", "element", "low", "high"),
    [("siemens", 0x0019, 0x100C, 0, 800), ("ge", 0x0043, 0x1039, [1000000000, 8, 0, 0], [1000000800, 8, 0, 0]),
     ("philips", 0x2001, 0x1003, 0.0, 800.0)],
)  # fmt: skip
def test_b_values_stand_where_the_vendor_puts_them(
    exams: dict[str, PhantomExam], vendor: str, group: int, element: int, low: object, high: object
) -> None:
    images = headers(labelled(exams[vendor], "dwi")[0])
    assert images[0][group, element].value == low
    assert images[-1][group, element].value == high
    assert ("DiffusionBValue" in images[0]) == (vendor != "ge")


@pytest.mark.parametrize("vendor", VENDORS)
def test_the_adc_map_agrees_with_its_diffusion_images(exams: dict[str, PhantomExam], vendor: str) -> None:
    exam = exams[vendor]
    diffusion, adc = stack(labelled(exam, "dwi")[0]), stack(labelled(exam, "adc")[0])
    adc = adc * 1000 if vendor == "philips" else adc
    low, high = np.split(diffusion, 2)
    seen = (low > 250) & (high > 60) & (adc > 0)
    expected = np.log(low[seen] / high[seen]) / 800 * 1e6
    assert seen.sum() > 500
    assert np.abs(adc[seen] - expected).max() < 60  # stored signal is whole numbers
    assert 1200 < np.median(adc[seen]) < 2200


def heterogeneity(folder: Path, positive: bool) -> tuple[float, float]:
    exam = write_exam(
        folder, PhantomSpec(seed=11, preset="small", node_positive=positive, effect=3.0, bias=0.0, noise=0.02)
    )
    voxels = stack(labelled(exam, "t1_post")[0])
    values = [voxels[exam.masks[role].voxels_zyx] for role in ("tumor", "lymph_nodes")]
    return float(values[0].std() / values[0].mean()), float(values[1].std() / values[1].mean())


def test_nodal_metastasis_makes_tumour_and_nodes_more_heterogeneous(tmp_path: Path) -> None:
    without, with_metastasis = heterogeneity(tmp_path / "n", False), heterogeneity(tmp_path / "p", True)
    assert with_metastasis[0] > 1.3 * without[0]
    assert PhantomSpec(seed=11, node_positive=True, effect=0).drawn().heterogeneity_tumor == pytest.approx(
        PhantomSpec(seed=11, node_positive=False, effect=0).drawn().heterogeneity_tumor
    )


def test_the_small_preset_holds_the_whole_of_every_lesion() -> None:
    from pipeline.phantom.anatomy import grid, make
    from pipeline.phantom.signal import Scene

    for seed in range(12):
        spec = PhantomSpec(seed=seed, preset="small")
        drawn = spec.drawn()
        body = make(spec, drawn)
        fields = [
            (spec.grids.t1_matrix, drawn.t1_spacing_mm),
            (spec.grids.t2_matrix, drawn.t2_spacing_mm),
            (spec.grids.dwi_matrix, drawn.dwi_spacing_mm),
        ]
        for matrix, spacing in fields:
            scene = Scene.on(body, drawn, grid(spec, drawn, matrix, spacing))
            for lesion in body.lesions:
                mask = scene.lesion_mask(lesion)
                assert mask.any()
                hull = np.concatenate([mask[[0, -1]].ravel(), mask[:, [0, -1]].ravel(), mask[..., [0, -1]].ravel()])
                assert not hull.any(), (seed, lesion.tissue)


def test_lesions_do_not_touch_each_other() -> None:
    from pipeline.phantom.anatomy import make

    for seed in range(40):
        spec = PhantomSpec(seed=seed)
        lesions = [lesion.shape for lesion in make(spec, spec.drawn()).lesions]
        for n, one in enumerate(lesions):
            for other in lesions[n + 1 :]:
                apart = np.subtract(one.centre_xyz_mm, other.centre_xyz_mm)
                reach = np.add(one.axes_xyz_mm, other.axes_xyz_mm) * 1.05
                assert np.linalg.norm(apart / reach) > 1, seed


@pytest.mark.peer("dciodvfy")
@pytest.mark.parametrize("vendor", VENDORS)
def test_the_headers_satisfy_dciodvfy(exams: dict[str, PhantomExam], vendor: str) -> None:
    exam = exams[vendor]
    assert exam.seg_path is not None
    for path in [*(series.paths[0] for series in exam.series), exam.seg_path]:
        said = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
        errors = [line for line in (said.stdout + said.stderr).splitlines() if line.startswith("Error")]
        # GE's dynamic carries a Trigger Time without gating, as real ones do
        assert [e for e in errors if not (vendor == "ge" and "TriggerTime" in e)] == []


def test_the_command_writes_a_manifest_and_refuses_to_overwrite(tmp_path: Path) -> None:
    arguments = ["--out", str(tmp_path), "--seed", "3", "--preset", "small", "--vendor", "ge", "--no-adc-map", "--json"]
    result = CliRunner().invoke(phantom_command, arguments)
    assert result.exit_code == 0, result.output
    exam = json.loads(result.stdout)["exams"][0]
    assert len(list(Path(exam["folder"]).rglob("*.dcm"))) == exam["files"]
    assert exam["voxels"]["tumor"] > 0
    assert "adc" not in [s["label"] for s in exam["series"]]
    again = CliRunner().invoke(phantom_command, arguments)
    assert isinstance(again.exception, InputRejected)
