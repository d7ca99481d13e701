"""Sheets as pages of a PDF on paper."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal  # Any: what matplotlib's PDF renderer is given

import matplotlib as mpl
from matplotlib.backends.backend_mixed import MixedModeRenderer
from matplotlib.backends.backend_pdf import Name, PdfFile, RendererPdf, Verbatim

from dicom_sr.page import fonts
from dicom_sr.page.sheet import Sheet
from dicom_sr.page.text_fitting import DPI

Paper = Literal["a4", "letter"]
# Width and height.
SIZES_INCH: dict[Paper, tuple[float, float]] = {"a4": (210 / 25.4, 297 / 25.4), "letter": (8.5, 11.0)}
WHITE = "#ffffff"


def size_px(paper: Paper) -> tuple[float, float]:
    """Width and height of a sheet of its own."""
    width, height = SIZES_INCH[paper]
    return width * DPI, height * DPI


@contextmanager
def on_paper(sheet: Sheet, paper: Paper) -> Iterator[None]:
    """Puts a sheet on larger paper, in the middle with the same margin above, and takes it off again."""
    figure = sheet.figure
    size, colour = tuple(map(float, figure.get_size_inches())), figure.get_facecolor()
    places = [(axes, axes.get_position(original=True).frozen()) for axes in figure.axes]
    width, height = SIZES_INCH[paper]
    side = (width - size[0]) / 2
    figure.set_size_inches(width, height)
    figure.set_facecolor(WHITE)
    for axes, place in places:
        x, y = side + place.x0 * size[0], height - side - (1 - place.y0) * size[1]
        axes.set_position((x / width, y / height, place.width * size[0] / width, place.height * size[1] / height))
    try:
        yield
    finally:
        figure.set_size_inches(size[0], size[1])
        figure.set_facecolor(colour)
        for axes, place in places:
            axes.set_position(place)


def written(sheets: Sequence[Sheet], title: str) -> bytes:
    """The PDF. Its metadata name nobody."""
    pdf = io.BytesIO()
    metadata = {"Title": title, "Creator": "axrad", "Producer": "axrad", "CreationDate": None}
    with mpl.rc_context({"pdf.fonttype": 42, "pdf.compression": 6}), fonts.shapes_only():
        file = PdfFile(pdf, metadata=metadata)
        for sheet in sheets:
            _add(file, sheet)
        file.finalize()
        file.close()
    return pdf.getvalue()


def _add(file: Any, sheet: Sheet) -> None:
    figure = sheet.figure
    dpi, canvas = figure.dpi, figure.canvas
    # a PDF has 72 points to the inch
    figure.dpi = 72
    try:
        width, height = figure.get_size_inches()
        file.newPage(width, height)
        renderer = MixedModeRenderer(figure, width, height, dpi, _Renderer(file, dpi, height, width))
        figure.draw(renderer)
        renderer.finalize()
        file.endStream()
    finally:
        figure.dpi = dpi
        figure.set_canvas(canvas)


class _Renderer(RendererPdf):  # type: ignore[misc]
    """Says which characters a text has where its glyphs do not say it (ISO 32000-1, 14.9.4 "ActualText")."""

    def draw_text(
        self, gc: Any, x: float, y: float, s: str, prop: Any, angle: float, ismath: bool = False, mtext: Any = None
    ) -> None:
        if not fonts.shaped(s):
            super().draw_text(gc, x, y, s, prop, angle, ismath, mtext)
            return
        # before the mark, so that what it saves and restores lies outside
        self.check_gc(gc, gc._rgb)
        self.file.output(Name("Span"), {"ActualText": s}, Verbatim(b"BDC"))
        super().draw_text(gc, x, y, s, prop, angle, ismath, mtext)
        self.file.output(Verbatim(b"EMC"))
