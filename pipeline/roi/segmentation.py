"""Masks of the segments of a DICOM SEG on the grid of an image (PS3.3 C.8.20).

Frames may come in any order, overlap, be missing where a segment is empty, lie in other planes than the image's, and
carry no reference to it: their plane positions alone place them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any  # Any: integers of any size

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from pipeline.errors import PixelsRejected, RoiRejected
from pipeline.geometry import Geometry
from pipeline.roi.canvas import Canvas
from pipeline.roi.repeated_planes import ONE_PLANE_MM, Drawn
from pipeline.roi.source_images import Difference, Named, compare, compare_size, contradictions, lookup
from pipeline.volumes.frames import Frame, Groups, frames_in
from pipeline.volumes.pixels import decode


@dataclass(frozen=True, slots=True, eq=False)
class SegFrame:
    """One frame: its place, the segment it belongs to (None in a LABELMAP), the images it was drawn on.

    `source`: the image, or frame of one, that it names as the only one.
    """

    frame: Frame
    plane: Geometry
    segment: int | None
    sources: frozenset[str]
    source: Named | None


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation:
    """A SEG without its pixels. `kind`: BINARY, FRACTIONAL or LABELMAP; `maximum` is the fractional 1.0.

    `thickness_known`: the distance between frames is stated or seen; a Slice Thickness may overlap its neighbours.
    """

    path: Path
    uid: str
    kind: str
    maximum: int
    padding: int | None
    frame_of_reference_uid: str | None
    frames: tuple[SegFrame, ...]
    sources: frozenset[str]
    thickness_known: bool


def open_segmentation(ds: Dataset, path: Path) -> Segmentation:
    """Read frames and geometry from the header. Raises GeometryRejected, RoiRejected."""
    uid = str(ds.SOPInstanceUID)
    kind = str(ds.get("SegmentationType", "")).upper()
    if kind not in ("BINARY", "FRACTIONAL", "LABELMAP"):
        raise RoiRejected(f"segmentation {uid} is of unknown type {kind or '(none)'}", uid=uid)
    if "PerFrameFunctionalGroupsSequence" not in ds:
        raise RoiRejected(f"segmentation {uid} does not say where its frames lie", uid=uid)
    frames = frames_in(ds, path)
    thickness, known = _thickness_mm(ds, frames, uid)
    segments = []
    for index, frame in enumerate(frames):
        groups = Groups(ds, index)
        number = groups.get("ReferencedSegmentNumber")
        if number is None and kind != "LABELMAP":
            raise RoiRejected(f"segmentation {uid} frame {index + 1} names no segment", uid=uid)
        named = set(_derived_from(groups))
        only = next(iter(named)) if len(named) == 1 else None
        sources = frozenset(source for source, _ in named)
        segments.append(SegFrame(frame, _plane(frame, thickness), _int(number), sources, only))
    listed = {
        str(i.ReferencedSOPInstanceUID)
        for s in ds.get("ReferencedSeriesSequence") or []
        for i in s.get("ReferencedInstanceSequence") or []
    }
    return Segmentation(
        path,
        uid,
        kind,
        int(ds.get("MaximumFractionalValue") or 255),
        _int(ds.get("PixelPaddingValue")) if kind == "LABELMAP" else None,
        str(ds.get("FrameOfReferenceUID") or "") or None,
        tuple(segments),
        frozenset(listed.union(*(f.sources for f in segments))),
        known,
    )


def draw(
    seg: Segmentation,
    grid: Geometry,
    numbers: Iterable[int],
    threshold: float,
    images: frozenset[str] = frozenset(),
    places: Mapping[Named, Frame] = MappingProxyType({}),
) -> dict[int, Canvas]:
    """The masks of the segments `numbers` on `grid`. FRACTIONAL: in where the value reaches `threshold` (0..1).

    `images`: SOP Instance UIDs of the grid's own slices. `places`: where the images lie that the frames name.
    Raises PixelsRejected, RoiRejected (two frames of one segment on one plane).
    """
    canvases = {n: Canvas.on(grid) for n in numbers}
    drawn = {n: Drawn(f"segmentation {seg.uid}: frames {{}} and {{}} of segment {n}", seg.uid) for n in canvases}
    differences: dict[int, list[Difference]] = {n: [] for n in canvases}
    wanted = [f for f in seg.frames if f.segment is None or f.segment in canvases]
    stored = _stored(seg, [f.frame.source.frame for f in wanted])
    for place, pixels in zip(wanted, stored, strict=True):
        if pixels.shape != place.plane.shape_zyx[1:]:
            raise PixelsRejected(f"segmentation {seg.uid} decodes to frames of {pixels.shape}", uid=seg.uid)
        named = bool((place.sources or seg.sources) & images)
        own = named or not seg.thickness_known
        for number, mask in _masks(seg, place, pixels, canvases, threshold):
            if mask.any() and drawn[number].first_time(place.frame.source.frame or 1, place.plane, mask):
                canvases[number].add(mask, place.plane, own)
                image = lookup(places, place.source)
                if image is not None:
                    differences[number].append(compare(place.plane, image, grid.spacing_xyz_mm[2] if named else None))
                elif named and (sizes := compare_size(place.plane, grid)) is not None:
                    differences[number].append(sizes)
    for number, canvas in canvases.items():
        canvas.contradictions = contradictions(differences[number], drawn[number].count)
    return canvases


def _stored(seg: Segmentation, numbers: Sequence[int | None]) -> Iterator[npt.NDArray[np.generic]]:
    """The frames' values. Those of a FRACTIONAL one are compared with a threshold, and may have lost a little."""
    try:
        yield from decode(seg.path, numbers, allow_lossy=seg.kind == "FRACTIONAL")
    except PixelsRejected as error:
        if error.code != "lossy":
            raise
        raise PixelsRejected(
            f"segmentation {seg.uid} was compressed with loss, so its voxels need not be those that were drawn; have "
            "it saved or sent without loss",
            code="lossy",
            uid=seg.uid,
        ) from error


