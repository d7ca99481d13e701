"""A panel on the page: slice, contours, node numbers, orientation letters, scale bar."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import patheffects
from matplotlib.font_manager import FontProperties

from dicom_sr.page import fonts
from dicom_sr.page.sheet import DPI, INK, PINK, QUIET, YELLOW, Sheet
from pipeline.pictures import Contour, Panel
from pipeline.records import Role

COLOURS: dict[Role, str] = {"tumor": YELLOW, "lymph_nodes": PINK}
BAR_MM = 20.0
_OUTLINE = [patheffects.withStroke(linewidth=2.2, foreground="black")]


def draw_panel(sheet: Sheet, panel: Panel, x: float, y: float, size: float) -> None:
    """The panel in a square of `size` pixels; pixels are shown in their true proportions."""
    axes = sheet.axes(x, y, size, size)
    axes.set_facecolor("black")
    rows, columns = panel.image_yx.shape
    dy, dx = panel.spacing_yx_mm
    top, left = panel.offset_yx
    low = panel.window_centre - panel.window_width / 2
    axes.imshow(
        panel.image_yx,
        cmap="gray",
        vmin=low,
        vmax=low + panel.window_width,
        interpolation="lanczos",
        extent=(left * dx, (left + columns) * dx, (top + rows) * dy, top * dy),
        aspect="equal",
    )
    axes.autoscale(False)
    _square(axes, (left + columns / 2) * dx, (top + rows / 2) * dy, max(rows * dy, columns * dx))
    for contour in panel.contours:
        _contour(axes, contour, panel)
    _letters(axes, panel)
    _bar(axes, size / max(rows * dy, columns * dx), size)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(QUIET)
        spine.set_linewidth(0.6)


def _square(axes: Any, x: float, y: float, side: float) -> None:
    axes.set_xlim(x - side / 2, x + side / 2)
    axes.set_ylim(y + side / 2, y - side / 2)


def _contour(axes: Any, contour: Contour, panel: Panel) -> None:
    """The panel's own ROI with a full line, the other one dashed; nodes carry their numbers."""
    points = contour.points_xy * np.array([panel.spacing_yx_mm[1], panel.spacing_yx_mm[0]])
    own = contour.role == panel.focus and contour.side == panel.side
    axes.plot(
        points[:, 0],
        points[:, 1],
        color=COLOURS[contour.role],
        linewidth=1.5 if own else 1.0,
        linestyle="-" if own else (0, (3, 2)),
        solid_joinstyle="round",
        path_effects=[patheffects.withStroke(linewidth=2.8 if own else 2.0, foreground="black"), patheffects.Normal()],
    )
    if contour.role == "lymph_nodes" and own:
        low, high = points.min(axis=0), points.max(axis=0)
        axes.text(
            high[0] + 1.0,
            low[1] - 0.5,
            str(contour.number),
            color=PINK,
            fontproperties=_font(15, bold=True),
            clip_on=True,
            path_effects=_OUTLINE,
        )


def _letters(axes: Any, panel: Panel) -> None:
    places = (
        (0.02, 0.5, "left", "center"),
        (0.98, 0.5, "right", "center"),
        (0.5, 0.98, "center", "top"),
        (0.5, 0.02, "center", "bottom"),
    )
    for letter, (x, y, ha, va) in zip(panel.edges, places, strict=True):
        axes.text(
            x,
            y,
            letter,
            transform=axes.transAxes,
            color=INK,
            ha=ha,
            va=va,
            fontproperties=_font(14, bold=True),
            path_effects=_OUTLINE,
        )


def _bar(axes: Any, px_per_mm: float, size: float) -> None:
    length = BAR_MM * px_per_mm / size
    axes.plot(
        [0.04, 0.04 + length],
        [0.045, 0.045],
        transform=axes.transAxes,
        color=INK,
        linewidth=2.0,
        path_effects=[patheffects.withStroke(linewidth=3.4, foreground="black"), patheffects.Normal()],
    )
    axes.text(
        0.04,
        0.065,
        "2 cm",
        transform=axes.transAxes,
        color=INK,
        ha="left",
        va="bottom",
        fontproperties=_font(12, bold=False),
        path_effects=_OUTLINE,
    )


def _font(px: float, *, bold: bool) -> FontProperties:
    return FontProperties(family=fonts.families(), size=px * 72 / DPI, weight="bold" if bold else "normal")
