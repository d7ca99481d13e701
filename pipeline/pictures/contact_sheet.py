"""One picture of an exam: the middle slice of every series, what it was taken for, and which were chosen."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageOps

from pipeline.catalog import Exam, FrameRef, Selection, SeriesFacts
from pipeline.decoding import pixels_of
from pipeline.dicom_file.bounded_reading import MALFORMED
from pipeline.pictures.fonts import font_for
from pipeline.sequences.evidence import Evidence
from pipeline.sequences.records import Match, SeriesLabel
from pipeline.sequences.slices import Slice

TILE, TEXT, GAP, COLUMNS = 240, 66, 8, 4
# Size of letters, and of what of them is above the line, in pixels.
LETTERS, ASCENT = 13, 13
CHOSEN, PLAIN, PAPER, INK = (46, 160, 67), (120, 120, 120), (18, 18, 18), (235, 235, 235)


def draw(exam: Exam, match: Match, out: Path) -> None:
    """Write the contact sheet as PNG. A series whose image does not decode shows why in its place."""
    chosen = {selection.series_uid: (name, selection) for name, selection in match.chosen.items()}
    labels = {label.series_uid: label for label in match.labels}
    ordered = sorted(exam.series, key=lambda s: (Evidence(s).series_number, s.series_uid))
    rows = -(-len(ordered) // COLUMNS) or 1
    sheet = Image.new("RGB", (COLUMNS * (TILE + GAP) + GAP, rows * (TILE + TEXT + GAP) + GAP), PAPER)
    for place, series in enumerate(ordered):
        at = (
            GAP + (place % COLUMNS) * (TILE + GAP),
            GAP + (place // COLUMNS) * (TILE + TEXT + GAP),
        )
        name, selection = chosen.get(series.series_uid, ("", None))
        _cell(sheet, at, series, labels[series.series_uid], name, selection)
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(out, format="PNG")


def _cell(
    sheet: Image.Image,
    at: tuple[int, int],
    series: SeriesFacts,
    label: SeriesLabel,
    name: str,
    selection: Selection | None,
) -> None:
    x, y = at
    pen, evidence = ImageDraw.Draw(sheet), Evidence(series)
    tile = _tile(series, selection)
    if isinstance(tile, str):
        parts = [tile[i : i + 34] for i in range(0, min(len(tile), 136), 34)]
        _write(pen, (x + 6, y + TILE // 2 - 20), parts)
    else:
        sheet.paste(tile, (x + (TILE - tile.width) // 2, y + (TILE - tile.height) // 2))
    colour = CHOSEN if selection else PLAIN
    pen.rectangle((x, y, x + TILE - 1, y + TILE + TEXT - 1), outline=colour, width=4 if selection else 1)
    phase = f", {selection.phase}" if selection and selection.phase else ""
    lines = [
        f"{evidence.series_number:g}  {evidence.name}"[:34],
        f"{label.label}  {label.confidence:.2f}  {len(evidence.slices)} images",
        f"CHOSEN as {name.upper()}{phase}" if selection else "",
    ]
    _write(pen, (x + 8, y + TILE + 6), lines, CHOSEN if selection else INK)


def _write(
    pen: ImageDraw.ImageDraw,
    at: tuple[int, int],
    lines: list[str],
    colour: tuple[int, int, int] = INK,
) -> None:
    for n, line in enumerate(lines):
        x = float(at[0])
        for font, run in groupby(line, key=lambda character: font_for(character, LETTERS)):
            text = "".join(run)
            pen.text((x, at[1] + 19 * n + ASCENT), text, fill=colour, font=font, anchor="ls")
            x += font.getlength(text)


def _tile(series: SeriesFacts, selection: Selection | None) -> Image.Image | str:
    """The middle slice, fitted into the tile, or why it cannot be shown."""
    slices = Evidence(series).slices
    if selection is not None:
        frames = selection.frames or selection.frames_by_b[max(selection.frames_by_b)]
        wanted = {_key(f) for f in frames}
        slices = tuple(s for s in slices if _key(s.frame) in wanted) or slices
    frame = sorted(slices, key=_place)[len(slices) // 2].frame
    path = frame.instance.path
    if path is None:
        return "no file"
    try:
        (pixels,) = pixels_of(path, [frame.frame], raw=False)
    except (RuntimeError, *MALFORMED) as error:
        return f"not decoded: {type(error).__name__}: {error}"
    return ImageOps.contain(Image.fromarray(_grey(np.asarray(pixels))), (TILE - 8, TILE - 8))


def _key(frame: FrameRef) -> tuple[str, int | None]:
    return frame.instance.ref.sop_instance_uid, frame.frame


def _place(one: Slice) -> tuple[float, float]:
    return one.position_mm if one.position_mm is not None else 0.0, one.number


def _grey(pixels: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    """Eight-bit grey between the 1st and the 99.5th percentile; colour is averaged."""
    values = np.asarray(pixels, dtype=np.float64)
    if values.ndim == 3:
        values = values.mean(axis=2)
    low, high = np.percentile(values, [1, 99.5])
    span = high - low if high > low else 1.0
    grey: npt.NDArray[np.uint8] = np.clip((values - low) / span * 255, 0, 255).astype(np.uint8)
    return grey
