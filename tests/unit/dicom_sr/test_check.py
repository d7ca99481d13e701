from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from click.testing import CliRunner
from pydicom.dataset import Dataset

from config.schema import Settings
from daemon.cli.check_sr import check_sr
from dicom_sr import render, rendering
from dicom_sr.checks.content import Finding, check_report
from dicom_sr.structured_report import structured_report
from pipeline.errors import NotDicom, ReportRejected
from tests.support.reports import case

EXAMPLE = case("high")
REPORT = structured_report(EXAMPLE.result, EXAMPLE.source, Settings())


def altered(change: Callable[[Dataset], object]) -> set[str]:
    """Codes of what the check finds after a change to a good report."""
    ds = pydicom.dcmread(io.BytesIO(REPORT))
    change(ds)
    buffer = io.BytesIO()
    ds.save_as(buffer)
    return {finding.code for finding in check_report(buffer.getvalue(), EXAMPLE.result)}


def section(ds: Dataset, concept: str) -> Dataset:
    return next(i for i in ds.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == concept)


def first_group(ds: Dataset) -> Dataset:
    found = section(ds, "126010").ContentSequence
    return next(i for i in found if i.ConceptNameCodeSequence[0].CodeValue == "125007")


def first_number(ds: Dataset) -> Dataset:
    return next(i for i in first_group(ds).ContentSequence if i.ValueType == "NUM")


def _wrong_number(ds: Dataset) -> None:
    first_number(ds).MeasuredValueSequence[0].FloatingPointValue = 73.21457


def _rounded_wrong(ds: Dataset) -> None:
    first_number(ds).MeasuredValueSequence[0].NumericValue = "73.3"


def _not_finite(ds: Dataset) -> None:
    first_number(ds).MeasuredValueSequence[0].FloatingPointValue = math.nan


def _no_number(ds: Dataset) -> None:
    group = first_group(ds)
    group.ContentSequence = [i for i in group.ContentSequence if i.ValueType != "NUM"]


def _meaning(ds: Dataset) -> None:
    first_number(ds).ConceptNameCodeSequence[0].CodeMeaning = "Probability of something else"


def _unknown_code(ds: Dataset) -> None:
    first_number(ds).ConceptNameCodeSequence[0].CodeValue = "NOBODY"


def _disease(ds: Dataset) -> None:
    finding = first_group(ds).ContentSequence[2].ConceptCodeSequence[0]
    finding.CodeValue, finding.CodingSchemeDesignator = "111330", "DCM"
    finding.CodeMeaning = "Metastatic disease to axillary node"


def _no_scheme(ds: Dataset) -> None:
    del ds.CodingSchemeIdentificationSequence


def _dangling(ds: Dataset) -> None:
    item = next(i for i in first_group(ds).ContentSequence if i.ValueType == "IMAGE")
    item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID = "2.25.404"


def _less_evidence(ds: Dataset) -> None:
    del ds.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]


def _verified(ds: Dataset) -> None:
    ds.VerificationFlag = "VERIFIED"


def _continuous(ds: Dataset) -> None:
    first_group(ds).ContinuityOfContent = "CONTINUOUS"


def _untracked(ds: Dataset) -> None:
    del first_group(ds).ContentSequence[1]


def _other_words(ds: Dataset) -> None:
    section(ds, "C0034375").ContentSequence[1].TextValue = "Low risk, nothing to see."


def _other_category(ds: Dataset) -> None:
    code = section(ds, "C0034375").ContentSequence[0].ConceptCodeSequence[0]
    code.CodeValue, code.CodeMeaning = "75976002", "Low risk"


def _other_study(ds: Dataset) -> None:
    ds.StudyInstanceUID = "2.25.9"


def _nameless(ds: Dataset) -> None:
    ds.SeriesDescription = ""


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (_wrong_number, "number"),
        (_rounded_wrong, "rounding"),
        (_not_finite, "not-finite"),
        (_no_number, "absent"),
        (_meaning, "meaning"),
        (_unknown_code, "code"),
        (_disease, "asserts-disease"),
        (_no_scheme, "scheme"),
        (_dangling, "reference"),
        (_less_evidence, "evidence"),
        (_verified, "flag"),
        (_continuous, "continuity"),
        (_untracked, "tracking"),
        (_other_words, "conclusion"),
        (_other_category, "category"),
        (_other_study, "study"),
        (_nameless, "missing"),
    ],
)
def test_what_is_wrong_is_found(change: Callable[[Dataset], object], code: str) -> None:
    assert code in altered(change)


def test_nothing_is_found_in_a_good_report() -> None:
    assert altered(lambda ds: None) == set()


@pytest.mark.parametrize("data", [b"", b"x" * 200])
def test_what_is_no_dicom_is_refused(data: bytes) -> None:
    with pytest.raises(NotDicom):
        check_report(data)


@pytest.mark.parametrize("length", [200, len(REPORT) // 2, len(REPORT) - 20])
def test_a_truncated_report_is_refused_or_found_wanting(length: int) -> None:
    try:
        findings = check_report(REPORT[:length], EXAMPLE.result)
    except NotDicom:
        return
    assert findings


def test_an_image_is_no_report() -> None:
    page = render(EXAMPLE.result, EXAMPLE.source, ()).objects["page"]
    assert [f.code for f in check_report(page)] == ["no-report"]


def test_a_report_that_fails_is_not_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "check_report", lambda *_: [Finding("number", "a number is wrong", "1.2")])
    with pytest.raises(ReportRejected, match="a number is wrong"):
        render(EXAMPLE.result, EXAMPLE.source, ())


@pytest.mark.cases
@pytest.mark.parametrize("name", ["dcmqi_tid1500.dcm", "rsna2018_radiomics_tid1500.dcm", "rsna2018_dataset1.dcm"])
def test_reports_of_others_are_read_and_found_wanting(cases: Path, name: str) -> None:
    assert check_report((cases / "sr" / name).read_bytes())


def test_the_command_says_that_a_report_is_right(tmp_path: Path) -> None:
    (tmp_path / "sr.dcm").write_bytes(REPORT)
    (tmp_path / "result.json").write_text(EXAMPLE.result.to_json())
    done = CliRunner().invoke(check_sr, [str(tmp_path / "sr.dcm"), "--result", str(tmp_path / "result.json"), "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout) == {"ok": True, "findings": []}


def test_the_command_rejects_a_report_of_another_result(tmp_path: Path) -> None:
    (tmp_path / "sr.dcm").write_bytes(REPORT)
    (tmp_path / "result.json").write_text(case("low").result.to_json())
    done = CliRunner().invoke(check_sr, [str(tmp_path / "sr.dcm"), "--result", str(tmp_path / "result.json"), "--json"])
    assert isinstance(done.exception, ReportRejected)
    assert {f["code"] for f in json.loads(done.stdout)["findings"]} == {"number", "conclusion", "category"}
