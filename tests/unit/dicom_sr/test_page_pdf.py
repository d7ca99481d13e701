"""The PDF: names in many scripts, text as it is extracted, paper, and what stands on its further pages."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from config.schema import Report, Settings
from dicom_sr.language import ENGLISH
from dicom_sr.page import Drawing, draw_page, drawn, fonts, pdf_of
from dicom_sr.plain_reasons import plain
from pipeline.pictures.fonts import SCRIPTS, font_path, missing_scripts
from pipeline.records import LeftOut
from tests.support.pages import LONG_REASONS, boxes, identified, longest, many_nodes
from tests.support.reports import case

NAMES = {
    "Chinese": "Wang^XiaoDong=王^小东",
    "Japanese": "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎",
    "Korean": "Hong^Gildong=洪^吉洞=홍^길동",
    "Hangul": "홍^길동",
    "Thai": "น้ำผึ้ง^สมชาย",
    "Devanagari": "कुलकर्णी^श्रीमती प्रिया",
    "Arabic": "الأحمد^محمد",
    "Hebrew": "כהן^שרה",
    "Cyrillic": "Люксембург^Елена",
    "Greek": "Παπαδοπούλου^Ελένη",
}


@pytest.fixture
def all_scripts() -> None:
    if missing_scripts():
        pytest.skip(f"no font here draws {', '.join(missing_scripts())} (script/setup installs them)")


def text_of(pdf: bytes, folder: Path, *options: str) -> str:
    """What pdftotext extracts, without marks of direction."""
    (folder / "page.pdf").write_bytes(pdf)
    command = ["pdftotext", *options, "-enc", "UTF-8", str(folder / "page.pdf"), "-"]
    out = subprocess.run(command, check=True, capture_output=True).stdout.decode()
    return re.sub("[\u200e\u200f\u202a-\u202e]", "", out)


def named(name: str) -> Drawing:
    example = case("high")
    return drawn(example.result, identified(example.source, name), (), Settings())


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_names_of_every_script_are_drawn_without_boxes(name: str, all_scripts: None) -> None:
    assert fonts.undrawable(name) == ""
    texts, _ = boxes(named(name).sheet)
    assert fonts.MISSING not in "".join(texts)
    assert "no font" not in "".join(texts)


@pytest.mark.peer("pdftotext")
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_names_of_every_script_are_extracted_as_they_are_written(name: str, tmp_path: Path, all_scripts: None) -> None:
    text = text_of(pdf_of(named(name)), tmp_path)
    for component in re.split(r"[\^= ]", name.rpartition("=洪")[0] or name):
        assert component in text


def test_each_character_is_drawn_by_the_first_font_that_has_it() -> None:
    assert font_path("a") == font_path("\u0436") == font_path("\u05d0")
    for script, character in SCRIPTS.items():
        assert font_path(character) != font_path("a") or script in missing_scripts()
    assert fonts.families("plain") == (fonts.OWN,)


def test_what_no_font_draws_is_told_beside_the_name_and_never_instead_of_it() -> None:
    drawing = named("Doe\U0001f9ec^Jane\U0010fffd")
    texts, found = boxes(drawing.sheet)
    at, told = texts.index("Doe□ Jane□"), texts.index("no font for U+1F9EC, U+10FFFD")
    assert found[at][2] < found[told][0]
    assert found[at][1] == pytest.approx(found[told][1], abs=6)
    assert any("U+1F9EC, U+10FFFD" in text for text in boxes(drawing.more[0])[0])


def test_characters_without_a_glyph_become_boxes_and_never_fail() -> None:
    assert fonts.drawable("a\U0001f9ec\x07b\u3000\u200dc") == "a□b c"
    assert fonts.undrawable("\U0001f9ec\U0001f9ecx") == "\U0001f9ec"


@pytest.mark.parametrize(("paper", "box"), [("a4", "595.27559055 841.88976378"), ("letter", "612 792")])
def test_every_page_has_the_size_of_the_paper(paper: str, box: str) -> None:
    example = case("high")
    settings = Settings(report=Report(paper=paper))
    pdf = draw_page(example.result, example.source, (), settings).pdf
    sizes = re.findall(rb"/MediaBox \[ ?0 0 ([\d.]+ [\d.]+) ?\]", pdf)
    assert len(sizes) == 2
    for size in sizes:
        wanted = [float(v) for v in box.split()]
        assert [float(v) for v in size.split()] == pytest.approx(wanted, abs=0.01)


@pytest.mark.peer("pdftotext")
def test_the_further_pages_hold_all_reasons_nodes_checks_sequences_and_versions(tmp_path: Path) -> None:
    result = longest("not_evaluated", "one", banner=True, reasons=LONG_REASONS)
    result = result.model_copy(update={"rois": many_nodes(25), "left_out": (LeftOut("2.25.9", 4, "Implant", "no"),)})
    pdf = pdf_of(drawn(result, case("high").source, (), Settings()))
    text = " ".join(text_of(pdf, tmp_path).split())
    further = text.partition("page 2 of")[0]
    for reason in LONG_REASONS:
        assert plain(reason, result, ENGLISH).replace(" ", "") in text.replace(" ", "")
    table = text_of(pdf, tmp_path, "-layout")
    assert re.search(r"25 +26 +11\.2 +18\.3 +0\.225", table)
    assert "Implant" in text
    assert text.count("FAILED: ") == len(result.quality)
    for needed in ("t1_fl3d_tra_dynaVIEWS_spair_1+5_SUB_ND", "pyradiomics 3.0.1", "SimpleITK 2.5.2", "c0ffee" * 10):
        assert needed in text
    assert "not verified by a physician" in further


@pytest.mark.peer("pdftotext")
def test_the_first_page_extracts_as_it_is_read(tmp_path: Path) -> None:
    example = case("high")
    text = text_of(draw_page(example.result, example.source, example.panels, Settings()).pdf, tmp_path)
    for wanted in ("Doe Jane", "P-001", "HIGH RISK", "73 %", "cutoff 48 %", "Research use only.", "aln-demo@1.2.0"):
        assert wanted in text


@pytest.mark.peer("pdfinfo")
def test_metadata_name_no_patient(tmp_path: Path) -> None:
    (tmp_path / "page.pdf").write_bytes(pdf_of(named(NAMES["Chinese"])))
    command = ["pdfinfo", str(tmp_path / "page.pdf")]
    said = subprocess.run(command, check=True, capture_output=True).stdout.decode()
    assert "High risk: axillary lymph node metastasis" in said
    assert not any(word in said for word in ("Wang", "王", "P-001", "ACC42", "CreationDate"))
