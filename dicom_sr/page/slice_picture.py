"""A panel on the page: slice, contours, node numbers, orientation letters, scale bar."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib import patheffects
from matplotlib.axes import Axes

from dicom_sr.page import text_fitting
from dicom_sr.page.node_labels import Box, Label, placed
from dicom_sr.page.sheet import DPI, INK, PINK, QUIET, YELLOW, Sheet
from pipeline.pictures import Contour, Panel
from pipeline.records import Role, Side

COLOURS: dict[Role, str] = {"tumor": YELLOW, "lymph_nodes": PINK}
BAR_MM = 20.0
# From pixels to what matplotlib measures lines in.
POINT = 72 / DPI
_OUTLINE = [patheffects.withStroke(linewidth=3 * POINT, foreground="black")]
_FEW, _SMALL_PX = 6, 150.0


Regions = frozenset[tuple[Role, Side | None]]


def draw_panel(
    sheet: Sheet, panel: Panel, x: float, y: float, size: float, unconfirmed: Regions = frozenset(), note: str = ""
) -> None:
    """The panel in a square of `size` pixels; pixels are shown in their true proportions.

    `unconfirmed`: regions that software made and nobody stands for are outlined in dashes, and a picture of one says so
    (`note`).
    """
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
        _contour(axes, contour, panel, dashed=(contour.role, contour.side) in unconfirmed)
    px_per_mm = size / max(rows * dy, columns * dx)
    taken = [*_letters(axes, panel, size), _bar(axes, px_per_mm, size)]
    if (panel.focus, panel.side) in unconfirmed:
        taken.append(_note(axes, note, size))
    if panel.focus == "lymph_nodes":
        _numbers(axes, panel, size, px_per_mm, taken)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(QUIET)
        spine.set_linewidth(0.8 * POINT)


def _square(axes: Axes, x: float, y: float, side: float) -> None:
    axes.set_xlim(x - side / 2, x + side / 2)
    axes.set_ylim(y + side / 2, y - side / 2)


def _contour(axes: Axes, contour: Contour, panel: Panel, *, dashed: bool) -> None:
    """The panel's own ROI with a full line, or in long dashes; the other one in short ones."""
    points = contour.points_xy * np.array([panel.spacing_yx_mm[1], panel.spacing_yx_mm[0]])
    own = contour.role == panel.focus and contour.side == panel.side
    below = patheffects.withStroke(linewidth=(3.9 if own else 2.8) * POINT, foreground="black")
    axes.plot(
        points[:, 0],
        points[:, 1],
        color=COLOURS[contour.role],
        linewidth=(2.1 if own else 1.4) * POINT,
        linestyle=((0, (5, 3)) if dashed else "-") if own else (0, (3, 2)),
        solid_joinstyle="round",
        path_effects=[below, patheffects.Normal()],
    )


def _numbers(axes: Axes, panel: Panel, size: float, px_per_mm: float, taken: list[Box]) -> None:
    """The numbers of the nodes in this slice, each beside its outline, or further away with a line to it. In a small
    picture of many nodes only that of the node it is of."""
    outlines = _outlined(panel, size, px_per_mm)
    if size < _SMALL_PX and len(outlines) > _FEW:
        outlines = {number: box for number, box in outlines.items() if number == panel.node}
    px = 15.0 if len(outlines) <= _FEW and size > 200 else 12.0
    labels = [
        Label(str(number), box, text_fitting.width(str(number), px, bold=True) + 4, px * 1.2 + 2)
        for number, box in sorted(outlines.items(), key=lambda item: (item[0] != panel.node, item[0]))
    ]
    for label, box in placed(labels, taken, size):
        x, y = box.middle
        if box.distance(label.outline) > 9:
            to_x, to_y = label.outline.middle
            axes.plot(
                [x / size, to_x / size],
                [1 - y / size, 1 - to_y / size],
                transform=axes.transAxes,
                color=PINK,
                linewidth=1.0 * POINT,
                zorder=2.5,
            )
        _write(axes, label.text, (x / size, 1 - y / size), px, colour=PINK, bold=True)


def _outlined(panel: Panel, size: float, px_per_mm: float) -> dict[int, Box]:
    """The boxes around the nodes in this slice that are at least partly in the picture, in pixels of the panel."""
    rows, columns = panel.image_yx.shape
    (dy, dx), (top, left) = panel.spacing_yx_mm, panel.offset_yx
    corner = np.array([(left + columns / 2) * dx, (top + rows / 2) * dy]) - size / px_per_mm / 2
    points: dict[int, list[npt.NDArray[np.float64]]] = {}
    for contour in panel.contours:
        if contour.role == panel.focus and contour.side == panel.side:
            points.setdefault(contour.number, []).append((contour.points_xy * (dx, dy) - corner) * px_per_mm)
    boxes = {}
    for number, parts in points.items():
        whole = np.concatenate(parts)
        box = Box(*whole.min(axis=0).tolist(), *whole.max(axis=0).tolist())
        if box.meets(Box(4, 4, size - 4, size - 4)):
            boxes[number] = box
    return boxes


def _letters(axes: Axes, panel: Panel, size: float) -> list[Box]:
    """The patient's directions at the four edges; where they stand, in pixels of the panel."""
    places = ((0.0, 0.5), (1.0, 0.5), (0.5, 1.0), (0.5, 0.0))
    boxes = []
    for letter, (x, y) in zip(panel.edges, places, strict=True):
        width, height = text_fitting.width(letter, 14, bold=True) + 4, 20.0
        at_x = min(max(x * size, width / 2 + 3), size - width / 2 - 3)
        at_y = min(max((1 - y) * size, height / 2 + 2), size - height / 2 - 2)
        boxes.append(Box(at_x - width / 2, at_y - height / 2, at_x + width / 2, at_y + height / 2))
        _write(axes, letter, (at_x / size, 1 - at_y / size), 14, colour=INK, bold=True)
    return boxes


def _note(axes: Axes, note: str, size: float) -> Box:
    """A line of text below the letter of the upper edge; where it stands."""
    px = 12.0 if size > 200 else 10.0
    width, at_y = text_fitting.width(note, px, bold=True) + 4, 22 + px
    _write(axes, note, (0.5, 1 - at_y / size), px, colour=YELLOW, bold=True)
    return Box((size - width) / 2, at_y - px, (size + width) / 2, at_y + px)


def _bar(axes: Axes, px_per_mm: float, size: float) -> Box:
    """Two centimetres, as far as they fit between the edge and the letter; where it stands."""
    length = BAR_MM * px_per_mm
    axes.plot(
        [0.04, 0.04 + length / size],
        [0.04, 0.04],
        transform=axes.transAxes,
        color=INK,
        linewidth=2.8 * POINT,
        path_effects=[patheffects.withStroke(linewidth=4.7 * POINT, foreground="black"), patheffects.Normal()],
    )
    width = text_fitting.width("2 cm", 12) + 4
    at_x, at_y = 0.04 * size + width / 2, 0.96 * size - 12
    _write(axes, "2 cm", (at_x / size, 1 - at_y / size), 12, colour=INK, bold=False)
    return Box(0, at_y - 9, 0.04 * size + max(width, length) + 2, size)


def _write(axes: Axes, text: str, place: tuple[float, float], px: float, *, colour: str, bold: bool) -> None:
    """A text in the middle of a place, given as shares of the panel from the bottom left."""
    axes.text(
        *place,
        text,
        transform=axes.transAxes,
        color=colour,
        ha="center",
        va="center",
        parse_math=False,
        path_effects=_OUTLINE,
        **text_fitting.style(text, px, bold),
    )