def _masks(
    seg: Segmentation,
    place: SegFrame,
    pixels: npt.NDArray[Any],  # integers of any size
    wanted: Iterable[int],
    threshold: float,
) -> Iterator[tuple[int, npt.NDArray[np.bool_]]]:
    if seg.kind != "LABELMAP":
        assert place.segment is not None
        # Whole numbers on both sides: 128 of 255 reaches 0.5, and no rounding decides it.
        least = 1 if seg.kind == "BINARY" else max(1, int(np.ceil(round(threshold * seg.maximum, 9))))
        yield place.segment, pixels >= least
        return
    for number in wanted:
        if number != seg.padding:
            yield number, pixels == number


def _plane(frame: Frame, thickness_mm: float) -> Geometry:
    direction = np.column_stack([frame.across, frame.down, frame.normal])
    x, y, z = (float(p) for p in frame.position)
    return Geometry(
        (1, frame.rows, frame.columns),
        (*frame.spacing_xy_mm, thickness_mm),
        (x, y, z),
        tuple(float(v) for v in direction.ravel()),
        frame.frame_of_reference_uid,
    )


def _thickness_mm(ds: Dataset, frames: list[Frame], uid: str) -> tuple[float, bool]:
    """How thick the frames are: what lies between them as stated, else the least distance, else Slice Thickness.

    And whether that is the distance between frames for certain.
    """
    groups = Groups(ds, 0)
    depths = np.unique(np.round([float(f.position @ frames[0].normal) for f in frames], 3))
    gaps = np.diff(depths)
    least = float(gaps[gaps > ONE_PLANE_MM].min()) if (gaps > ONE_PLANE_MM).any() else None
    stated = groups.get("SpacingBetweenSlices")
    if stated is not None and abs(float(stated)) > 0:
        return min(abs(float(stated)), least) if least else abs(float(stated)), True
    thick = groups.get("SliceThickness")
    if least is not None:
        return least, True
    if thick is None or float(thick) <= 0:
        raise RoiRejected(f"segmentation {uid} does not say how thick its frame is", uid=uid)
    return float(thick), False


def _derived_from(groups: Groups) -> Iterator[Named]:
    """The images that a frame names, each with its frame where one is named too."""
    for source in groups.every("DerivationImageSequence", "SourceImageSequence"):
        if "ReferencedSOPInstanceUID" not in source:
            continue
        numbers = source.get("ReferencedFrameNumber")
        several = [] if numbers in (None, "") else [numbers] if isinstance(numbers, (int, str)) else list(numbers)
        for number in several or [None]:
            yield str(source.ReferencedSOPInstanceUID), None if number is None else int(number)


def _int(value: object) -> int | None:
    return None if value is None or value == "" else int(str(value))
