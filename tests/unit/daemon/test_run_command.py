"""`axrad run`: a folder of DICOM files in, result, features, report and page out."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pydicom import dcmread

from daemon.main import cli
from dicom_sr.checks.content import check_report
from pipeline.errors import ExamRejected
from pipeline.phantom import PhantomExam, PhantomSpec, write_exam
from pipeline.result import StudyResult

SETTINGS = '[signature]\nmax_outside = {limit}\nmax_distance = 1e9\n[features]\nset = "signature"\n'


@pytest.fixture(scope="module")
def exam(tmp_path_factory: pytest.TempPathFactory) -> PhantomExam:
    return write_exam(tmp_path_factory.mktemp("exam"), PhantomSpec(seed=31, preset="small"))


def run(exam: PhantomExam, out: Path, *options: str, limit: float = 1.0) -> Result:
    config = out.parent / "axrad.toml"
    config.write_text(SETTINGS.format(limit=limit))
    arguments = ["run", str(exam.folder), "--out", str(out), "--config", str(config), *options]
    return CliRunner().invoke(cli, arguments)


def test_an_evaluated_exam_leaves_result_features_report_and_page(exam: PhantomExam, tmp_path: Path) -> None:
    done = run(exam, tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "evaluated" in done.stdout
    out = tmp_path / "out"
    assert {"result.json", "features.csv", "sr.dcm", "page.dcm", "page.pdf"} <= {p.name for p in out.iterdir()}
    found = StudyResult.from_json((out / "result.json").read_bytes())
    assert found.study_uid == exam.study_uid
    assert {"match", "load", "bias", "features", "predict", "report", "total"} <= found.timings_s.keys()
    assert found.clinical is None
    assert check_report((out / "sr.dcm").read_bytes(), found) == []
    with (out / "features.csv").open(newline="") as file:
        rows = {row["feature"]: float(row["value"]) for row in csv.DictReader(file)}
    assert rows == found.features


def test_one_json_document_with_the_keys_that_others_read_is_printed_where_asked(
    exam: PhantomExam, tmp_path: Path
) -> None:
    done = run(exam, tmp_path / "out", "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document == json.loads((tmp_path / "out" / "result.json").read_text())
    assert (document["preliminary"], document["absent"]) == (False, {})
    assert document["sequences"].keys() == {"t1c", "t2", "adc"}
    nodes = document["rois"]["lymph_nodes"]
    assert (nodes["drawn_on"], nodes["origin"], nodes["confirmed_by"]) == ("t1c", "drawn", None)
    assert nodes["nodes"]
    keys = {"number", "segment", "volume_mm3", "long_axis_mm", "short_axis_mm"}
    assert all(keys <= node.keys() for node in nodes["nodes"])


def test_an_exam_that_is_not_evaluated_has_a_report_that_says_why(exam: PhantomExam, tmp_path: Path) -> None:
    done = run(exam, tmp_path / "out", limit=0.0)
    assert isinstance(done.exception, ExamRejected)
    found = StudyResult.from_json((tmp_path / "out" / "result.json").read_bytes())
    assert (found.status, found.prediction) == ("not_evaluated", None)
    sr = dcmread(tmp_path / "out" / "sr.dcm")
    assert "not evaluated" in sr.SeriesDescription


def test_a_folder_without_images_is_refused(exam: PhantomExam, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = CliRunner().invoke(cli, ["run", str(tmp_path / "empty"), "--out", str(tmp_path / "out")])
    assert isinstance(done.exception, ExamRejected)
    assert "holds no MR images" in done.exception.message


def test_a_clinical_registry_is_not_opened_for_a_signature_that_reads_none(exam: PhantomExam, tmp_path: Path) -> None:
    broken = tmp_path / "registry.csv"
    broken.write_text("name\nnobody\n")
    assert run(exam, tmp_path / "out", "--clinical", str(broken)).exit_code == 0
