"""A preliminary result says so first, in every object and language, and the report's own check insists on it."""

from __future__ import annotations

import io

import pydicom
import pytest

from config.schema import Report, Settings
from dicom_sr import codes
from dicom_sr.basic_text import basic_text_report
from dicom_sr.checks.content import check_report
from dicom_sr.common_attributes import document_title
from dicom_sr.structured_report import structured_report
from tests.support.report_variants import case

SETTINGS = {language: Settings(report=Report(language=language)) for language in ("en", "zh")}
HEADS = {"en": "PRELIMINARY ", "zh": "初步 "}


@pytest.mark.parametrize("language", SETTINGS)
@pytest.mark.parametrize("make", [structured_report, basic_text_report])
def test_it_begins_description_title_and_conclusion(language: str, make: object) -> None:
    example, settings = case("high"), SETTINGS[language]
    result = example.result.model_copy(update={"preliminary": True})
    data = make(result, example.source, settings)  # type: ignore[operator]
    ds = pydicom.dcmread(io.BytesIO(data))
    assert ds.SeriesDescription.startswith(HEADS[language])
    assert document_title(result, settings).startswith(HEADS[language])
    conclusions = texts(ds, codes.CONCLUSION.value)
    assert all(text.startswith(HEADS[language].strip()) for text in conclusions)
    assert conclusions
    assert check_report(data, result) == []
    assert check_report(data, example.result), "the result says that it is confirmed"
    assert ds.PreliminaryFlag == "PRELIMINARY"


def test_a_confirmed_report_has_neither_words_nor_code() -> None:
    example, settings = case("high"), SETTINGS["en"]
    data = structured_report(example.result, example.source, settings)
    assert b"PRELIMINARY: no reader" not in data
    assert codes.RESULT_STATUS.value.encode() + b"\x08" not in data
    preliminary = example.result.model_copy(update={"preliminary": True})
    assert any(finding.code == "preliminary" for finding in check_report(data, preliminary))


def texts(ds: pydicom.Dataset, concept: str) -> list[str]:
    written: list[str] = []
    for item in ds.get("ContentSequence") or ():
        names = item.get("ConceptNameCodeSequence")
        if names and names[0].CodeValue == concept and item.ValueType == "TEXT":
            written.append(str(item.TextValue))
        written += texts(item, concept)
    return written
