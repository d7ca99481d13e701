"""A sheet measured in pixels from the top left, where every text has a box, and the colours on it.

Colours are Okabe and Ito's, which readers with any common colour blindness tell apart; nothing is said by colour alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

from dicom_sr.page import fonts, text_fitting

SIDE_PX = 1024
# So many that the square, on paper, leaves a margin of 15 mm on A4 and 17 mm on Letter.
DPI = text_fitting.DPI

BACKGROUND = "#101418"
PANEL = "#1b2127"
INK = "#f2f4f5"
QUIET = "#a9b4bd"
LINE = "#46525c"
ORANGE = "#E69F00"
SKY = "#56B4E9"
PINK = "#F19CC8"  # their reddish purple, lighter for a dark sheet
YELLOW = "#F0E442"


class Sheet:
    """Draws text and shapes at pixel places: x to the right, y down.

    `cut`: the whole of every text that had to be cut with an ellipsis.
    """

    def __init__(self, width_px: float = SIDE_PX, height_px: float = SIDE_PX, background: str = BACKGROUND) -> None:
        self.figure = Figure(figsize=(width_px / DPI, height_px / DPI), dpi=DPI, facecolor=background)
        FigureCanvasAgg(self.figure)
        self.width_px, self.height_px, self.background = width_px, height_px, background
        self.cut: list[str] = []
        self._axes = self.figure.add_axes((0, 0, 1, 1))
        self._axes.set_xlim(0, width_px)
        self._axes.set_ylim(height_px, 0)
        self._axes.axis("off")
        self.box(0, 0, width_px, height_px, background)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        px: float = 15,
        *,
        width: float,
        least: float | None = None,
        keep: text_fitting.Keep = "start",
        colour: str = INK,
        bold: bool = False,
        align: str = "left",
    ) -> float:
        """One line, its baseline at y, not wider than `width`: made smaller down to `least`, then cut with an ellipsis,
        so that its start or its end is kept. How wide it has become."""
        whole = fonts.drawable(text)
        shown, size = text_fitting.line(whole, px, px * 0.8 if least is None else least, width, bold=bold, keep=keep)
        if shown != whole:
            self.cut.append(text)
        if shown:
            self._axes.text(
                x,
                y,
                shown,
                color=colour,
                ha=align,
                va="baseline",
                parse_math=False,
                **text_fitting.style(shown, size, bold),
            )
        return text_fitting.width(shown, size, bold=bold)

    def row(
        self,
        x: float,
        y: float,
        pieces: Sequence[text_fitting.Piece],
        px: float,
        width: float,
        least: float,
        align: str = "left",
    ) -> None:
        """Pieces side by side, separated by dots. Too many for `width`: all are made smaller down to `least`, then
        those of the lowest rank are cut first."""
        wholes = [
            text_fitting.Piece(fonts.drawable(p.text), p.rank, p.keep, p.colour, p.bold) for p in pieces if p.text
        ]
        given = [p.text for p in pieces if p.text]
        size, gap, shares = text_fitting.pieces(wholes, px, least, width)
        total = sum(shares) + gap * max(0, len(shares) - 1)
        at = x if align == "left" else x - total
        for n, (piece, share, whole) in enumerate(zip(wholes, shares, given, strict=True)):
            if n:
                self.text(at - gap / 2, y, "·", size, width=gap, least=size, colour=QUIET, align="center")
            before = len(self.cut)
            self.text(
                at, y, piece.text, size, width=share, least=size, keep=piece.keep, colour=piece.colour, bold=piece.bold
            )
            self.cut[before:] = [whole] if len(self.cut) > before else []
            at += share + gap

    def paragraph(
        self,
        x: float,
        y: float,
        text: str,
        px: float,
        width: float,
        height: float,
        *,
        least: float | None = None,
        colour: str = INK,
        bold: bool = False,
    ) -> float:
        """Words wrapped into the box whose top left is (x, y); the y below the last line. What does not fit is made
        smaller down to `least`, then cut with an ellipsis."""
        whole = fonts.drawable(text)
        lines, size, cut = text_fitting.lines(whole, px, px * 0.8 if least is None else least, width, height, bold=bold)
        if cut:
            self.cut.append(text)
        for line in lines:
            self._axes.text(
                x,
                y + size * text_fitting.ASCENT,
                line,
                color=colour,
                ha="left",
                va="baseline",
                parse_math=False,
                **text_fitting.style(line, size, bold),
            )
            y += size * text_fitting.PITCH
        return y

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        colour: str,
        *,
        edge: str = "none",
        hatch: str | None = None,
    ) -> None:
        self._axes.add_patch(
            Rectangle((x, y), width, height, facecolor=colour, edgecolor=edge, hatch=hatch, linewidth=72 / DPI)
        )

    def triangle(self, x: float, y: float, size: float, colour: str, *, up: bool = False) -> None:
        """A triangle whose tip is at (x, y)."""
        dy = size if up else -size
        self._axes.add_patch(Polygon([(x, y), (x - size * 0.62, y + dy), (x + size * 0.62, y + dy)], facecolor=colour))

    def arrow(self, x: float, y: float, size: float, colour: str, *, right: bool) -> None:
        """A triangle that points left or right; its tip is at (x, y)."""
        dx = -size if right else size
        self._axes.add_patch(Polygon([(x, y), (x + dx, y - size * 0.55), (x + dx, y + size * 0.55)], facecolor=colour))

    def line(self, x0: float, y0: float, x1: float, y1: float, colour: str = LINE, width: float = 1.0) -> None:
        """A line `width` pixels wide."""
        self._axes.plot([x0, x1], [y0, y1], color=colour, linewidth=width * 72 / DPI, solid_capstyle="butt")

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        """Axes for a picture, in the place given."""
        place = (x / self.width_px, 1 - (y + height) / self.height_px, width / self.width_px, height / self.height_px)
        return self.figure.add_axes(place)
