from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner, Result

from daemon.cli.extract import extract
from pipeline.catalog import Exam, InstanceFacts, SeriesFacts
from pipeline.errors import ExamRejected, FeatureRejected, InputRejected, RoiRejected
from pipeline.features import from_settings
from pipeline.features.reference_call import as_image, plain_call
from pipeline.records import InstanceRef
from pipeline.result import StudyResult
from tests.support.radiomics import grid, noise

FEATURE = "t1c.tumor.original_firstorder_Mean"
GRID = grid((14, 15, 16))


def write(path: Path, voxels: Any, geometry: Any = GRID) -> Path:
    sitk.WriteImage(as_image(voxels, geometry), str(path))
    return path


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    labels = np.zeros((14, 15, 16), np.uint8)
    labels[4:9, 5:11, 5:11] = 1
    labels[9:11, 5:11, 5:11] = 2
    labels[2, 2, 2] = 3
    image = write(tmp_path / "image.nrrd", noise((14, 15, 16)))
    return str(image), str(write(tmp_path / "mask.nrrd", labels))


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(extract, [str(a) for a in arguments])


def test_json_has_pyradiomics_names_and_numbers(pair: tuple[str, str]) -> None:
    answer = invoke("--image", pair[0], "--mask", pair[1], "--json")
    assert answer.exit_code == 0
    document = json.loads(answer.stdout)
    from config.schema import Features

    reference = plain_call(sitk.ReadImage(pair[0]), sitk.ReadImage(pair[1]), from_settings(Features()))
    assert document["features"] == reference.values
    assert document["missing"] == {}
    assert answer.stderr == ""


def test_another_label_is_another_region(pair: tuple[str, str]) -> None:
    name = "original_shape_VoxelVolume"
    first, second = (
        json.loads(invoke("--image", pair[0], "--mask", pair[1], "--json", "--label", n).stdout)["features"][name]
        for n in (1, 2)
    )
    assert first == pytest.approx(second * 5 / 2)


@pytest.mark.parametrize(("label", "reason"), [(3, "1 segmented voxel"), (7, "not present")])
def test_a_refused_region_exits_1_with_every_reason_on_stdout(pair: tuple[str, str], label: int, reason: str) -> None:
    answer = invoke("--image", pair[0], "--mask", pair[1], "--json", "--label", label)
    assert isinstance(answer.exception, FeatureRejected)
    document = json.loads(answer.stdout)
    assert document["features"] == {}
    assert len(document["missing"]) == 851
    assert all(reason in why for why in document["missing"].values())


def test_a_mask_on_another_grid_is_refused(pair: tuple[str, str], tmp_path: Path) -> None:
    other = write(tmp_path / "other.nrrd", np.ones((14, 15, 16), np.uint8), grid((14, 15, 16), (0.8, 0.8, 1.3)))
    answer = invoke("--image", pair[0], "--mask", other)
    assert isinstance(answer.exception, FeatureRejected)
    assert "another grid" in answer.exception.message


def test_a_listing_names_every_feature(pair: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("imageType:\n  Original: {}\nfeatureClass:\n  firstorder: [Mean, Entropy]\n")
    answer = invoke("--image", pair[0], "--mask", pair[1], "--params", tmp_path / "p.yaml")
    assert [line.split()[0] for line in answer.stdout.splitlines()] == [
        "original_firstorder_Mean",
        "original_firstorder_Entropy",
    ]


def test_a_flat_image_is_read_by_the_plain_call(tmp_path: Path) -> None:
    image, labels = tmp_path / "i.nrrd", tmp_path / "m.nrrd"
    inside = np.zeros((20, 20), np.uint8)
    inside[5:12, 6:14] = 1
    sitk.WriteImage(sitk.GetImageFromArray(noise((1, 20, 20))[0]), str(image))
    sitk.WriteImage(sitk.GetImageFromArray(inside), str(labels))
    document = json.loads(invoke("--image", image, "--mask", labels, "--json").stdout)
    assert "original_glcm_Contrast" in document["features"]
    assert "original_shape_MeshVolume" in document["missing"]


def test_a_file_that_is_no_image_is_refused(pair: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "x.nrrd").write_text("no")
    answer = invoke("--image", tmp_path / "x.nrrd", "--mask", pair[1])
    assert isinstance(answer.exception, InputRejected)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--image", "IMAGE"],
        ["--image", "IMAGE", "--mask", "MASK", "--out", "t.csv"],
        ["FOLDER"],
        ["FOLDER", "--out", "t.txt"],
        ["FOLDER", "--out", "t.csv", "--label", "2"],
        ["--out", "t.csv"],
    ],
)
def test_wrong_usage_exits_2(arguments: list[str], pair: tuple[str, str], tmp_path: Path) -> None:
    names = {"IMAGE": pair[0], "MASK": pair[1], "FOLDER": str(tmp_path)}
    assert invoke(*(names.get(a, a) for a in arguments)).exit_code == 2


@pytest.fixture
def three_exams(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Three exams on disk as far as the command can tell; the second cannot be evaluated. Lists what was evaluated."""
    done: list[str] = []

    def instance(study: str) -> InstanceFacts:
        return InstanceFacts(
            InstanceRef(study, f"{study}.1", "1.2.840.10008.5.1.4.1.1.4", f"{study}.1.1"), "MR", "", ""
        )

    def analyse(exam: Exam, settings: Any, signatures: Any, also: Any = None) -> Any:
        assert (settings.features.set, also) == ("all", None)
        done.append(exam.study_uid)
        if exam.study_uid == "1.2.2":
            raise RoiRejected("the tumour ROI is empty", uid=exam.study_uid)
        result = StudyResult(study_uid=exam.study_uid, status="not_evaluated", features={FEATURE: 2.5})
        return type("Analysis", (), {"result": result})

    facts = [instance(f"1.2.{n}") for n in (1, 2, 3)]
    monkeypatch.setattr("pipeline.catalog.scan", lambda paths, progress=None: (facts, []))
    monkeypatch.setattr(
        "pipeline.catalog.exams", lambda f: [Exam(i.ref.study_uid, (SeriesFacts("s", (i,)),)) for i in f]
    )
    monkeypatch.setattr("pipeline.run.analyse", analyse)
    return done


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_folder_of_exams_becomes_a_table_and_resumes(tmp_path: Path, three_exams: list[str], name: str) -> None:
    table = tmp_path / name
    first = invoke(tmp_path, "--out", table, "--json")
    assert isinstance(first.exception, ExamRejected)
    assert json.loads(first.stdout)["rows"] == 2
    assert "1.2.2: the tumour ROI is empty" in first.stderr
    second = invoke(tmp_path, "--out", table, "--json")
    assert json.loads(second.stdout) | {"failed": []} == {"table": str(table), "rows": 0, "skipped": 2, "failed": []}
    assert three_exams == ["1.2.1", "1.2.2", "1.2.3", "1.2.2"]
    if name.endswith(".csv"):
        with table.open() as stream:
            assert [row[FEATURE] for row in csv.DictReader(stream)] == ["2.5", "2.5"]


def test_a_folder_without_exams_is_refused(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("nothing")
    answer = invoke(tmp_path, "--out", tmp_path / "t.csv")
    assert isinstance(answer.exception, ExamRejected)
    assert not (tmp_path / "t.csv").exists()
