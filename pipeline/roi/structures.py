"""Masks of an RTSTRUCT's closed planar contours (PS3.3 C.8.8.6) on the grid of an image.

A voxel is in if its centre is inside an odd number of the contours of its plane or lies on one: a contour inside
another is a hole, an island in the hole is in again. A keyhole (one contour that runs in to the hole and back) comes
out the same. A contour that encloses nothing, or that cannot be read, is left out and counted by its reason; the others
of its region, and the other regions, are read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from pydicom import Dataset

from pipeline.align.resample import Bools
from pipeline.dicom_file.checked_numbers import BadValue, numbers, whole_number
from pipeline.errors import RoiRejected
from pipeline.geometry import Geometry
from pipeline.roi.canvas import Canvas
from pipeline.roi.polygon_fill import Points, filled
from pipeline.roi.source_images import Difference, Named, compare_contour, contradictions, lookup
from pipeline.volumes.frames import Frame

CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
FLAT_MM = 0.1
SAME_DEPTH = 0.05  # of the distance between slices
# Narrower than this, a contour is a line. Longer than the other, it is no part of a patient.
LINE_MM = 1e-4
LONGEST_MM = 2000.0
NO_AREA = "fewer than three points, or all on one line, enclose nothing"


@dataclass(frozen=True, slots=True, eq=False)
class Contour:
    """Points of a closed contour, n x 3 in LPS mm, and the image that it names, where it names exactly one."""

    points: Points
    source: Named | None


@dataclass(frozen=True, slots=True, eq=False)
class Structures:
    """Closed contours by ROI number; `skipped` counts those left out, by reason.

    `commas`: contours whose numbers are written with a decimal comma. `spaces`: the frame of reference of each ROI that
    names one; `frame_of_reference_uid` is one of them.
    """

    path: Path
    uid: str
    frame_of_reference_uid: str | None
    spaces: Mapping[int, str]
    contours: Mapping[int, tuple[Contour, ...]]
    skipped: Mapping[int, Mapping[str, int]]
    sources: frozenset[str]
    commas: Mapping[int, int]

    def elsewhere(self, number: int, frame_of_reference_uid: str | None) -> bool:
        """Whether a ROI lies in another frame of reference than this one, in which others of the object lie."""
        known = set(self.spaces.values())
        return frame_of_reference_uid in known and self.spaces.get(number) in known - {frame_of_reference_uid}


def open_structures(ds: Dataset, path: Path) -> Structures:
    """Contours and frames of reference of every ROI, from the header."""
    spaces = _spaces(ds)
    contours: dict[int, list[Contour]] = {}
    skipped: dict[int, Counter[str]] = {}
    commas: Counter[int] = Counter()
    sources: set[str] = set()
    for roi in ds.get("ROIContourSequence") or []:
        number = whole_number(roi, "ReferencedROINumber")
        if number is None:
            continue
        mine, left_out = contours.setdefault(number, []), skipped.setdefault(number, Counter())
        items = roi.get("ContourSequence") or []
        for contour in items:
            points, why, comma = _points(contour)
            commas[number] += comma
            if points is None:
                left_out[why] += 1
            else:
                mine.append(Contour(points, _source(contour)))
        sources |= _images(items)
    for frame in ds.get("ReferencedFrameOfReferenceSequence") or []:
        for study in frame.get("RTReferencedStudySequence") or []:
            sources |= _images(study.get("RTReferencedSeriesSequence") or [])
    own = ds.get("FrameOfReferenceUID")
    space = min(spaces.values()) if spaces else (str(own) if own else None)
    by_number = {number: tuple(of_number) for number, of_number in contours.items()}
    return Structures(path, str(ds.SOPInstanceUID), space, spaces, by_number, skipped, frozenset(sources), commas)


def _spaces(ds: Dataset) -> dict[int, str]:
    spaces = {}
    for roi in ds.get("StructureSetROISequence") or []:
        number, space = whole_number(roi, "ROINumber"), str(roi.get("ReferencedFrameOfReferenceUID") or "")
        if number is not None and space:
            spaces[number] = space
    return spaces


def _source(contour: Dataset) -> Named | None:
    """The image, or the frame of one, that a contour names as the only one."""
    named = [i for i in contour.get("ContourImageSequence") or [] if "ReferencedSOPInstanceUID" in i]
    sources = {(str(i.ReferencedSOPInstanceUID), whole_number(i, "ReferencedFrameNumber")) for i in named}
    return sources.pop() if len(sources) == 1 else None


def _images(items: Iterable[Dataset]) -> set[str]:
    """SOP Instance UIDs of the images that contours or series name."""
    named = [i for each in items for i in each.get("ContourImageSequence") or []]
    return {str(i.ReferencedSOPInstanceUID) for i in named if "ReferencedSOPInstanceUID" in i}


def _points(contour: Dataset) -> tuple[Points | None, str, bool]:
    """The corners of a closed contour, each once; or None and why it is left out. And whether it has decimal commas."""
    if str(contour.get("ContourGeometricType", "")).strip() not in CLOSED:
        return None, "points and open lines enclose nothing", False
    try:
        coordinates = numbers(contour, "ContourData")
    except BadValue as error:
        return None, f"its coordinates are no numbers ({error.kind})", False
    if coordinates is None:
        return None, "no points", False
    if len(coordinates.values) % 3:
        return None, "coordinates that do not come in threes", coordinates.comma
    points = np.array(coordinates.values).reshape(-1, 3)
    points = points[np.any(points != np.roll(points, 1, axis=0), axis=1)]
    if len(points) < 3 or np.linalg.svd(points - points.mean(axis=0), compute_uv=False)[1] < LINE_MM:
        return None, NO_AREA, coordinates.comma
    if np.ptp(points, axis=0).max() > LONGEST_MM:
        return None, f"longer than {LONGEST_MM / 1000:g} m", coordinates.comma
    return points, "", coordinates.comma


def draw_structures(
    structures: Structures, grid: Geometry, numbers: Iterable[int], places: Mapping[Named, Frame] = MappingProxyType({})
) -> dict[int, Canvas]:
    """Masks on `grid` by ROI number; `places`: where the images lie that contours name.

    Raises RoiRejected where a contour is not flat, or a ROI lies in another frame of reference.
    """
    canvases = {}
    for number in numbers:
        canvas = Canvas.on(grid)
        for why, count in structures.skipped.get(number, {}).items():
            canvas.notes.append(f"contours left out: {count} ({why})")
        if structures.commas.get(number):
            canvas.notes.append(f"contours written with a decimal comma: {structures.commas[number]}")
        where = f"structure set {structures.uid}, ROI {number}"
        if structures.elsewhere(number, grid.frame_of_reference_uid):
            raise RoiRejected(f"{where} lies in another frame of reference than the images", uid=structures.uid)
        once = {c.points.tobytes(): c for c in structures.contours.get(number, ())}
        for pixels, plane in _planes([c.points for c in once.values()], grid, where):
            canvas.add(pixels, plane)
        canvas.contradictions = contradictions(_differences(once.values(), grid, places), len(once), "contours")
        canvases[number] = canvas
    return canvases


def _differences(contours: Iterable[Contour], grid: Geometry, places: Mapping[Named, Frame]) -> list[Difference]:
    """Each contour against the image that it names. Slices are as far apart as those of the grid.

    An image that contours on several planes name (OHIF: one for all) tells the place of none.
    """
    named: dict[Named, list[Points]] = {}
    for each in contours:
        if each.source is not None:
            named.setdefault(each.source, []).append(each.points)
    differences = []
    for source, several in named.items():
        image = lookup(places, source)
        if image is None or np.ptp([float((p.mean(axis=0)) @ image.normal) for p in several]) > FLAT_MM:
            continue
        differences += [compare_contour(points, image, grid.spacing_xyz_mm[2]) for points in several]
    return differences


def _planes(contours: list[Points], grid: Geometry, where: str) -> Iterator[tuple[Bools, Geometry]]:
    """One filled plane for every depth at which contours lie.

    Contours parallel to the slices are filled on the image's own rows and columns; others on finer pixels of a
    plane of their own.
    """
    left = contours
    while left:
        base = _parallel(grid, left[0]) or _own_plane(grid, left[0], where)
        to_index = np.linalg.inv(base.affine)
        placed = [c @ to_index[:3, :3].T + to_index[:3, 3] for c in left]
        flat = [np.ptp(c[:, 2]) * base.spacing_xyz_mm[2] <= FLAT_MM for c in placed]
        yield from _filled([c for c, f in zip(placed, flat, strict=True) if f], base)
        left = [c for c, f in zip(left, flat, strict=True) if not f]


def _parallel(grid: Geometry, contour: Points) -> Geometry | None:
    normal = np.asarray(grid.direction).reshape(3, 3)[:, 2]
    return grid if np.ptp(contour @ normal) <= FLAT_MM else None


def _own_plane(grid: Geometry, contour: Points, where: str) -> Geometry:
    """A grid of half-size pixels in the contour's plane, with its origin at the contour's middle."""
    middle = contour.mean(axis=0)
    axes = np.linalg.svd(contour - middle, full_matrices=True)[2]
    across, normal = axes[0], axes[2]
    if np.ptp(contour @ normal) > FLAT_MM:
        raise RoiRejected(f"{where}: a contour is not flat (it leaves its plane by {np.ptp(contour @ normal):.2f} mm)")
    direction = np.column_stack([across, np.cross(normal, across), normal])
    least = min(grid.spacing_xyz_mm)
    origin = (float(middle[0]), float(middle[1]), float(middle[2]))
    return Geometry((1, 1, 1), (least / 2, least / 2, least), origin, tuple(float(v) for v in direction.ravel()))


def _filled(contours: list[Points], base: Geometry) -> Iterator[tuple[Bools, Geometry]]:
    """The contours (in continuous x, y, z index of `base`) filled plane by plane, with the plane's place."""
    depths = np.array([float(c[:, 2].mean()) for c in contours])
    order = np.argsort(depths)
    groups = np.split(order, np.flatnonzero(np.diff(depths[order]) > SAME_DEPTH) + 1)
    planes = [float(depths[g].mean()) for g in groups]
    step = min(np.diff(planes), default=1.0)
    for depth, group in zip(planes, groups, strict=True):
        inside = [contours[i][:, :2] for i in group]
        low = np.floor(np.min([c.min(axis=0) for c in inside], axis=0)).astype(int)
        high = np.ceil(np.max([c.max(axis=0) for c in inside], axis=0)).astype(int)
        pixels = filled([c - low for c in inside], (int(high[1] - low[1]) + 1, int(high[0] - low[0]) + 1))
        corner = base.affine @ np.array([low[0], low[1], depth, 1.0])
        x, y, z = base.spacing_xyz_mm
        origin = (float(corner[0]), float(corner[1]), float(corner[2]))
        yield pixels, Geometry((1, *pixels.shape), (x, y, z * float(step)), origin, base.direction)
