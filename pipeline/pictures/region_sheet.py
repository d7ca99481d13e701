"""Pictures of single regions side by side: each where it is largest, dashed, with the lines that it was made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from textwrap import wrap

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from pipeline.pictures.fonts import font_for
from pipeline.pictures.panel import Panel, make_panels
from pipeline.records import Mask, Role, Side, Volume

TILE, TEXT, GAP, COLUMNS = 420, 84, 10, 3
LETTERS, LINE = 14, 20
# Characters that fit beside each other in a tile.
MOST_CHARACTERS = 52
PAPER, INK, MEASURED = (18, 18, 18), (235, 235, 235), (90, 200, 250)
COLOURS: dict[Role, tuple[int, int, int]] = {"tumor": (255, 214, 10), "lymph_nodes": (255, 100, 170)}
DASH, PAUSE = 7.0, 5.0

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RegionPicture:
    """A region to show. `lines_mm`: what was measured, each (n, 3) LPS mm; `words`: below it, in up to four lines."""

    mask: Mask
    role: Role
    side: Side | None
    lines_mm: tuple[Floats, ...]
    words: tuple[str, ...]


def draw_regions(volume: Volume, regions: Sequence[RegionPicture], out: Path) -> None:
    """Write one PNG with a tile per region."""
    rows = -(-len(regions) // COLUMNS)
    columns = min(COLUMNS, len(regions))
    size = (columns * (TILE + GAP) + GAP, rows * (TILE + TEXT + GAP) + GAP)
    sheet = Image.new("RGB", size, PAPER)
    for n, region in enumerate(regions):
        at = GAP + n % COLUMNS * (TILE + GAP), GAP + n // COLUMNS * (TILE + TEXT + GAP)
        sheet.paste(_tile(volume, region), at)
        lines = [part for text in region.words for part in wrap(text, MOST_CHARACTERS)]
        _write(ImageDraw.Draw(sheet), (at[0] + 4, at[1] + TILE + 4), lines)
    sheet.save(out, format="PNG")


def _tile(volume: Volume, region: RegionPicture) -> Image.Image:
    (panel,) = make_panels({"t1c": volume}, {("t1c", region.role, region.side): region.mask})
    tile = Image.new("RGB", (TILE, TILE), PAPER)
    low = panel.window_centre - panel.window_width / 2
    grey = np.clip((panel.image_yx - low) / panel.window_width * 255, 0, 255).astype(np.uint8)
    rows, columns = grey.shape
    dy, dx = panel.spacing_yx_mm
    scale = TILE / max(rows * dy, columns * dx)
    shown = Image.fromarray(grey).resize(
        (round(columns * dx * scale), round(rows * dy * scale)), Image.Resampling.BICUBIC
    )
    tile.paste(shown.convert("RGB"), (0, 0))
    pen = ImageDraw.Draw(tile)
    for contour in panel.contours:
        _dashed(pen, _on_tile(contour.points_xy, panel, scale), COLOURS[region.role])
    back = np.linalg.inv(volume.geometry.affine)
    for line in region.lines_mm:
        pixels = (back[:3, :3] @ line.T).T[:, :2] + back[:2, 3] + 0.5
        pen.line([tuple(p) for p in _on_tile(pixels, panel, scale)], fill=MEASURED, width=1)
    left, right, top, bottom = panel.edges
    for letter, x, y in (
        (left, 4, TILE // 2),
        (right, TILE - 16, TILE // 2),
        (top, TILE // 2, 4),
        (bottom, TILE // 2, TILE - 20),
    ):
        _write(pen, (x, y), (letter,))
    return tile


def _on_tile(points_xy: Floats, panel: Panel, scale: float) -> Floats:
    top, left = panel.offset_yx
    dy, dx = panel.spacing_yx_mm
    return np.asarray((points_xy - (left, top)) * (dx, dy) * scale)


def _dashed(pen: ImageDraw.ImageDraw, points: Floats, colour: tuple[int, int, int]) -> None:
    """A closed line in dashes that go on around its corners."""
    done = 0.0
    for one, other in pairwise(points):
        length = float(np.linalg.norm(other - one))
        start = 0.0
        while start < length:
            phase = (done + start) % (DASH + PAUSE)
            step = min((DASH if phase < DASH else DASH + PAUSE) - phase, length - start)
            if phase < DASH:
                a, b = (one + (other - one) * t / length for t in (start, start + step))
                pen.line([tuple(a), tuple(b)], fill=colour, width=2)
            start += max(step, 1e-6)
        done += length


def _write(pen: ImageDraw.ImageDraw, at: tuple[int, int], lines: Sequence[str]) -> None:
    for n, line in enumerate(lines[:4]):
        x = float(at[0])
        for font, run in groupby(line, key=lambda character: font_for(character, LETTERS)):
            text = "".join(run)
            pen.text((x, at[1] + LINE * n + LETTERS), text, fill=INK, font=font, anchor="ls")
            x += font.getlength(text)
