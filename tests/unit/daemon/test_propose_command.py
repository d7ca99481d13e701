"""`axrad propose`, `axrad roi --from-sr` and `axrad phantom --measurements` as people and programs call them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK
from click.testing import CliRunner
from PIL import Image
from pydicom import dcmread

from config.load import load
from daemon.cli.phantom import phantom
from daemon.cli.proposal_outputs import _mask_names
from daemon.cli.propose import propose
from daemon.cli.roi import roi
from pipeline.catalog import exam_in, read_facts
from pipeline.catalog.own_mark import state_of
from pipeline.errors import AxradError, ExamRejected, InputRejected, RoiRejected
from pipeline.measurements import read_file
from pipeline.phantom import PhantomSpec
from pipeline.phantom.measurements import lesion_masks
from pipeline.roi import open_object, role_of
from pipeline.roi.rules import load_rules
from pipeline.sequences import before_contrast, match
from pipeline.volumes import Volume
from pipeline.volumes import load as load_volume

REPORT = "0950_measurements.dcm"


@pytest.fixture(scope="module")
def exam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom without SEG, with the axes of its lesions as a viewer saves them."""
    out = tmp_path_factory.mktemp("exams") / "out"
    arguments = ["--out", str(out), "--seed", "3", "--preset", "small", "--no-seg", "--measurements", "--json"]
    done = CliRunner().invoke(phantom, arguments, catch_exceptions=False)
    (entry,) = json.loads(done.stdout)["exams"]
    assert entry["measurements"] == str(Path(entry["folder"]) / REPORT)
    assert entry["files"] == len(list(Path(entry["folder"]).rglob("*.dcm")))
    return Path(entry["folder"])


