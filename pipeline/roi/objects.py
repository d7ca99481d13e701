"""A SEG or RTSTRUCT opened: what it describes, whether it shares an image's space, and its segments on a grid."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from pydicom import Dataset

from pipeline.errors import GeometryRejected, RoiRejected
from pipeline.geometry import Geometry
from pipeline.records import Mask, Segment, Volume
from pipeline.roi.canvas import Canvas, on_grid
from pipeline.roi.describe import RTSTRUCT_CLASS, Description, describe
from pipeline.roi.roles import side_of
from pipeline.roi.rules import Rules
from pipeline.roi.segmentation import Segmentation, draw, open_segmentation
from pipeline.roi.source_images import Named
from pipeline.roi.structures import Structures, draw_structures, open_structures
from pipeline.volumes.checked_header import as_sound, read_header
from pipeline.volumes.frames import Frame


@dataclass(frozen=True, slots=True, eq=False)
class RoiObject:
    """One SEG or RTSTRUCT, headers only. `laterality`: what the object says of all its segments."""

    content: Segmentation | Structures
    segments: tuple[Description, ...]
    laterality: str
    notes: tuple[str, ...] = ()

    @property
    def uid(self) -> str:
        return self.content.uid

    @property
    def named(self) -> frozenset[Named]:
        """The images, or frames of images, that a frame or contour names as its only source."""
        if isinstance(self.content, Structures):
            contours = (c for each in self.content.contours.values() for c in each)
            return frozenset(c.source for c in contours if c.source is not None)
        return frozenset(f.source for f in self.content.frames if f.source is not None)

    def elsewhere(self, number: int, frame_of_reference_uid: str | None) -> bool:
        """Whether this segment lies in another frame of reference than this one, in which others lie."""
        return isinstance(self.content, Structures) and self.content.elsewhere(number, frame_of_reference_uid)


def open_object(path: Path) -> RoiObject:
    """Raises NotDicom, RoiRejected, GeometryRejected."""
    opened, faults = as_sound(read_header(path), path, lambda ds: _opened(ds, path))
    needed = faults.naming(("MaximumFractionalValue", "PixelPaddingValue"))
    if needed and isinstance(opened.content, Segmentation) and opened.content.kind != "BINARY":
        raise RoiRejected(f"{opened.uid}, {path.name}: {needed} cannot be read", uid=opened.uid)
    notes = tuple(f"{keyword} is written with a decimal comma" for keyword in sorted(faults.commas - {"ContourData"}))
    return replace(opened, notes=notes)


def _opened(ds: Dataset, path: Path) -> RoiObject:
    segments = describe(ds, path)
    if not segments:
        raise RoiRejected(f"{ds.SOPInstanceUID} holds no segment", uid=str(ds.SOPInstanceUID))
    is_structures = str(ds.SOPClassUID) == RTSTRUCT_CLASS
    content = open_structures(ds, path) if is_structures else open_segmentation(ds, path)
    return RoiObject(content, segments, _laterality(ds))


def _laterality(ds: Dataset) -> str:
    shared = ds.get("SharedFunctionalGroupsSequence") or []
    frame = [str(a.get("FrameLaterality", "")) for s in shared for a in s.get("FrameAnatomySequence") or []]
    return next(
        (v for v in [str(ds.get("ImageLaterality", "")), str(ds.get("Laterality", "")), *frame] if v in "LR"), ""
    )


def check_shared_space(opened: RoiObject, series_uid: str, grid: Geometry, images: frozenset[str]) -> None:
    """Raise GeometryRejected unless positions in the object and on the series' grid mean the same place.

    They do with the same Frame of Reference UID; where either has none, if the object names one of `images` (SOP
    Instance UIDs of the grid's own slices) as its source.
    """
    theirs, ours = opened.content.frame_of_reference_uid, grid.frame_of_reference_uid
    if theirs is not None and theirs == ours:
        return
    if isinstance(opened.content, Structures) and ours in opened.content.spaces.values():
        return
    named = bool(opened.content.sources & images)
    if named and (theirs is None or ours is None):
        return
    if theirs is None or ours is None:
        raise GeometryRejected(
            f"{opened.uid if theirs is None else series_uid} has no frame of reference and the ROI object "
            "refers to none of the images: nothing says that their positions agree",
            code="no-frame-of-reference",
            uid=opened.uid,
        )
    raise GeometryRejected(
        f"ROI object {opened.uid} lies in another frame of reference ({_shown(theirs)}) than "
        f"series {series_uid} ({_shown(ours)})",
        code="other-frame-of-reference",
        uid=opened.uid,
    )


def _shown(uid: str) -> str:
    """A UID as a message may name it; never another text that stands in its place."""
    return uid if re.fullmatch(r"[0-9.]{1,64}", uid) else "Frame of Reference UID is unreadable: text that is no UID"


def image_uids(volume: Volume) -> frozenset[str]:
    """SOP Instance UIDs of the volume's own slices."""
    return frozenset(s.ref.sop_instance_uid for s in volume.sources_z)


def lies_on(opened: RoiObject, grid: Geometry) -> bool:
    """Whether every frame of a SEG lies on voxels of the grid, so that nothing needs resampling."""
    if isinstance(opened.content, Structures):
        return False
    return all(
        on_grid(np.linalg.inv(grid.affine) @ f.plane.affine, f.plane.shape_zyx[1:]) for f in opened.content.frames
    )


def draw_on(
    opened: RoiObject,
    grid: Geometry,
    numbers: Iterable[int],
    threshold: float,
    images: frozenset[str] = frozenset(),
    places: Mapping[Named, Frame] = MappingProxyType({}),
) -> dict[int, Canvas]:
    """Masks by segment number. The spaces must have been found to agree.

    `images`: SOP Instance UIDs of the grid's own slices; `places`: where the images lie that the object names.
    Raises PixelsRejected, RoiRejected.
    """
    if isinstance(opened.content, Structures):
        canvases = draw_structures(opened.content, grid, numbers, places)
    else:
        canvases = draw(opened.content, grid, numbers, threshold, images, places)
    for canvas in canvases.values():
        canvas.notes += opened.notes
    return canvases


def segment_of(described: Description, canvas: Canvas, rules: Rules, laterality: str = "") -> Segment:
    """The record of one segment drawn."""
    side, _ = side_of(described, rules)
    if side is None and laterality in ("L", "R"):
        side = "L" if laterality == "L" else "R"
    return Segment(
        described.source,
        described.number,
        described.label,
        Mask(canvas.voxels_zyx, canvas.grid),
        described.category,
        described.type,
        described.anatomies[0] if described.anatomies else None,
        side,
        described.tracking_id,
        described.tracking_uid,
        tuple(_notes(canvas)),
        canvas.contradictions,
        described.origin,
        described.algorithm,
        (described.accepted.by_whom(described.number) or None) if described.accepted is not None else None,
    )


def _notes(canvas: Canvas) -> Iterable[str]:
    if canvas.resampled:
        planes = canvas.resampled + canvas.exact
        yield f"{canvas.resampled} of {planes} planes do not lie on the image grid and were resampled (nearest voxel)"
    if canvas.outside:
        yield f"{canvas.outside} of {canvas.drawn} pixels lie outside the image"
    yield from canvas.notes
    yield from (c.text for c in canvas.contradictions)
