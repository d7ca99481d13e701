"""What viewers and radiotherapy systems wrote: edited segmentations keep what they were, nodal volumes are nodes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydicom import dcmread

from config.schema import Settings
from daemon.main import cli
from pipeline import roi, sequences, volumes
from pipeline.analysis.quality_checks import shape_checks
from pipeline.catalog import exam_in
from pipeline.catalog.scan import scan
from pipeline.records import Volume
from pipeline.roi import Reading
from pipeline.roi.export import export

pytestmark = pytest.mark.cases


@pytest.fixture(scope="module")
def siemens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exam that the objects were drawn on."""
    out = tmp_path_factory.mktemp("phantom")
    made = ["phantom", "--preset", "small", "--seed", "4101", "--vendor", "siemens", "--out", str(out)]
    assert CliRunner().invoke(cli, made).exit_code == 0
    return out


@pytest.fixture(scope="module")
def t1c(siemens: Path) -> Volume:
    exam = exam_in(siemens)
    matched = sequences.match(exam, Settings().sequences)
    return volumes.load(matched.chosen["t1c"], Settings().sequences, exam.rois)


def read(t1c: Volume, *paths: Path) -> Reading:
    return roi.read_all([fact for path in paths for fact in scan([path])[0]], t1c, Settings().roi)


def own_seg(siemens: Path) -> Path:
    (path,) = (
        p for p in siemens.rglob("*") if p.is_file() and dcmread(p, specific_tags=["Modality"]).Modality == "SEG"
    )
    return path


def test_nodes_measure_what_they_are(cases: Path, siemens: Path, t1c: Volume) -> None:
    truth = json.loads((cases / "measurements/manifest.json").read_text())["exams"]["siemens"]["rois"]
    nodes = next(r for r in read(t1c, own_seg(siemens)).rois if r.role == "lymph_nodes").nodes
    assert [(n.number, n.segment) for n in nodes] == [(1, 2), (2, 3), (3, 4)]
    for node in nodes:
        expected = truth[f"node{node.number}"]
        assert node.volume_mm3 == pytest.approx(expected["volume_mm3"], rel=1e-5)
        assert node.long_axis_mm == pytest.approx(expected["long_mm"], abs=0.3)
        assert node.short_axis_mm == pytest.approx(expected["short_mm"], abs=0.5)


@pytest.mark.parametrize(
    ("name", "voxels"),
    [("siemens_seg_edited_binary", [1429, 299, 148, 230]), ("siemens_seg_edited_labelmap", [1463, 299, 148, 199])],
)
def test_an_edited_segmentation_keeps_what_it_was(
    cases: Path, siemens: Path, t1c: Volume, name: str, voxels: list[int]
) -> None:
    edited = cases / f"measurements/ohif_ui/{name}.dcm"
    before = read(t1c, own_seg(siemens))
    found = read(t1c, own_seg(siemens), edited)
    segments = [s for r in found.rois for s in r.segments]
    assert [s.mask.voxels for s in segments] == voxels
    assert [(r.role, r.side) for r in found.rois] == [("tumor", "L"), ("lymph_nodes", "L")]
    assert [s.tracking_uid for s in segments] == [s.tracking_uid for r in before.rois for s in r.segments]
    assert all("later state" in note for s in segments for note in s.notes[-1:])
    assert len(found.left_out) == 4


def test_a_damaged_structure_set_fails_a_check(cases: Path, t1c: Volume) -> None:
    found = read(t1c, cases / "measurements/ohif_ui/siemens_rtstruct_DAMAGED.dcm")
    assert [check.ok for check in shape_checks(found.rois)] == [False]


@pytest.mark.parametrize(
    ("name", "roles"),
    [("gtv_n", {"tumor": [1], "lymph_nodes": [2]}), ("tg263", {"lymph_nodes": [1]})],
)
def test_a_nodal_gtv_is_never_the_tumour(cases: Path, tmp_path: Path, name: str, roles: dict[str, list[int]]) -> None:
    folder = cases / "faults2"
    images = folder / "rtstruct_two_point_contour/img"
    told = export(folder / f"rtstruct_gtv_n/{name}.dcm", images, tmp_path, Settings().roi)
    assert {role: region["segments"] for role, region in told["rois"].items()} == roles
