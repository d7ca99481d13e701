"""Images and names from files of the spool. All of this runs in the process that may die of a file.

What loads pixels is imported where it is called: the console itself never loads it.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any  # Any: arrays of pixels, whose library is loaded later

from config.schema import Settings
from pipeline.catalog import InstanceFacts, Selection
from pipeline.errors import ExamRejected

if TYPE_CHECKING:
    from PIL import Image

    from pipeline.records import Segment, Volume

# Pixels of a tile, of a large picture, and of a dash.
TILE, VIEW, DASH = 256, 768, 7.0
COLOURS = {"tumor": (255, 176, 0), "lymph_nodes": (100, 210, 255), "": (220, 220, 220)}
# Label, role, whether it is proposed, first, largest and last slice (from 1), volume in mm3.
Extent = tuple[str, str, bool, int, int, int, float]
# A date as DICOM writes it.
DATE = re.compile(r"^(\d{4})(\d\d)(\d\d)$")
PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "AccessionNumber", "StudyDate")


@dataclass(frozen=True, slots=True)
class View:
    """One slice as PNG; how many slices there are; the labels of the regions on it, each with its colour and size."""

    png: bytes
    slices: int
    shown: tuple[tuple[str, str], ...] = ()


def patient_of(path: Path) -> dict[str, str]:
    """What a header says of its patient, to be shown and never kept. A name's groups are joined."""
    from dicom_sr.report_source import read_header

    header = read_header(path)
    values = {keyword: str(header.get(keyword) or "").strip() for keyword in PATIENT}
    groups = [group.replace("^", " ").strip() for group in values["PatientName"].split("=")]
    values["PatientName"] = " · ".join(group for group in groups if group)
    return {k: DATE.sub(r"\1-\2-\3", value) if k.endswith("Date") else value for k, value in values.items()}


def report_text_of(path: Path) -> str:
    """A report as text."""
    from dicom_sr.plain_text import report_text

    return report_text(path.read_bytes())


def tile(path: Path, frame: int | None, size: int = TILE) -> bytes:
    """One frame as PNG, its longer side `size` pixels. Raises ExamRejected where it cannot be decoded."""
    import numpy as np
    from PIL import Image, ImageOps

    from pipeline.decoding import pixels_of
    from pipeline.dicom_file.bounded_reading import MALFORMED

    try:
        (pixels,) = pixels_of(path, [frame], raw=False)
    except (RuntimeError, OSError, *MALFORMED) as error:
        raise ExamRejected(f"this image cannot be decoded: {type(error).__name__}", code="not-decoded") from None
    return _png(ImageOps.contain(Image.fromarray(_grey(np.asarray(pixels))), (size, size)))


def view(
    selection: Selection, regions: tuple[InstanceFacts, ...], proposal: Path | None, number: int, settings: Settings
) -> View:
    """A slice of the volume that was chosen, with the outlines of regions: readers' solid, proposed ones dashed.

    `number`: from 1, in the order of positions. Raises ExamRejected.
    """
    from PIL import Image, ImageDraw

    from pipeline.pictures.panel import contours

    volume, segments = _loaded(_Key(selection, regions, proposal, settings))
    k = min(max(number, 1), volume.geometry.shape_zyx[0]) - 1
    x_mm, y_mm, _ = volume.geometry.spacing_xyz_mm
    grey = Image.fromarray(_grey(volume.voxels_zyx[k]))
    scale = VIEW / max(grey.width * x_mm, grey.height * y_mm)
    size = (round(grey.width * x_mm * scale), round(grey.height * y_mm * scale))
    shown = grey.resize(size, Image.Resampling.BICUBIC).convert("RGB")
    pen, listed = ImageDraw.Draw(shown), []
    for segment, role, is_proposed in segments:
        lines = contours(segment.mask, k, "tumor", None)
        for line in lines:
            points = [(float(x) * x_mm * scale, float(y) * y_mm * scale) for x, y in line.points_xy]
            _outline(pen, [*points, points[0]], COLOURS[role], dashed=is_proposed)
        if lines:
            listed.append((segment.label, role))
    return View(_png(shown), volume.geometry.shape_zyx[0], tuple(listed))


