"""The page: what was asked, the answer, where it was measured, what drove it, and what it rests on."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from config.schema import Settings
from dicom_sr import common_attributes, sentences
from dicom_sr.codes import SEQUENCE_NAMES
from dicom_sr.language import Words, words_of
from dicom_sr.page import answer, details_columns, fonts, paper, text_fitting
from dicom_sr.page.further_pages import more_pages
from dicom_sr.page.readable_names import day, person_name
from dicom_sr.page.sheet import INK, PANEL, QUIET, SIDE_PX, YELLOW, Sheet
from dicom_sr.page.slice_picture import COLOURS, draw_panel
from dicom_sr.report_source import ReportSource
from pipeline.pictures import Panel
from pipeline.records import SEQUENCES, Role, Side
from pipeline.result import Part, StudyResult

MARGIN, GAP = 24.0, 16.0
# Where the footer begins.
BOTTOM = SIDE_PX - 56.0
_ROWS: tuple[Role, ...] = ("tumor", "lymph_nodes")


@dataclass(frozen=True, slots=True)
class Page:
    """`pixels_yxc`: uint8, 1024 x 1024 x 3. The PDF has the same drawing with its fonts embedded, and more pages."""

    pixels_yxc: npt.NDArray[np.uint8]
    png: bytes
    pdf: bytes

    @classmethod
    def of(cls, png: bytes, pdf: bytes) -> Page:
        """Both as `png_of` and `pdf_of` write them."""
        with Image.open(io.BytesIO(png)) as image:
            return cls(np.array(image), png, pdf)


@dataclass(frozen=True, slots=True)
class Drawing:
    """`sheet`: the page; `more`: the pages after it in the PDF, which hold everything whole; `paper`: their size;
    `title`: that of the PDF, which names nobody."""

    sheet: Sheet
    more: tuple[Sheet, ...]
    paper: paper.Paper
    title: str


def draw_page(result: StudyResult, source: ReportSource, panels: tuple[Panel, ...], settings: Settings) -> Page:
    """Draw it and write it both ways. Deterministic; the PDF's metadata name nobody."""
    drawing = drawn(result, source, panels, settings)
    return Page.of(png_of(drawing), pdf_of(drawing))


def drawn(result: StudyResult, source: ReportSource, panels: tuple[Panel, ...], settings: Settings) -> Drawing:
    """The page and those after it, not yet written as anything."""
    sheet, say = Sheet(), words_of(settings)
    top = _banner(sheet, say, result)
    top = _patient(sheet, say, result, source, settings, top)
    parts = sorted(result.parts(), key=lambda item: item[0] != "R")
    share = (SIDE_PX - 2 * MARGIN - GAP * (len(parts) - 1)) / len(parts)
    below = top
    for column, (side, part) in enumerate(parts):
        x = MARGIN + column * (share + GAP)
        below = max(below, answer.draw_answer(sheet, say, result, side, part, x, top, share))
    wanted = details_columns.details_height(result, say, SIDE_PX - 2 * MARGIN)
    lower = BOTTOM - min(max(wanted + 5, 100.0), 230.0)
    if len(parts) == 1:
        _one_side(sheet, say, panels, result, parts[0][1], below + 6, lower - 8)
    else:
        _two_sides(sheet, say, panels, result, parts, below + 6, lower - 8)
    details_columns.draw_details(sheet, say, result, MARGIN, lower, SIDE_PX - 2 * MARGIN, BOTTOM - lower - 4)
    details_columns.draw_footer(sheet, say, result, source, settings)
    title = common_attributes.document_title(result, settings)
    return Drawing(sheet, more_pages(result, source, settings), settings.report.paper, title)


def _one_side(
    sheet: Sheet, say: Words, panels: tuple[Panel, ...], result: StudyResult, part: Part, y: float, bottom: float
) -> None:
    """Pictures at the left, what drove the answer at the right."""
    size = min(236.0, (bottom - y) / 2 - 28)
    _pictures(sheet, say, panels, None, result, part, MARGIN, y, size, 8.0)
    x = MARGIN + 3 * (size + 8) + 10
    details_columns.draw_contributions(sheet, say, part, x, y, SIDE_PX - MARGIN - x, bottom - y)


def _two_sides(
    sheet: Sheet,
    say: Words,
    panels: tuple[Panel, ...],
    result: StudyResult,
    parts: list[tuple[Side | None, Part]],
    y: float,
    bottom: float,
) -> None:
    """Right and left as the reader faces the patient: pictures above, what drove each answer below."""
    share = (SIDE_PX - 2 * MARGIN - GAP) / 2
    answered = any(part.prediction is not None for _, part in parts)
    size = min((share - 2 * 4) / 3, (bottom - y - (134 if answered else 0)) / 2 - 28)
    for column, (side, part) in enumerate(parts):
        x = MARGIN + column * (share + GAP)
        _pictures(sheet, say, panels, side, result, part, x, y, size, 4.0)
        top = y + 2 * (size + 28)
        details_columns.draw_contributions(sheet, say, part, x, top, share, min(190.0, bottom - top))


def _banner(sheet: Sheet, say: Words, result: StudyResult) -> float:
    warnings = [say(key) for key in ("preliminary", "demonstration") if getattr(result, key)]
    if not warnings:
        return 12.0
    sheet.box(0, 0, SIDE_PX, 34, YELLOW)
    room, words = SIDE_PX - 2 * MARGIN, say.listed(warnings, "gap")
    sheet.text(SIDE_PX / 2, 24, words, 19, width=room, colour="black", bold=True, align="center")
    return 44.0


