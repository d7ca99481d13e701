"""A square sheet measured in pixels from the top left, and the colours on it.

Colours are Okabe and Ito's, which readers with any common colour blindness tell apart; nothing is said by colour alone.
"""

from __future__ import annotations

from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Polygon, Rectangle

from dicom_sr.page import fonts

SIDE_PX = 1024
DPI = 100

BACKGROUND = "#101418"
PANEL = "#1b2127"
INK = "#f2f4f5"
QUIET = "#a9b4bd"
LINE = "#46525c"
ORANGE = "#E69F00"
SKY = "#56B4E9"
PINK = "#F19CC8"  # their reddish purple, lighter for a dark sheet
YELLOW = "#F0E442"
# Letters as they are, and none beyond Latin-1 where a shape or three dots do: for ligatures and for others a PDF embeds
# the font once more, which takes as long as drawing the page; and a ligature is not found by who looks for "fi".
FEATURES = ("-liga", "-clig")
CUT = "..."


class Sheet:
    """Draws text and shapes at pixel places: x to the right, y down."""

    def __init__(self) -> None:
        self.figure = Figure(figsize=(SIDE_PX / DPI, SIDE_PX / DPI), dpi=DPI, facecolor=BACKGROUND)
        FigureCanvasAgg(self.figure)
        self._axes = self.figure.add_axes((0, 0, 1, 1))
        self._axes.set_xlim(0, SIDE_PX)
        self._axes.set_ylim(SIDE_PX, 0)
        self._axes.axis("off")

    def text(
        self,
        x: float,
        y: float,
        text: str,
        px: float = 15,
        *,
        colour: str = INK,
        bold: bool = False,
        align: str = "left",
        width: float | None = None,
    ) -> None:
        """One line, its baseline at y. Longer than `width`: cut with an ellipsis."""
        shown = fonts.drawable(text)
        if width is not None:
            shown = self.fit(shown, px, width, bold=bold)
        self._axes.text(
            x,
            y,
            shown,
            color=colour,
            ha=align,
            va="baseline",
            parse_math=False,
            fontproperties=_font(px, bold),
            fontfeatures=FEATURES,
        )

    def fit(self, text: str, px: float, width: float, *, bold: bool = False) -> str:
        """`text`, cut with an ellipsis if it is wider than `width`."""
        if self.width(text, px, bold=bold) <= width:
            return text
        low, high = 0, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            if self.width(text[:middle].rstrip() + CUT, px, bold=bold) <= width:
                low = middle
            else:
                high = middle - 1
        return text[:low].rstrip() + CUT

    def width(self, text: str, px: float, *, bold: bool = False) -> float:
        """How many pixels wide a line is."""
        probe = self._axes.text(0, 0, text, parse_math=False, fontproperties=_font(px, bold), fontfeatures=FEATURES)
        box = probe.get_window_extent(self.figure.canvas.get_renderer())  # type: ignore[attr-defined]
        probe.remove()
        return float(box.width)

    def paragraph(
        self,
        x: float,
        y: float,
        text: str,
        px: float,
        width: float,
        *,
        lines: int,
        colour: str = INK,
        bold: bool = False,
    ) -> float:
        """Words wrapped into at most `lines` lines; the y below the last one."""
        rest = fonts.drawable(text).split()
        for number in range(lines):
            if not rest:
                break
            taken = 1
            while taken < len(rest) and self.width(" ".join(rest[: taken + 1]), px, bold=bold) <= width:
                taken += 1
            line, rest = (rest, []) if number == lines - 1 else (rest[:taken], rest[taken:])
            self.text(x, y, " ".join(line), px, colour=colour, bold=bold, width=width)
            y += px * 1.35
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
            Rectangle((x, y), width, height, facecolor=colour, edgecolor=edge, hatch=hatch, linewidth=1)
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
        self._axes.plot([x0, x1], [y0, y1], color=colour, linewidth=width * 0.72, solid_capstyle="butt")

    def axes(self, x: float, y: float, width: float, height: float) -> Any:
        """Axes for a picture, in the place given."""
        place = (x / SIDE_PX, 1 - (y + height) / SIDE_PX, width / SIDE_PX, height / SIDE_PX)
        return self.figure.add_axes(place)


def _font(px: float, bold: bool) -> FontProperties:
    return FontProperties(family=fonts.families(), size=px * 72 / DPI, weight="bold" if bold else "normal")
