"""The page: what was asked, the answer, where it was measured, what drove it, and what it rests on."""

from __future__ import annotations

import io
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from PIL import Image

from config.schema import Settings
from dicom_sr import header, words
from dicom_sr.codes import SEQUENCE_NAMES
from dicom_sr.page import answer, details, fonts
from dicom_sr.page.sheet import PANEL, QUIET, SIDE_PX, YELLOW, Sheet
from dicom_sr.page.slices import COLOURS, draw_panel
from dicom_sr.source import ReportSource
from pipeline.pictures import Panel
from pipeline.records import SEQUENCES, Role, Side
from pipeline.result import StudyResult

MARGIN = 24.0
_ROWS: tuple[Role, ...] = ("tumor", "lymph_nodes")
_ROW_NAMES: dict[Role, str] = {"tumor": "Tumor", "lymph_nodes": "Nodes"}


@dataclass(frozen=True, slots=True)
class Page:
    """`pixels_yxc`: uint8, 1024 x 1024 x 3. The PDF has the same drawing with its fonts embedded."""

    pixels_yxc: npt.NDArray[np.uint8]
    png: bytes
    pdf: bytes

    @classmethod
    def of(cls, png: bytes, pdf: bytes) -> Page:
        """Both as `png_of` and `pdf_of` write them."""
        with Image.open(io.BytesIO(png)) as image:
            return cls(np.array(image), png, pdf)


def draw_page(result: StudyResult, source: ReportSource, panels: tuple[Panel, ...], settings: Settings) -> Page:
    """Draw it and write it both ways. Deterministic; the PDF's metadata name nobody."""
    sheet = drawn(result, source, panels, settings)
    return Page.of(png_of(sheet), pdf_of(sheet))


def drawn(result: StudyResult, source: ReportSource, panels: tuple[Panel, ...], settings: Settings) -> Sheet:
    """The page, not yet written as anything."""
    sheet = Sheet()
    top = _banner(sheet, result)
    top = _patient(sheet, result, source, settings, top)
    parts = sorted(result.parts(), key=lambda item: item[0] != "R")
    width = (SIDE_PX - 2 * MARGIN - 16 * (len(parts) - 1)) / len(parts)
    below = top
    for column, (side, part) in enumerate(parts):
        x = MARGIN + column * (width + 16)
        below = max(below, answer.draw_answer(sheet, result, side, part, x, top, width))
    if len(parts) == 1:
        side, part = parts[0]
        _pictures(sheet, panels, None, MARGIN, below + 6, 236.0, 8.0)
        details.draw_contributions(sheet, part, MARGIN + 3 * 244.0 + 10, below + 6, 234.0, 520.0)
        bottom = below + 6 + 2 * 264.0
    else:
        size = (width - 2 * 4) / 3
        for column, (side, _) in enumerate(parts):
            _pictures(sheet, panels, side, MARGIN + column * (width + 16), below + 6, size, 4.0)
        bottom = below + 6 + 2 * (size + 28)
        for column, (_, part) in enumerate(parts):
            details.draw_contributions(sheet, part, MARGIN + column * (width + 16), bottom + 4, width, 190.0)
        bottom += 190
    details.draw_details(sheet, result, MARGIN, bottom + 4, SIDE_PX - 2 * MARGIN)
    details.draw_footer(sheet, result, source, settings)
    return sheet


def _banner(sheet: Sheet, result: StudyResult) -> float:
    if not result.demonstration:
        return 12.0
    sheet.box(0, 0, SIDE_PX, 34, YELLOW)
    sheet.text(SIDE_PX / 2, 24, words.DEMONSTRATION, 19, colour="black", bold=True, align="center")
    return 44.0


