"""The page: what was asked, the answer, where it was measured, what drove it, and what it rests on."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from config.schema import Settings
from dicom_sr import sentences
from dicom_sr.codes import SEQUENCE_NAMES
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
_ROW_NAMES: dict[Role, str] = {"tumor": "Tumor", "lymph_nodes": "Nodes"}


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
    """`sheet`: the page; `more`: the pages after it in the PDF, which hold everything whole; `paper`: their size."""

    sheet: Sheet
    more: tuple[Sheet, ...]
    paper: paper.Paper


def draw_page(result: StudyResult, source: ReportSource, panels: tuple[Panel, ...], settings: Settings) -> Page:
    """Draw it and write it both ways. Deterministic; the PDF's metadata name nobody."""
    drawing = drawn(result, source, panels, settings)
    return Page.of(png_of(drawing), pdf_of(drawing))


def drawn(result: StudyResult, source: ReportSource, panels: tuple[Panel, ...], settings: Settings) -> Drawing:
    """The page and those after it, not yet written as anything."""
    sheet = Sheet()
    top = _banner(sheet, result)
    top = _patient(sheet, result, source, settings, top)
    parts = sorted(result.parts(), key=lambda item: item[0] != "R")
    share = (SIDE_PX - 2 * MARGIN - GAP * (len(parts) - 1)) / len(parts)
    below = top
    for column, (side, part) in enumerate(parts):
        x = MARGIN + column * (share + GAP)
        below = max(below, answer.draw_answer(sheet, result, side, part, x, top, share))
    wanted = details_columns.details_height(result, SIDE_PX - 2 * MARGIN)
    lower = BOTTOM - min(max(wanted + 5, 100.0), 230.0)
    if len(parts) == 1:
        _one_side(sheet, panels, result, parts[0][1], below + 6, lower - 8)
    else:
        _two_sides(sheet, panels, result, parts, below + 6, lower - 8)
    details_columns.draw_details(sheet, result, MARGIN, lower, SIDE_PX - 2 * MARGIN, BOTTOM - lower - 4)
    details_columns.draw_footer(sheet, result, source, settings)
    return Drawing(sheet, more_pages(result, source, settings), settings.report.paper)


def _one_side(
    sheet: Sheet, panels: tuple[Panel, ...], result: StudyResult, part: Part, y: float, bottom: float
) -> None:
    """Pictures at the left, what drove the answer at the right."""
    size = min(236.0, (bottom - y) / 2 - 28)
    _pictures(sheet, panels, None, result, part, MARGIN, y, size, 8.0)
    x = MARGIN + 3 * (size + 8) + 10
    details_columns.draw_contributions(sheet, part, x, y, SIDE_PX - MARGIN - x, bottom - y)


def _two_sides(
    sheet: Sheet,
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
        _pictures(sheet, panels, side, result, part, x, y, size, 4.0)
        top = y + 2 * (size + 28)
        details_columns.draw_contributions(sheet, part, x, top, share, min(190.0, bottom - top))


def _banner(sheet: Sheet, result: StudyResult) -> float:
    if not result.demonstration:
        return 12.0
    sheet.box(0, 0, SIDE_PX, 34, YELLOW)
    room = SIDE_PX - 2 * MARGIN
    sheet.text(SIDE_PX / 2, 24, sentences.DEMONSTRATION, 19, width=room, colour="black", bold=True, align="center")
    return 44.0


def _patient(sheet: Sheet, result: StudyResult, source: ReportSource, settings: Settings, y: float) -> float:
    """Who and when: at the left the patient, at the right the exam."""
    sheet.box(0, y - 6, SIDE_PX, 62, PANEL)
    patient = source.patient_study
    name = person_name(str(patient.get("PatientName") or "")) or "(no name)"
    right, half = SIDE_PX - MARGIN, (SIDE_PX - 2 * MARGIN - 32) / 2
    exam = f"Breast MRI {day(patient.get('StudyDate'))}".strip()
    taken = sheet.text(right, y + 18, exam, 18, width=half, align="right")
    sheet.row(MARGIN, y + 18, _name(name), 20, right - MARGIN - taken - 32, 14)
    facts = (
        text_fitting.Piece(str(patient.get("PatientID") or ""), 0, "end", QUIET),
        text_fitting.Piece(day(patient.get("PatientBirthDate")), 2, "start", QUIET),
        text_fitting.Piece(str(patient.get("PatientSex") or ""), 1, "start", QUIET),
    )
    sheet.row(MARGIN, y + 44, facts, 16, half, 12)
    more = (
        text_fitting.Piece(str(patient.get("AccessionNumber") or ""), 1, "end", QUIET),
        text_fitting.Piece(settings.site.institution, 0, "start", QUIET),
        text_fitting.Piece(_revision(result, source), 2, "start", INK),
    )
    sheet.row(right, y + 44, more, 16, half, 12, align="right")
    return y + 66


def _revision(result: StudyResult, source: ReportSource) -> str:
    """Of a corrected report its number, and that the one before was another patient's by its ID."""
    if result.revision == 1:
        return ""
    return f"revision {result.revision}{', Patient ID corrected' if source.corrected_patient else ''}"


def _name(name: str) -> tuple[text_fitting.Piece, ...]:
    """The name, and beside it what of it no font here draws."""
    pieces = (text_fitting.Piece(name, 0, bold=True),)
    absent = fonts.undrawable(name)
    if not absent:
        return pieces
    codes = ", ".join(f"U+{ord(c):04X}" for c in absent[:3]) + (", ..." if len(absent) > 3 else "")
    return (*pieces, text_fitting.Piece(f"no font for {codes}", 1, "start", YELLOW))


def _pictures(
    sheet: Sheet,
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
    for row, role in enumerate(_ROWS):
        top = y + row * (size + label + 12)
        mine = [p for p in panels if p.focus == role and side in (None, p.side)]
        shown = next((p.node for p in mine if p.node is not None), None)
        for column, sequence in enumerate(SEQUENCES):
            left = x + column * (size + gap)
            panel = next((p for p in mine if p.sequence == sequence), None)
            name = _ROW_NAMES[role] if shown is None else f"Node {shown}"
            width = sheet.text(left, top + label, name, label, width=size / 2, colour=COLOURS[role], bold=True) + 8
            width += sheet.text(left + width, top + label, SEQUENCE_NAMES[sequence], label, width=size - width) + 8
            if panel is not None and size > 200:
                room = size - width
                sheet.text(left + size, top + label, panel.caption, 12, width=room, colour=QUIET, align="right")
            if panel is None:
                why = sentences.why_absent(result, part, sequence, role)
                _empty_picture(sheet, why, left, top + label, size, label)
                continue
            draw_panel(sheet, panel, left, top + label + 6, size)


def _empty_picture(sheet: Sheet, why: str, left: float, top: float, size: float, label: float) -> None:
    """A frame without a picture, with the reason below the middle where one is known."""
    sheet.box(left, top + 6, size, size, PANEL)
    sheet.text(left + size / 2, top + size / 2, "no picture", label, width=size, colour=QUIET, align="center")
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
        return paper.written((drawing.sheet, *drawing.more))