def _patient(
    sheet: Sheet, say: Words, result: StudyResult, source: ReportSource, settings: Settings, y: float
) -> float:
    """Who and when: at the left the patient, at the right the exam."""
    sheet.box(0, y - 6, SIDE_PX, 62, PANEL)
    patient = source.patient_study
    name = person_name(str(patient.get("PatientName") or "")) or say("no_name")
    right, half = SIDE_PX - MARGIN, (SIDE_PX - 2 * MARGIN - 32) / 2
    exam = say("breast_mri", day=day(patient.get("StudyDate"))).strip()
    taken = sheet.text(right, y + 18, exam, 18, width=half, align="right")
    sheet.row(MARGIN, y + 18, _name(name, say), 20, right - MARGIN - taken - 32, 14)
    facts = (
        text_fitting.Piece(str(patient.get("PatientID") or ""), 0, "end", QUIET),
        text_fitting.Piece(day(patient.get("PatientBirthDate")), 2, "start", QUIET),
        text_fitting.Piece(str(patient.get("PatientSex") or ""), 1, "start", QUIET),
    )
    sheet.row(MARGIN, y + 44, facts, 16, half, 12)
    more = (
        text_fitting.Piece(str(patient.get("AccessionNumber") or ""), 1, "end", QUIET),
        text_fitting.Piece(settings.site.institution, 0, "start", QUIET),
        text_fitting.Piece(_revision(result, source, say), 2, "start", INK),
    )
    sheet.row(right, y + 44, more, 16, half, 12, align="right")
    return y + 66


def _revision(result: StudyResult, source: ReportSource, say: Words) -> str:
    """Of a corrected report its number, and that the one before was another patient's by its ID."""
    if result.revision == 1:
        return ""
    revision = say("revision", number=result.revision)
    return say("patient_corrected", revision=revision) if source.corrected_patient else revision


def _name(name: str, say: Words) -> tuple[text_fitting.Piece, ...]:
    """The name, and beside it what of it no font here draws."""
    pieces = (text_fitting.Piece(name, 0, bold=True),)
    absent = fonts.undrawable(name)
    if not absent:
        return pieces
    codes = ", ".join(f"U+{ord(c):04X}" for c in absent[:3]) + (", ..." if len(absent) > 3 else "")
    return (*pieces, text_fitting.Piece(say("no_font", codes=codes), 1, "start", YELLOW))


def _pictures(
    sheet: Sheet,
    say: Words,
    panels: tuple[Panel, ...],
    side: Side | None,
    result: StudyResult,
    part: Part,
    x: float,
    y: float,
    size: float,
    gap: float,
) -> None:
    """Two rows (tumor, nodes) of three sequences; an empty frame says what there is no picture of, and why."""
    label = 16 if size > 200 else 13
    unconfirmed = frozenset(
        (role, on) for on, other in result.parts() for role, roi in other.rois.items() if roi.unconfirmed
    )
    for row, role in enumerate(_ROWS):
        top = y + row * (size + label + 12)
        mine = [p for p in panels if p.focus == role and side in (None, p.side)]
        shown = next((p.node for p in mine if p.node is not None), None)
        for column, sequence in enumerate(SEQUENCES):
            left = x + column * (size + gap)
            panel = next((p for p in mine if p.sequence == sequence), None)
            name = say(f"row_{role}") if shown is None else say("row_node", number=shown)
            width = sheet.text(left, top + label, name, label, width=size / 2, colour=COLOURS[role], bold=True) + 8
            width += sheet.text(left + width, top + label, SEQUENCE_NAMES[sequence], label, width=size - width) + 8
            if panel is not None and size > 200:
                room, caption = size - width, say("caption", number=panel.slice_number, total=panel.slices)
                sheet.text(left + size, top + label, caption, 12, width=room, colour=QUIET, align="right")
            if panel is None:
                why = sentences.why_absent(result, part, sequence, role, say)
                _empty_picture(sheet, say, why, left, top + label, size, label)
                continue
            draw_panel(sheet, panel, left, top + label + 6, size, unconfirmed, say("unconfirmed"))


def _empty_picture(sheet: Sheet, say: Words, why: str, left: float, top: float, size: float, label: float) -> None:
    """A frame without a picture, with the reason below the middle where one is known."""
    sheet.box(left, top + 6, size, size, PANEL)
    sheet.text(left + size / 2, top + size / 2, say("no_picture"), label, width=size, colour=QUIET, align="center")
    if why:
        sheet.paragraph(left + 8, top + size / 2 + 8, why, 13, size - 16, size / 2 - 8, least=9, colour=QUIET)


def png_of(drawing: Drawing) -> bytes:
    """The page as an image. The same bytes before and after `pdf_of`."""
    canvas = FigureCanvasAgg(drawing.sheet.figure)
    canvas.draw()
    pixels = np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[:, :, :3])
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, format="PNG")
    return png.getvalue()


def pdf_of(drawing: Drawing) -> bytes:
    """All pages as a PDF. The same bytes before and after `png_of`."""
    with paper.on_paper(drawing.sheet, drawing.paper):
        return paper.written((drawing.sheet, *drawing.more), drawing.title)