def _patient(sheet: Sheet, result: StudyResult, source: ReportSource, settings: Settings, y: float) -> float:
    """Who and when, then the question."""
    sheet.box(0, y - 6, SIDE_PX, 62, PANEL)
    patient = source.patient_study
    name = person_name(str(patient.get("PatientName") or ""))
    sheet.text(MARGIN, y + 18, name or "(no name)", 20, bold=True, width=560)
    facts = [
        str(patient.get("PatientID") or ""),
        _date(patient.get("PatientBirthDate")),
        str(patient.get("PatientSex") or ""),
    ]
    sheet.text(MARGIN, y + 44, " · ".join(f for f in facts if f), 16, colour=QUIET, width=560)
    right = SIDE_PX - MARGIN
    sheet.text(right, y + 18, f"Breast MRI {_date(patient.get('StudyDate'))}".strip(), 18, align="right")
    more = [
        str(patient.get("AccessionNumber") or ""),
        settings.site.institution,
        f"revision {result.revision}" if result.revision > 1 else "",
    ]
    sheet.text(right, y + 44, " · ".join(m for m in more if m), 16, colour=QUIET, align="right", width=420)
    if not fonts.has_all(name):
        sheet.text(MARGIN + 580, y + 44, "font for this name is missing", 13, colour=YELLOW)
    return y + 66


def person_name(value: str) -> str:
    """A PN for reading: alphabetic and ideographic groups, components in their order, without carets."""
    groups = [" ".join(part for part in group.split("^") if part) for group in value.split("=")[:2]]
    return "  ".join(dict.fromkeys(g for g in groups if g))


def _date(value: object) -> str:
    text = str(value or "")
    return f"{text[:4]}-{text[4:6]}-{text[6:8]}" if len(text) == 8 and text.isdigit() else ""


def _pictures(
    sheet: Sheet, panels: tuple[Panel, ...], side: Side | None, x: float, y: float, size: float, gap: float
) -> None:
    """Two rows (tumor, nodes) of three sequences; an empty frame says what there is no picture of."""
    label = 16 if size > 200 else 13
    for row, role in enumerate(_ROWS):
        top = y + row * (size + label + 12)
        for column, sequence in enumerate(SEQUENCES):
            left = x + column * (size + gap)
            panel = next(
                (p for p in panels if (p.focus, p.sequence) == (role, sequence) and side in (None, p.side)), None
            )
            name = _ROW_NAMES[role]
            after = 0.0
            if column == 0 or size > 200:
                sheet.text(left, top + label, name, label, colour=COLOURS[role], bold=True)
                after = sheet.width(name + "  ", label, bold=True)
            sheet.text(left + after, top + label, SEQUENCE_NAMES[sequence], label)
            if panel is not None and size > 200:
                sheet.text(left + size, top + label, panel.caption, 12, colour=QUIET, align="right")
            if panel is None:
                sheet.box(left, top + label + 6, size, size, PANEL)
                sheet.text(left + size / 2, top + label + size / 2, "no picture", label, colour=QUIET, align="center")
                continue
            draw_panel(sheet, panel, left, top + label + 6, size)


def png_of(sheet: Sheet) -> bytes:
    """As an image. The same bytes before and after `pdf_of`."""
    canvas = FigureCanvasAgg(sheet.figure)
    canvas.draw()
    pixels = np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[:, :, :3])
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, format="PNG")
    return png.getvalue()


def pdf_of(sheet: Sheet) -> bytes:
    """As a PDF. The same bytes before and after `png_of`."""
    figure = sheet.figure
    pdf, canvas, dpi = io.BytesIO(), figure.canvas, figure.dpi
    with mpl.rc_context({"pdf.fonttype": 42, "pdf.compression": 6}), fonts.shapes_only():
        FigureCanvasPdf(figure).print_pdf(
            pdf,
            metadata={"Title": header.MODEL, "Creator": "axrad", "Producer": "axrad", "CreationDate": None},
        )
    # a PDF has 72 points to the inch, and leaves that to the figure
    figure.set_canvas(canvas)
    figure.dpi = dpi
    return pdf.getvalue()