def extents(
    selection: Selection, regions: tuple[InstanceFacts, ...], proposal: Path | None, settings: Settings
) -> list[Extent]:
    """Each region and where it is."""
    import numpy as np

    _, segments = _loaded(_Key(selection, regions, proposal, settings))
    rows = []
    for segment, role, is_proposed in segments:
        counts = segment.mask.voxels_zyx.sum(axis=(1, 2))
        there = np.flatnonzero(counts)
        if there.size:
            first, largest, last = int(there[0]) + 1, int(np.argmax(counts)) + 1, int(there[-1]) + 1
            rows.append((segment.label, role, is_proposed, first, largest, last, segment.mask.volume_mm3))
    return rows


class _Key:
    """What a volume and its regions are made of, compared by their files; the settings do not change meanwhile."""

    def __init__(
        self, selection: Selection, regions: tuple[InstanceFacts, ...], proposal: Path | None, settings: Settings
    ) -> None:
        self.selection, self.regions, self.proposal, self.settings = selection, regions, proposal, settings
        frames = tuple((f.instance.path, f.frame) for f in selection.frames)
        self._name = (frames, tuple(r.path for r in regions), proposal)

    def __hash__(self) -> int:
        return hash(self._name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self._name == other._name


@lru_cache(maxsize=2)
def _loaded(key: _Key) -> tuple[Volume, list[tuple[Segment, str, bool]]]:
    """The volume and every region on it: segment, role, whether it is proposed. What cannot be drawn is left out."""
    from pipeline.roi.rules import load_rules
    from pipeline.volumes import selected_volume

    settings = key.settings
    volume = selected_volume.load(key.selection, settings.sequences, key.regions)
    rules = load_rules(settings.roi.rules)
    paths = [(facts.path, False) for facts in key.regions if facts.path is not None and not facts.ours]
    if key.proposal is not None:
        paths.append((key.proposal, True))
    segments = []
    for path, is_proposed in paths:
        segments += [(segment, role, is_proposed) for segment, role in _drawn(path, volume, settings, rules)]
    return volume, segments


def _drawn(path: Path, volume: Volume, settings: Settings, rules: Any) -> list[tuple[Segment, str]]:
    from pipeline.roi.objects import check_shared_space, draw_on, image_uids, open_object, segment_of
    from pipeline.roi.roles import role_of

    try:
        opened = open_object(path)
        images = image_uids(volume)
        check_shared_space(opened, volume.series_uid, volume.geometry, images)
        numbers = [described.number for described in opened.segments]
        canvases = draw_on(opened, volume.geometry, numbers, settings.roi.fractional_threshold, images, {})
        return [
            (segment_of(d, canvases[d.number], rules, opened.laterality), role_of(d, rules).role or "")
            for d in opened.segments
        ]
    except ExamRejected:
        return []


def _grey(pixels: Any) -> Any:
    """Eight-bit grey between the 1st and the 99.5th percentile; colour is averaged."""
    import numpy as np

    values = np.asarray(pixels, dtype=np.float64)
    if values.ndim == 3:
        values = values.mean(axis=2)
    low, high = np.percentile(values, [1, 99.5])
    span = high - low if high > low else 1.0
    return np.clip((values - low) / span * 255, 0, 255).astype(np.uint8)


def _png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, format="PNG")
    return out.getvalue()


def _outline(pen: Any, points: Sequence[tuple[float, float]], colour: tuple[int, int, int], *, dashed: bool) -> None:
    if not dashed:
        pen.line(points, fill=colour, width=2, joint="curve")
        return
    along = 0.0
    for (x, y), (to_x, to_y) in pairwise(points):
        length, done = math.hypot(to_x - x, to_y - y), 0.0
        while done < length:
            phase = (along + done) % (2 * DASH)
            step = min((DASH if phase < DASH else 2 * DASH) - phase, length - done)
            if phase < DASH:
                ends = [(x + (to_x - x) * t / length, y + (to_y - y) * t / length) for t in (done, done + step)]
                pen.line(ends, fill=colour, width=2)
            done += max(step, 1e-6)
        along += length
