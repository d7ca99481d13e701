from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from fontTools.subset import Options
from fontTools.ttLib import TTFont
from PIL import Image

from config.schema import Report, Settings, Work
from dicom_sr import render
from dicom_sr.page import draw_page, drawn, fonts, pdf_of, png_of
from dicom_sr.page.first_page import Drawing
from dicom_sr.page.readable_names import day, person_name
from dicom_sr.page.sheet import PINK, SIDE_PX, YELLOW
from tests.support.report_variants import made_by_software
from tests.support.reports import Case, case

ROOT = Path(__file__).resolve().parents[3]
NOTE = "proposed, not confirmed"


def page_of(example: Case) -> np.ndarray:
    return draw_page(example.result, example.source, example.panels, Settings()).pixels_yxc


def has_colour(pixels: np.ndarray, colour: str) -> int:
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int(np.count_nonzero(np.all(pixels == wanted, axis=-1)))


def test_the_page_is_a_square_of_1024_pixels_and_the_png_shows_the_same() -> None:
    example = case("high")
    page = draw_page(example.result, example.source, example.panels, Settings())
    assert page.pixels_yxc.shape == (SIDE_PX, SIDE_PX, 3)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(page.png))), page.pixels_yxc)


def test_a_demonstration_has_its_banner_and_others_have_none() -> None:
    assert has_colour(page_of(case("demonstration"))[:34], YELLOW) > 20000
    assert has_colour(page_of(case("high"))[:34], YELLOW) == 0


def test_contours_of_both_regions_are_drawn() -> None:
    pixels = page_of(case("high"))
    assert has_colour(pixels, YELLOW) > 100
    assert has_colour(pixels, PINK) > 100


def test_a_region_that_nobody_confirmed_is_outlined_in_dashes_and_said_to_be_proposed() -> None:
    drawn_by_hand, proposed, confirmed = (
        drawn(example.result, example.source, example.panels, Settings())
        for example in (case("high"), made_by_software(), made_by_software("dr.a"))
    )

    def own_lines_dashed(drawing: Drawing, colour: str) -> set[bool]:
        widest = [line for axes in drawing.sheet.figure.axes for line in axes.get_lines() if line.get_color() == colour]
        most = max(line.get_linewidth() for line in widest)
        return {line.get_linestyle() != "-" for line in widest if line.get_linewidth() == most}

    assert own_lines_dashed(drawn_by_hand, YELLOW) == own_lines_dashed(confirmed, YELLOW) == {False}
    assert (own_lines_dashed(proposed, YELLOW), own_lines_dashed(proposed, PINK)) == ({True}, {False})
    page, *pictures = proposed.sheet.figure.axes
    said = [[text.get_text() for text in axes.texts] for axes in (page, *pictures)]
    assert [NOTE in texts for texts in said[1:]].count(True) == 3
    assert NOTE in " ".join(said[0])
    assert not any(NOTE in text.get_text() for axes in confirmed.sheet.figure.axes for text in axes.texts)


def test_the_marker_on_the_scale_stands_at_the_probability() -> None:
    pixels = page_of(case("high"))
    bar = next(y for y in range(150, 300) if has_colour(pixels[y : y + 1], "#7a5a14") > 100)
    row = pixels[bar + 9].astype(int)
    white = np.nonzero(row.sum(axis=1) > 3 * 230)[0]
    marker = white[(white > 600) & (white < 900)]
    assert abs(marker.mean() - (24 + 976 * 0.73214567)) < 3