@pytest.fixture(scope="module")
def proposed(exam: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    out = tmp_path_factory.mktemp("proposed")
    done = CliRunner().invoke(propose, [str(exam), "--out", str(out), "--json"], catch_exceptions=False)
    document = json.loads(done.stdout)
    assert document == json.loads((out / "proposal.json").read_text())
    return out, document


def copied(exam: Path, to: Path, change: Callable[[Path], None]) -> Path:
    shutil.copytree(exam, to)
    change(to / REPORT)
    return to


def test_every_lesion_of_the_phantom_is_proposed_where_it_is(
    exam: Path, proposed: tuple[Path, dict[str, object]]
) -> None:
    _, document = proposed
    regions: list[dict[str, object]] = document["regions"]  # type: ignore[assignment]
    side = "left" if PhantomSpec(3, preset="small").drawn().laterality == "L" else "right"
    nodes = [f"Lymph node {n}, {side}" for n in (1, 2, 3)]
    assert [r["label"] for r in regions] == [f"Tumor, {side}", *nodes]
    assert document["not_understood"] == []
    assert document["before_contrast"] not in (None, document["t1c"])
    volume = load_volume(match(exam_in(exam), load(None).sequences).chosen["t1c"], load(None).sequences)
    masks = lesion_masks(PhantomSpec(3, preset="small"))
    out = proposed[0] / "masks"
    arguments = ["--from-sr", str(exam / REPORT), "--images", str(exam), "--out", str(out)]
    written = json.loads(CliRunner().invoke(roi, [*arguments, "--json"], catch_exceptions=False).stdout)
    assert [r["file"] for r in written["regions"]] == ["tumor.nrrd", *(f"node_{n}.nrrd" for n in (1, 2, 3))]
    assert written["not_understood"] == []
    for mask, region in zip(masks, written["regions"], strict=True):
        drawn = mask_in(out / region["file"], volume)
        assert 2 * np.count_nonzero(mask & drawn) / (mask.sum() + drawn.sum()) > 0.6
        assert (region["voxels"], region["side"]) == (drawn.sum(), side[0].upper())
        assert (region["quality"], region["method"]) in {(q, "grown") for q in ("good", "doubtful")}
    nodes = [mask_in(out / r["file"], volume) for r in written["regions"][1:]]
    assert np.array_equal(mask_in(out / "lymph_nodes.nrrd", volume), np.logical_or.reduce(nodes))
    assert "node_3.nrrd, proposal.dcm" in CliRunner().invoke(roi, arguments, catch_exceptions=False).stdout


def mask_in(path: Path, volume: Volume) -> npt.NDArray[np.bool_]:
    """The mask of a file, which has the geometry of T1+C."""
    image, geometry = SimpleITK.ReadImage(str(path)), volume.geometry
    assert image.GetSize() == geometry.shape_zyx[::-1]
    for stated, own in (
        (image.GetSpacing(), geometry.spacing_xyz_mm),
        (image.GetOrigin(), geometry.origin_xyz_mm),
        (image.GetDirection(), geometry.direction),
    ):
        assert stated == pytest.approx(own, abs=1e-6)
    voxels: npt.NDArray[np.bool_] = SimpleITK.GetArrayFromImage(image) > 0
    return voxels


def test_several_reports_are_proposed_from_together(exam: Path, tmp_path: Path) -> None:
    report = dcmread(exam / REPORT)
    groups = report.ContentSequence[-1].ContentSequence
    assert len(groups) == 4
    arguments = ["--images", str(exam), "--out", str(tmp_path / "out"), "--json"]
    for number, shown in enumerate((groups[:1], groups[1:])):
        report.ContentSequence[-1].ContentSequence = shown
        report.SOPInstanceUID = report.file_meta.MediaStorageSOPInstanceUID = f"2.25.99{number}"
        report.save_as(tmp_path / f"{number}.dcm")
        arguments += ["--from-sr", str(tmp_path / f"{number}.dcm")]
    written = json.loads(CliRunner().invoke(roi, arguments, catch_exceptions=False).stdout)
    assert {r["source_uid"] for r in written["regions"]} == {"2.25.990", "2.25.991"}
    assert len(written["regions"]) == 4


def test_tumours_and_nodes_of_both_sides_have_files_of_their_own() -> None:
    def region(role: str, side: str, lesion: int | None) -> SimpleNamespace:
        return SimpleNamespace(side=side, placed=SimpleNamespace(measurement=SimpleNamespace(role=role, lesion=lesion)))

    regions = [region("tumor", "L", None), region("tumor", "R", None)]
    assert _mask_names(regions) == ["tumor_1.nrrd", "tumor_2.nrrd"]  # type: ignore[arg-type]
    nodes = [region("lymph_nodes", "L", 2), region("lymph_nodes", "L", 5)]
    assert _mask_names(nodes) == ["node_2.nrrd", "node_5.nrrd"]  # type: ignore[arg-type]
    nodes.append(region("lymph_nodes", "R", 2))
    assert _mask_names(nodes) == ["node_1.nrrd", "node_2.nrrd", "node_3.nrrd"]  # type: ignore[arg-type]


def test_the_segmentation_is_ours_and_understood_by_its_labels_alone(proposed: tuple[Path, dict[str, object]]) -> None:
    path = proposed[0] / "proposal.dcm"
    facts = read_facts(path)
    assert (facts.ours, state_of(path)) == (True, "ours")
    header = dcmread(path, stop_before_pixels=True)
    assert {s.SegmentAlgorithmType for s in header.SegmentSequence} == {"SEMIAUTOMATIC"}
    assert "not verified" in header.SeriesDescription
    rules = load_rules()
    opened = open_object(path)
    assert [role_of(d, rules).role for d in opened.segments] == ["tumor", *["lymph_nodes"] * 3]
    bare = [d.__class__(d.path, d.source, d.number, d.label) for d in opened.segments]
    assert [role_of(d, rules).role for d in bare] == ["tumor", *["lymph_nodes"] * 3]


def test_equal_measurements_give_a_segmentation_of_the_same_uid(
    exam: Path, proposed: tuple[Path, dict[str, object]], tmp_path: Path
) -> None:
    CliRunner().invoke(propose, [str(exam), "--out", str(tmp_path)], catch_exceptions=False)
    again, first = (dcmread(folder / "proposal.dcm", stop_before_pixels=True) for folder in (tmp_path, proposed[0]))
    assert again.SOPInstanceUID == first.SOPInstanceUID


def test_the_picture_shows_each_region_dashed_and_what_was_measured(proposed: tuple[Path, dict[str, object]]) -> None:
    with Image.open(proposed[0] / "regions.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    yellow, pink, blue = (
        int(np.all(pixels == colour, axis=2).sum()) for colour in ((255, 214, 10), (255, 100, 170), (90, 200, 250))
    )
    assert yellow > 200
    assert pink > 300
    assert blue > 100


def test_words_for_a_person_name_regions_and_files(exam: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(propose, [str(exam), "--out", str(tmp_path)], catch_exceptions=False)
    assert done.exit_code == 0
    assert "from axes of measurement 1 (Tumor" in done.stdout
    assert "proposal.dcm, regions.png, proposal.json" in done.stdout


def refused(command: list[str], error: type[AxradError], kind: object = propose) -> AxradError:
    with pytest.raises(error) as refusal:
        CliRunner().invoke(kind, command, catch_exceptions=False)  # type: ignore[arg-type]
    return refusal.value


def test_a_folder_without_measurements_or_with_a_broken_report_is_refused(exam: Path, tmp_path: Path) -> None:
    without = copied(exam, tmp_path / "without", Path.unlink)
    assert "no reader's measurements" in refused([str(without), "--out", str(tmp_path / "a")], InputRejected).message
    error = refused(
        ["--from-sr", str(next(exam.glob("0400_*/*.dcm"))), "--images", str(exam), "--out", str(tmp_path / "b")],
        ExamRejected,
        roi,
    )
    assert error.code == "no-measurements"


def test_where_nothing_is_proposed_each_measurement_says_why(exam: Path, tmp_path: Path) -> None:
    def of_another_patient(report: Path) -> None:
        dataset = dcmread(report)
        dataset.PatientID = "SOMEBODY-ELSE"
        dataset.save_as(report)

    other = copied(exam, tmp_path / "other", of_another_patient)
    out = tmp_path / "out"
    error = refused([str(other), "--out", str(out)], RoiRejected)
    assert error.code == "no-proposal"
    assert "of another patient" in error.message
    assert "SOMEBODY" not in error.message
    document = json.loads((out / "proposal.json").read_text())
    assert {n["code"] for n in document["not_understood"]} == {"other-patient"}
    assert not (out / "proposal.dcm").exists()
    told = CliRunner().invoke(propose, [str(other), "--out", str(out), "--json"])
    assert isinstance(told.exception, RoiRejected)
    assert json.loads(told.stdout) == document
    assert document["regions"] == []


def test_a_segmentation_and_a_report_at_once_are_wrong_usage(exam: Path, tmp_path: Path) -> None:
    report = str(exam / REPORT)
    for arguments in ([report, "--from-sr", report], [], ["--from-sr", report]):
        assert CliRunner().invoke(roi, [*arguments, "--out", str(tmp_path)]).exit_code == 2


def test_axes_end_off_their_place_by_no_more_than_the_jitter(exam: Path, tmp_path: Path) -> None:
    arguments = ["--out", str(tmp_path), "--seed", "3", "--preset", "small", "--measurements", "--jitter", "2"]
    CliRunner().invoke(phantom, arguments, catch_exceptions=False)
    exact, off = (read_file(f / REPORT).measurements for f in (exam, tmp_path / "exam_000003"))
    spacing = PhantomSpec(3, preset="small").drawn().t1_spacing_mm[0]
    apart = [
        np.linalg.norm(np.subtract(p, q)) * spacing
        for a, b in zip(exact, off, strict=True)
        for g, h in zip(a.graphics, b.graphics, strict=True)
        for p, q in zip(g.points, h.points, strict=True)
    ]
    assert 0.5 < max(apart) <= 2.01


def test_the_volume_before_contrast_is_of_the_same_grid_and_darker_in_the_tumour(exam: Path) -> None:
    settings = load(None).sequences
    whole = exam_in(exam)
    chosen = match(whole, settings).chosen["t1c"]
    selection = before_contrast(whole, settings, chosen)
    assert selection is not None
    t1c, pre = (load_volume(s, settings) for s in (chosen, selection))
    assert isinstance(pre, Volume)
    assert pre.geometry.same_grid(t1c.geometry)
    tumor = lesion_masks(PhantomSpec(3, preset="small"))[0]
    assert pre.voxels_zyx[tumor].mean() < 0.7 * t1c.voxels_zyx[tumor].mean()
