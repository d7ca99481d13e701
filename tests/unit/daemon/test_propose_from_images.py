"""`axrad propose` on an exam in which nobody has measured or drawn anything."""

from __future__ import annotations

import json
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from pydicom import dcmread

from config.agreement import disagreements
from config.schema import Settings
from daemon.cli.propose import propose
from pipeline.catalog.own_mark import has_mark, state_of
from pipeline.errors import InputRejected, RoiRejected, SequenceRejected
from pipeline.phantom import PhantomExam, PhantomSpec, write_exam
from pipeline.phantom.measurements import write_measurements
from pipeline.roi.describe import describe
from pipeline.roi.roles import role_of
from pipeline.roi.rules import load_rules
from tests.support import validators


@pytest.fixture(scope="module")
def exam(tmp_path_factory: pytest.TempPathFactory) -> PhantomExam:
    return write_exam(
        tmp_path_factory.mktemp("exams") / "exam", PhantomSpec(seed=3, preset="small", vendor="siemens", with_seg=False)
    )


@pytest.fixture(scope="module")
def out(exam: PhantomExam, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    CliRunner().invoke(propose, [*order(exam.folder, folder), "--json"], catch_exceptions=False)
    return folder


def order(exam: Path, out: Path) -> list[str]:
    return [str(exam), "--out", str(out), "--from-images", "enhancement"]


def test_the_tumour_is_proposed_as_doubtful_with_its_figures(exam: PhantomExam, out: Path) -> None:
    document = json.loads((out / "proposal.json").read_text())
    (region,) = document["regions"]
    assert (region["role"], region["origin"], region["quality"]) == ("tumor", "enhancement", "doubtful")
    assert set(region["figures"]) == {"ftv_cc", "pe_peak", "pe_median", "ser_median", "early_s", "late_s"}
    truth = int(exam.masks["tumor"].voxels_zyx.sum())
    assert 0.8 < region["voxels"] / truth < 1.2
    with Image.open(out / "regions.png") as picture:
        assert picture.size[0] > 400


def test_the_segmentation_is_ours_automatic_and_names_its_method(out: Path) -> None:
    ds = dcmread(out / "proposal.dcm")
    assert has_mark(ds)
    assert state_of(out / "proposal.dcm") == "ours"
    (segment,) = ds.SegmentSequence
    assert (segment.SegmentAlgorithmType, segment.SegmentAlgorithmName) == (
        "AUTOMATIC",
        "axrad functional tumour volume",
    )
    names = [a.AlgorithmName for a in segment.SegmentationAlgorithmIdentificationSequence]
    assert names == ["axrad functional tumour volume"]
    assert "doubtful, from enhancement, from the images alone" in segment.SegmentDescription
    (described,) = describe(ds, out / "proposal.dcm")
    assert (role_of(described, load_rules(None)).role, described.proposed_origin) == ("tumor", "enhancement")


@pytest.mark.peer("dciodvfy")
def test_validator_and_highdicom_take_the_segmentation(out: Path) -> None:
    assert validators.dciodvfy(out / "proposal.dcm") == []
    assert [s.SegmentLabel for s in hd.seg.segread(out / "proposal.dcm").SegmentSequence] == ["Tumor"]


def test_words_for_a_person_tell_figures_and_doubts(exam: PhantomExam, tmp_path: Path) -> None:
    text = CliRunner().invoke(propose, order(exam.folder, tmp_path), catch_exceptions=False).output
    assert "Tumor: doubtful" in text
    assert "pe_peak" in text
    assert "may be gland, a vessel or a benign lesion" in text


def test_measurements_come_first_unless_the_images_are_asked_for(tmp_path: Path) -> None:
    exam = write_exam(tmp_path / "exam", PhantomSpec(seed=3, preset="small", with_seg=False))
    write_measurements(exam)
    config = tmp_path / "axrad.toml"
    config.write_text('[proposal]\nenabled = true\nfrom_images = "enhancement"\n')
    arguments = [str(exam.folder), "--out", str(tmp_path / "out"), "--config", str(config), "--json"]
    document = json.loads(CliRunner().invoke(propose, arguments, catch_exceptions=False).stdout)
    assert {r["method"] for r in document["regions"]} == {"grown"}
    arguments += ["--from-images", "enhancement"]
    document = json.loads(CliRunner().invoke(propose, arguments, catch_exceptions=False).stdout)
    assert {r["origin"] for r in document["regions"]} == {"enhancement"}


def test_without_measurements_nothing_is_proposed_unless_the_images_are_asked_for(
    exam: PhantomExam, tmp_path: Path
) -> None:
    outcome = CliRunner().invoke(propose, [str(exam.folder), "--out", str(tmp_path)])
    assert isinstance(outcome.exception, InputRejected)
    assert "--from-images" in outcome.exception.message


def test_an_exam_without_a_volume_before_contrast_has_no_proposal_and_says_why(
    exam: PhantomExam, tmp_path: Path
) -> None:
    folder = tmp_path / "exam"
    folder.mkdir()
    for n, path in enumerate(exam.paths):
        if dcmread(path, stop_before_pixels=True).SeriesNumber != 400:
            (folder / f"{n}.dcm").hardlink_to(path)
    outcome = CliRunner().invoke(propose, order(folder, tmp_path / "out"))
    assert isinstance(outcome.exception, SequenceRejected)
    assert "before contrast" in outcome.exception.message


def test_where_nothing_enhances_the_document_says_so(exam: PhantomExam, tmp_path: Path) -> None:
    config = tmp_path / "axrad.toml"
    config.write_text("[proposal]\npe_percent = 900\n")
    outcome = CliRunner().invoke(propose, [*order(exam.folder, tmp_path / "out"), "--config", str(config)])
    assert isinstance(outcome.exception, RoiRejected)
    assert outcome.exception.code == "no-proposal"
    document = json.loads((tmp_path / "out" / "proposal.json").read_text())
    assert (document["regions"], len(document["notes"])) == ([], 1)


def test_equal_images_give_a_segmentation_of_the_same_uid(exam: PhantomExam, out: Path, tmp_path: Path) -> None:
    CliRunner().invoke(propose, order(exam.folder, tmp_path), catch_exceptions=False)
    one, other = (dcmread(folder / "proposal.dcm") for folder in (out, tmp_path))
    assert one.SOPInstanceUID == other.SOPInstanceUID
    assert np.array_equal(one.pixel_array, other.pixel_array)


def test_images_without_enabled_proposals_are_told() -> None:
    faults = list(disagreements(Settings.model_validate({"proposal": {"from_images": "enhancement"}})))
    assert any(fault.startswith("proposal.from_images: nothing is proposed without") for fault in faults)
    with pytest.raises(ValueError, match="needs the card of a model"):
        Settings.model_validate({"proposal": {"enabled": True, "from_images": "model"}})
