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

import numpy as np
from pydicom import Dataset

from pipeline.align.resample import Bools
from pipeline.errors import RoiRejected
from pipeline.geometry import Geometry
from pipeline.roi.canvas import Canvas
from pipeline.roi.outline import Points, filled
from pipeline.values import BadValue, numbers, whole_number

CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
FLAT_MM = 0.1
SAME_DEPTH = 0.05  # of the distance between slices
# Narrower than this, a contour is a line. Longer than the other, it is no part of a patient.
LINE_MM = 1e-4
LONGEST_MM = 2000.0
NO_AREA = "fewer than three points, or all on one line, enclose nothing"


@dataclass(frozen=True, slots=True, eq=False)
class Structures:
    """Closed contours by ROI number, each n x 3 points in LPS mm; `skipped` counts those left out, by reason.

    `commas`: contours whose numbers are written with a decimal comma.
    """

    path: Path
    uid: str
    frame_of_reference_uid: str | None
    contours: Mapping[int, tuple[Points, ...]]
    skipped: Mapping[int, Mapping[str, int]]
    sources: frozenset[str]
    commas: Mapping[int, int]


def open_structures(ds: Dataset, path: Path) -> Structures:
    """Raises RoiRejected if contours lie in several frames of reference."""
    uid = str(ds.SOPInstanceUID)
    frames = {str(s.get("ReferencedFrameOfReferenceUID") or "") for s in ds.get("StructureSetROISequence") or []} - {""}
    if len(frames) > 1:
        raise RoiRejected(f"structure set {uid} lies in {len(frames)} frames of reference at once", uid=uid)
    contours: dict[int, list[Points]] = {}
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
                mine.append(points)
        sources |= _images(items)
    for frame in ds.get("ReferencedFrameOfReferenceSequence") or []:
        for study in frame.get("RTReferencedStudySequence") or []:
            sources |= _images(study.get("RTReferencedSeriesSequence") or [])
    own = ds.get("FrameOfReferenceUID")
    space = next(iter(frames)) if frames else (str(own) if own else None)
    kept = {number: tuple(found) for number, found in contours.items()}
    return Structures(path, uid, space, kept, skipped, frozenset(sources), commas)


def _images(items: Iterable[Dataset]) -> set[str]:
    """SOP Instance UIDs of the images that contours or series name."""
    named = [i for each in items for i in each.get("ContourImageSequence") or []]
    return {str(i.ReferencedSOPInstanceUID) for i in named if "ReferencedSOPInstanceUID" in i}


def _points(contour: Dataset) -> tuple[Points | None, str, bool]:
    """The corners of a closed contour, each once; or None and why it is left out. And whether it has decimal commas."""
    if str(contour.get("ContourGeometricType", "")).strip() not in CLOSED:
        return None, "points and open lines enclose nothing", False
    try:
        found = numbers(contour, "ContourData")
    except BadValue as error:
        return None, f"its coordinates are no numbers ({error.kind})", False
    if found is None:
        return None, "no points", False
    if len(found.values) % 3:
        return None, "coordinates that do not come in threes", found.comma
    points = np.array(found.values).reshape(-1, 3)
    points = points[np.any(points != np.roll(points, 1, axis=0), axis=1)]
    if len(points) < 3 or np.linalg.svd(points - points.mean(axis=0), compute_uv=False)[1] < LINE_MM:
        return None, NO_AREA, found.comma
    if np.ptp(points, axis=0).max() > LONGEST_MM:
        return None, f"longer than {LONGEST_MM / 1000:g} m", found.comma
    return points, "", found.comma


def draw_structures(structures: Structures, grid: Geometry, numbers: Iterable[int]) -> dict[int, Canvas]:
    """Masks on `grid` by ROI number. Raises RoiRejected where a contour is not flat."""
    canvases = {}
    for number in numbers:
        canvas = Canvas.on(grid)
        for why, count in structures.skipped.get(number, {}).items():
            canvas.notes.append(f"contours left out: {count} ({why})")
        if structures.commas.get(number):
            canvas.notes.append(f"contours written with a decimal comma: {structures.commas[number]}")
        once = {c.tobytes(): c for c in structures.contours.get(number, ())}
        where = f"structure set {structures.uid}, ROI {number}"
        for pixels, plane in _planes(list(once.values()), grid, where):
            canvas.add(pixels, plane)
        canvases[number] = canvas
    return canvases


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