def test_pages_are_the_same_in_every_process() -> None:
    program = (
        "import hashlib; from tests.support.reports import case; from dicom_sr import render; e = case('chinese_name');"
        "r = render(e.result, e.source, e.panels);"
        "print(hashlib.sha256(b''.join([r.page_pdf, r.page_png, *r.objects.values()])).hexdigest())"
    )
    environments = [{**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"} for seed in ("1", "2")]
    running = [
        subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env=e, stdout=subprocess.PIPE) for e in environments
    ]
    first, second = (process.communicate()[0] for process in running)
    assert first == second
    assert len(first.strip()) == 64


def test_the_pdf_embeds_its_fonts_and_its_metadata_name_nobody() -> None:
    example = case("chinese_name")
    pdf = draw_page(example.result, example.source, example.panels, Settings()).pdf
    assert pdf.startswith(b"%PDF")
    assert len(re.findall(rb"/FontFile2", pdf)) >= 2
    assert b"CreationDate" not in pdf
    info = b"".join(re.findall(rb"<<[^<>]*/(?:Title|Creator|Producer)[^<>]*>>", pdf))
    assert b"/Producer (axrad)" in info
    for told in (b"Wang", b"P-001", b"19700102", b"ACC42"):
        assert told not in pdf


def test_picture_and_pdf_have_the_same_bytes_in_either_order_and_by_any_number_of_processes() -> None:
    example = case("high")
    one, other = (drawn(example.result, example.source, example.panels, Settings()) for _ in range(2))
    pdf, png = pdf_of(one), png_of(one)
    assert (png_of(other), pdf_of(other)) == (png, pdf)
    alone, shared = (
        render(example.result, example.source, example.panels, Settings(work=Work(threads=n))) for n in (1, 2)
    )
    assert alone.page_pdf == shared.page_pdf == pdf
    assert alone.page_png == shared.page_png == png
    assert alone.objects == shared.objects


def test_fonts_are_embedded_without_tables_for_laying_out_text(monkeypatch: pytest.MonkeyPatch) -> None:
    example = case("high")
    usual = Options._drop_tables_default
    sheet = drawn(example.result, example.source, example.panels, Settings())
    slim = tables_of(pdf_of(sheet))
    assert Options._drop_tables_default is usual
    monkeypatch.setattr(fonts, "LAYOUT_TABLES", ())
    full = tables_of(pdf_of(sheet))
    assert [tables - {"GSUB", "GPOS", "GDEF", "kern", "BASE"} for tables in full] == slim
    assert all("GPOS" in tables for tables in full)


def tables_of(pdf: bytes) -> list[set[str]]:
    """The tables of each font in a PDF."""
    data = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    inflated = [zlib.decompressobj().decompress(d) for d in data if d[:1] == b"x"]
    return [set(TTFont(io.BytesIO(d)).keys()) - {"GlyphOrder"} for d in inflated if d[:4] == b"\0\1\0\0"]


def test_the_drawn_text_of_the_pdf_is_compressed_content_not_metadata() -> None:
    example = case("high")
    pdf = draw_page(example.result, example.source, example.panels, Settings()).pdf
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    inflated = [s for s in streams if s[:1] == b"x"]
    assert any(b" Tf" in zlib.decompressobj().decompress(s) for s in inflated)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("Doe^Jane", "Doe Jane"),
        ("Wang^XiaoDong=王^小东", "Wang XiaoDong  王 小东"),
        ("^^^", ""),
        ("张^小东", "张 小东"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada Tarou  山田 太郎"),
    ],
)
def test_names_are_shown_without_carets(value: str, wanted: str) -> None:
    assert person_name(value) == wanted


def test_a_day_that_is_none_is_shown_as_the_source_says_it() -> None:
    assert (day("20260304"), day("2026.11.27"), day(None)) == ("2026-03-04", "2026.11.27", "")


def test_dollar_signs_in_names_are_text_not_formulas() -> None:
    example = case("high")
    changed = example.result.sequences | {
        "t1c": example.result.sequences["t1c"].model_copy(update={"description": "$\\frac{a}$ _x^ {"})
    }
    draw_page(example.result.model_copy(update={"sequences": changed}), example.source, (), Settings())


def test_the_secondary_capture_holds_the_pages_pixels() -> None:
    example = case("bilateral")
    out = render(example.result, example.source, example.panels, Settings(report=Report(what=("page", "pdf"))))
    assert set(out.objects) == {"page", "pdf"}
    ds = pydicom.dcmread(io.BytesIO(out.objects["page"]))
    assert np.array_equal(ds.pixel_array, np.asarray(Image.open(io.BytesIO(out.page_png))))
    assert (ds.BurnedInAnnotation, ds.StudyDescription, ds.ImageLaterality) == ("YES", "MR breast", "B")


def test_the_encapsulated_pdf_is_the_plain_pdf() -> None:
    example = case("high")
    out = render(example.result, example.source, example.panels)
    ds = pydicom.dcmread(io.BytesIO(out.objects["pdf"]))
    assert ds.EncapsulatedDocument[: ds.EncapsulatedDocumentLength] == out.page_pdf
    assert ds.MIMETypeOfEncapsulatedDocument == "application/pdf"


def test_an_empty_frame_says_why_there_is_no_picture() -> None:
    example = case("high")
    panels = tuple(p for p in example.panels if p.sequence != "adc")
    absent = example.result.model_copy(update={"absent": {"adc": "the exam has no series that could be ADC"}})
    told, untold = (drawn(r, example.source, panels, Settings()).sheet for r in (absent, example.result))
    texts = [[t.get_text() for t in sheet.figure.axes[0].texts] for sheet in (told, untold)]
    assert [" ".join(t).count("the exam has no") for t in texts] == [2, 0]
    assert all(" ".join(t).count("no picture") == 2 for t in texts)
