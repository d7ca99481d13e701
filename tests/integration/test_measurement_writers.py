"""Measurements by programs of others, and what validators of others say of the segmentation made of measurements."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from daemon.cli.propose import propose
from pipeline.measurements import read_file
from pipeline.phantom import PhantomExam, PhantomSpec, write_exam
from pipeline.phantom.measurements import write_measurements
from tests.support import validators


@pytest.fixture(scope="module")
def exam(tmp_path_factory: pytest.TempPathFactory) -> PhantomExam:
    return write_exam(tmp_path_factory.mktemp("exam") / "exam", PhantomSpec(3, preset="small"))


def code(value: str, scheme: str, meaning: str) -> dict[str, str]:
    return {"CodeValue": value, "CodingSchemeDesignator": scheme, "CodeMeaning": meaning}


def test_what_dcmqi_measures_of_a_segment_is_left_to_the_segmentation(exam: PhantomExam, tmp_path: Path) -> None:
    series = next(s for s in exam.series if s.series_uid == exam.chosen["t1c"])
    assert exam.seg_path is not None
    volume = {
        "value": "37.3",
        "quantity": code("118565006", "SCT", "Volume"),
        "units": code("mm3", "UCUM", "cubic millimeter"),
    }
    group = {
        "TrackingIdentifier": "Tumor", "ReferencedSegment": 1, "SourceSeriesForImageSegmentation": series.series_uid,
        "segmentationSOPInstanceUID": exam.seg_uid, "Finding": code("108369006", "SCT", "Neoplasm"),
        "FindingSite": code("76752008", "SCT", "Breast"), "measurementItems": [volume],
    }  # fmt: skip
    document = {
        "@schema": "https://raw.githubusercontent.com/qiicr/dcmqi/master/doc/schemas/sr-tid1500-schema.json#",
        "SeriesDescription": "Measurements", "SeriesNumber": "1001", "InstanceNumber": "1",
        "compositeContext": [exam.seg_path.name], "imageLibrary": [p.name for p in series.paths[:2]],
        "observerContext": {"ObserverType": "PERSON", "PersonObserverName": "Reader01"},
        "VerificationFlag": "VERIFIED", "CompletionFlag": "COMPLETE", "activitySession": "1", "timePoint": "1",
        "Measurements": [group],
    }  # fmt: skip
    (tmp_path / "meta.json").write_text(json.dumps(document))
    command = [
        Path(sys.executable).parent / "tid1500writer", "--inputMetadata", tmp_path / "meta.json",
        "--inputImageLibraryDirectory", series.paths[0].parent, "--inputCompositeContextDirectory", exam.folder,
        "--outputDICOM", tmp_path / "sr.dcm",
    ]  # fmt: skip
    subprocess.run([str(c) for c in command], check=True, capture_output=True)
    report = read_file(tmp_path / "sr.dcm")
    assert (report.measurements, [n.code for n in report.not_used]) == ((), ["of-a-segment"])
    assert exam.seg_uid in {r.sop_instance_uid for r in report.references}


@pytest.mark.peer("dciodvfy")
def test_dciodvfy_finds_nothing_in_the_segmentation_of_proposed_regions(exam: PhantomExam, tmp_path: Path) -> None:
    write_measurements(exam, 0.5)
    CliRunner().invoke(propose, [str(exam.folder), "--out", str(tmp_path)], catch_exceptions=False)
    assert validators.dciodvfy(tmp_path / "proposal.dcm") == []
