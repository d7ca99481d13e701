"""A report says the same in each language: every sentence is there, and codes and numbers do not change."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from config.schema import Report, Settings
from dicom_sr import feature_codes
from dicom_sr.basic_text import basic_text_report
from dicom_sr.checks.content import check_report
from dicom_sr.common_attributes import MODEL
from dicom_sr.language import ENGLISH, LANGUAGES, words_in
from dicom_sr.page import drawn
from dicom_sr.rejection import rejection_note
from dicom_sr.rendering import render
from dicom_sr.structured_report import structured_report
from pipeline import errors
from pipeline.pictures import fonts
from pipeline.records import LeftOut
from pipeline.result import Clinical, QualityCheck, StudyResult
from tests.support.pages import BODIES, IDENTITIES, NAMES, SIDES, boxes, collisions, identified, longest
from tests.support.reports import KINDS, case

CHINESE = words_in("zh")
IN_CHINESE = Settings(report=Report(language="zh"))
FIELD = re.compile(r"\{(\w+)\}")
PIPELINE = Path(__file__).parents[3] / "pipeline"
# What is called by its name in every language.
NAMES_KEPT = re.compile(
    r"axrad|ADC|DEMO|PDF|DICOM|SEG|RTSTRUCT|FHIR|PyRadiomics|Otsu|result\.json|wavelet [LH]{3}|T1\+C|T2|MRI|mm3?"
    r"|Modality LUT|paper|(?:sequences|align|roi|bias)\.\w+|signature-\w*|U\+[0-9A-F]+|GTV|DWI|NaN|Ki-67|UTC|LR"
    r"|[a-z-]+ \d+\.[\d.]+\w*"
)
# Sentences of the analysis, as they stand in result.json.
SAID = (
    "aln@3 was trained on drawn regions, these are measured, model-made: no recorded evaluation on such regions speaks "
    "for it, and signature.allow_origins does not name them",
    "aln@3 was trained on drawn, measured regions, these are enhancement-based: the settings allow it",
    "aln@3 was trained on drawn regions, these are measured: a recorded evaluation speaks for it",
    "aln@3 was trained on subtypes in which Ki-67 is high from 14 % on, here from 20 % on "
    "(clinical.ki67_high_percent): luminal A and B are told apart otherwise",
    "the exam has no series that could be T2; the axillary lymph node ROI is missing",
    "side L: the tumor region keeps 0.30 of its volume on series 2.25.1011; 0.5 to 2 is allowed",
    "two objects draw the same tumor: segment 1 of 2.25.12345 and segment 2 of 2.25.34567; send the one that counts",
    "two series could be T2 and are too close to call: 1.2.3.4.5 ('AX', 0.83) and 1.2.3.4.6 ('BX', 0.80); name the "
    "right one in sequences.use",
    "no segment is recognised as tumour or lymph node: segment 1 (X, Cyst) of 2.25.12345: coded as Cyst that is "
    "neither; segment 2 (Y) of 2.25.12345: no code or word that tells",
    "segment 1 of 2.25.12345: 5 of 12 frames lie up to 3.50 mm (1.2 slices) from the images that they name as their "
    "source; nobody can tell which is right. Set roi.allow_contradictory_positions to go by the positions",
    "a@1 needs features that are missing: adc.tumor.wavelet-LLL_glcm_MCC: Not defined for this region: PyRadiomics "
    "gives nan.; t1c.tumor.original_shape_Sphericity and 3 more",
    "outside what the signature was trained on: 34 of 180 features (19%, limit 10%): t1c.tumor.original_shape_Flatness "
    "and 29 more",
    "b@2 needs age_years, ki67_percent, which is missing: a@1 was used instead; age_years: no age in DICOM; "
    "ki67_percent: the clinical registry cannot be used; not in the registry",
    "an operator chose series 1.2.840.5 as T2, which it cannot be: it is not in the exam",
    "protocol not seen in training: manufacturer X (trained on Y); tr_ms 5 (trained on 3 to 4)",
)


def test_every_key_and_every_field_is_in_every_language() -> None:
    for language in LANGUAGES:
        table = words_in(language).table
        assert set(table) == set(ENGLISH.table)
        for section, sentences in ENGLISH.table.items():
            assert list(table[section]) == list(sentences), (language, section)
            for key, english in sentences.items():
                needed = {name for name in FIELD.findall(english) if not name.startswith("_")}
                assert set(FIELD.findall(table[section][key])) == needed or language == "en", (language, key)
                assert table[section][key].strip() or key in ("gap", "after_side")


def test_no_sentence_of_the_chinese_table_is_left_in_english() -> None:
    for section in ("words", "codes", "reasons"):
        for key, text in CHINESE.table[section].items():
            assert english_words(FIELD.sub("", text)) == [], (section, key)


@pytest.mark.parametrize("sentence", SAID)
def test_what_the_analysis_says_is_told_in_chinese_with_its_numbers(sentence: str) -> None:
    told = CHINESE.told(sentence)
    assert told != CHINESE("reason_elsewhere")
    assert CHINESE("reason_elsewhere") not in told
    for number in re.findall(r"(?<![\w.@])\d+(?:\.\d+)?%?(?![\w.])", re.sub(r"\b[12](?:\.\d+){2,}", "", sentence)):
        assert number in told


def test_a_sentence_that_is_in_no_table_is_told_by_its_code_and_numbers_as_they_are() -> None:
    assert CHINESE.told("something new went wrong", "roi-empty") == "区域为空"
    assert CHINESE.told("something new went wrong", "no-such-code") == "原因见 result.json"
    assert CHINESE.told("17 22 8") == "17 22 8"
    assert ENGLISH.told("something new went wrong", "roi-empty") == "something new went wrong"


def test_every_code_of_an_exam_that_is_not_evaluated_has_a_sentence() -> None:
    found = set(codes_of_the_analysis())
    assert {"roi-missing", "too-few-slices", "ambiguous-t2", "outside-training", "no-signature-fits"} <= found
    assert found - set(CHINESE.table["codes"]) == set()


def codes_of_the_analysis() -> Iterator[str]:
    """Codes of the errors that reject an exam, and those that stand before a sentence in a pair."""
    yield from (
        error.code
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, errors.ExamRejected)
    )
    rejecting = re.compile(r"(NotDicom|(?!Input)[A-Z]\w*Rejected|OutsideTraining|Absence)$")
    for path in PIPELINE.rglob("*.py"):
        if {"research", "phantom", "proposal"} & set(path.parts):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and rejecting.search(ast.unparse(node.func)):
                given = [k.value for k in node.keywords if k.arg == "code"]
                given += node.args[:1] if ast.unparse(node.func) == "Absence" else []
                yield from (code for value in given for code in codes_in(value))
            elif isinstance(node, ast.Tuple) and len(node.elts) == 2 and {"sequences", "analysis"} & set(path.parts):
                if isinstance(node.elts[1], ast.Constant) and " " not in str(node.elts[1].value):
                    continue
                yield from codes_in(node.elts[0])


def codes_in(value: ast.expr) -> Iterator[str]:
    for node in ast.walk(value):
        if isinstance(node, ast.JoinedStr):
            text = ast.unparse(node)[2:-1]
            for sequence in ("t1c", "t2", "adc"):
                code = text.replace("{sequence}", sequence)
                # what has no fall-back is never chosen among T1+C
                if code not in ("fragment-t1c", "not-covering-t1c") and re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", code):
                    yield code
        elif isinstance(node, ast.Constant) and re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", str(node.value)):
            yield str(node.value)


def spoken(result: StudyResult) -> StudyResult:
    """The result with everything that the analysis can say beside an answer."""
    return result.model_copy(
        update={
            "left_out": (LeftOut("2.25.5", 7, "X", "it is empty"), LeftOut("2.25.6", None, "", "cannot be read: x")),
            "absent": {
                "adc.tumor": "the tumor region has no voxel on series 2.25.1012: it lies outside or between its slices"
            },
            "quality": (
                QualityCheck(check="kept_volume.adc.lymph_nodes.L", value=0.41, limit="0.5..2", ok=False),
                QualityCheck(check="one side not evaluated", value=f"side R: {SAID[0]}", ok=False),
                QualityCheck(check="drawn_on.tumor", value="DWI or ADC", limit="T1+C or T2", ok=False,
                             note="drawn on diffusion images, which are distorted"),
            ),
            "clinical": Clinical(missing={"age_years": "no age in DICOM"}),
        }
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_no_english_sentence_is_left_in_a_chinese_report(kind: str) -> None:
    example = case(kind)
    result, source = spoken(example.result), example.source
    kept = {word for text in from_the_source(result) for word in re.findall(r"[A-Za-z]+", text)}
    texts = [text for sr in reports(result, example) for text in texts_of(sr)]
    drawing = drawn(result, source, example.panels, IN_CHINESE)
    for sheet in (drawing.sheet, *drawing.more):
        texts += [str(whole) for whole in (*sheet.cut, *boxes(sheet)[0]) if not str(whole).endswith("...")]
    for text in texts:
        assert [word for word in english_words(text) if word not in kept] == [], text


def reports(result: StudyResult, example: object) -> Iterator[bytes]:
    source = example.source  # type: ignore[attr-defined]
    yield structured_report(result, source, IN_CHINESE)
    yield basic_text_report(result, source, IN_CHINESE)
    note = rejection_note(result, source, IN_CHINESE)
    if note is not None:
        yield note


def from_the_source(result: StudyResult) -> Iterator[str]:
    """Names that a report takes over as they are: of series, segments, signatures, patients, packages and codes."""
    yield from (choice.description for choice in result.sequences.values())
    yield from (code.meaning for code in feature_codes.public_and_private())
    yield from result.software
    yield f"Doe Jane Wang XiaoDong ACC {MODEL} {result.input_digest} MR breast"
    for _, part in result.parts():
        yield from (d.label + " " + (d.tracking_id or "") for roi in part.rois.values() for d in roi.segment_details)
        if part.prediction is not None:
            yield part.prediction.signature
    yield str(result.signature.get("name", ""))


def texts_of(sr: bytes) -> Iterator[str]:
    """What a person reads of a report beside coded names."""
    ds = pydicom.dcmread(BytesIO(sr))
    yield ds.SeriesDescription
    for element in ds.iterall():
        if element.keyword == "TextValue":
            yield str(element.value)


def english_words(text: str) -> list[str]:
    """Words of more than two letters that are no name."""
    return re.findall(r"[A-Za-z]{3,}", NAMES_KEPT.sub(" ", re.sub(r"[\w.-]+@[\w.]+|[0-9a-f.]{12,}", " ", text)))


@pytest.mark.parametrize("kind", ["high", "not_evaluated", "bilateral", "three_segments"])
def test_codes_and_numbers_are_those_of_the_english_report(kind: str) -> None:
    example = case(kind)
    both = [structured_report(example.result, example.source, s) for s in (Settings(), IN_CHINESE)]
    english, chinese = ([*coded(pydicom.dcmread(BytesIO(sr)))] for sr in both)
    assert english == [("en", "") if code == ("zh", "") else code for code in chinese]
    assert check_report(both[1], example.result) == []


def coded(ds: Dataset) -> Iterator[tuple[str, str]]:
    for element in ds.iterall():
        if element.keyword == "CodeValue":
            yield str(element.value), ""
        elif element.keyword in ("NumericValue", "FloatingPointValue"):
            yield element.keyword, str(element.value)
        elif element.keyword == "CodingSchemeDesignator":
            yield str(element.value), "scheme"


def test_a_chinese_report_has_uids_of_its_own_and_says_its_language() -> None:
    example = case("high")
    english, chinese = (render(example.result, example.source, example.panels, s) for s in (Settings(), IN_CHINESE))
    one, other = (pydicom.dcmread(BytesIO(r.objects["sr"])) for r in (english, chinese))
    assert one.SOPInstanceUID != other.SOPInstanceUID
    assert other.ContentSequence[0].ConceptCodeSequence[0].CodeValue == "zh"
    assert other.SpecificCharacterSet == "ISO_IR 192"
    assert other.SeriesDescription == "高风险：axrad 腋窝淋巴结转移"
    pdf = pydicom.dcmread(BytesIO(chinese.objects["pdf"]))
    assert pdf.DocumentTitle == "高风险：腋窝淋巴结转移，影像组学模型"


def test_a_chinese_report_keeps_a_character_set_of_its_source_that_holds_it() -> None:
    example = case("high")
    source = replace(example.source, character_sets=("GB18030",))
    ds = pydicom.dcmread(BytesIO(structured_report(example.result, source, IN_CHINESE)))
    assert ds.SpecificCharacterSet == "GB18030"
    assert "腋窝淋巴结转移" in ds.SeriesDescription


needs_chinese = pytest.mark.skipif("Chinese" in fonts.missing_scripts(), reason="no font here draws Chinese")


@needs_chinese
@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("body", BODIES)
def test_no_longest_chinese_text_prints_over_another(body: str, sides: str) -> None:
    result = longest(body, sides, banner=True, reasons=SAID[1:5])
    source = identified(case("high").source, NAMES["no_font"], IDENTITIES["long"])
    drawing = drawn(result, source, (), IN_CHINESE)
    for sheet in (drawing.sheet, *drawing.more):
        assert collisions(sheet) == []


@needs_chinese
@pytest.mark.parametrize("kind", KINDS)
def test_chinese_texts_and_pictures_of_every_kind_of_result_keep_apart(kind: str) -> None:
    example = case(kind)
    drawing = drawn(spoken(example.result), example.source, example.panels, IN_CHINESE)
    for sheet in (drawing.sheet, *drawing.more):
        assert collisions(sheet) == []
