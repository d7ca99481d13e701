"""A segmentation's frames, or a structure set's contours, against the images that they name as their source.

The plane position of a frame places it (PS3.3 C.8.20); what the frame names as its source only tells whether the two
agree. They can be compared where a frame names exactly one image, or one frame of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.catalog import Bring, InstanceFacts, all_here
from pipeline.errors import ExamRejected
from pipeline.geometry import Geometry
from pipeline.records import Contradiction
from pipeline.volumes.frames import Frame, read_frames

# SOP Instance UID and frame number (1-based; None for a single-frame image).
Named = tuple[str, int | None]
SPACING_TOLERANCE = 1e-3
TILT_TOLERANCE = 1e-2  # of the normals, radians


@dataclass(frozen=True, slots=True)
class Difference:
    """One frame against its source. `off_slices`: distance in slices; `spacing`: the share by which pixels differ."""

    off_mm: float
    off_slices: float
    spacing: float
    tilt: float
    size: bool


def source_frames(
    images: Iterable[InstanceFacts], named: Iterable[Named], bring: Bring = all_here
) -> dict[Named, Frame]:
    """The planes of the images named, from their headers. An image that has no readable plane is left out."""
    uids = {uid for uid, _ in named}
    frames_named: dict[Named, Frame] = {}
    sources = [image for image in images if image.ref.sop_instance_uid in uids]
    bring(sources)
    for path in (image.path for image in sources if image.path is not None):
        try:
            frames_named |= by_name(read_frames(path))
        except ExamRejected:
            continue
    return frames_named


def by_name(frames: Iterable[Frame]) -> dict[Named, Frame]:
    return {(f.source.ref.sop_instance_uid, f.source.frame): f for f in frames}


def lookup(places: Mapping[Named, Frame], named: Named | None) -> Frame | None:
    """The plane that a reference means. A single-frame image may be called its own frame 1."""
    if named is None:
        return None
    uid, number = named
    return places.get(named) or (places.get((uid, None)) if number in (None, 1) else None)


def compare(plane: Geometry, image: Frame, slices_mm: float | None = None) -> Difference:
    """The frame of a segmentation, whose z spacing is its distance from the next, and the image that it names.

    `slices_mm`: the distance between the images, where it is known; that between frames shrinks with one astray.
    """
    axes = np.asarray(plane.direction).reshape(3, 3)
    rows, columns = plane.shape_zyx[1:]
    size = (rows, columns) != (image.rows, image.columns)
    x, y, step = plane.spacing_xyz_mm
    shares = (x / image.spacing_xy_mm[0] - 1, y / image.spacing_xy_mm[1] - 1)
    spacing = 0.0 if size else max(shares, key=abs)
    tilt = float(np.arccos(min(1.0, abs(float(axes[:, 2] @ image.normal)))))
    # Planes turned within their plane, or of another size, have their first pixel elsewhere.
    apart = np.array(plane.origin_xyz_mm) - image.position
    if not size and abs(spacing) <= SPACING_TOLERANCE:
        apart += axes[:, :2] @ (np.array([x, y]) * (columns - 1, rows - 1)) / 2
        wide, tall = np.array(image.spacing_xy_mm) * (image.columns - 1, image.rows - 1) / 2
        apart -= image.across * wide + image.down * tall
        off = float(np.linalg.norm(apart))
    else:
        off = abs(float(apart @ image.normal))
    return Difference(off, off / (slices_mm or step), spacing, tilt, size)


def compare_size(plane: Geometry, grid: Geometry) -> Difference | None:
    """The pixels of a frame that names no single image, and those of the slices that its object names.

    None where they have other rows, columns or axes, so that it was not drawn on them pixel by pixel.
    """
    apart = np.abs(np.array(plane.direction) - grid.direction).max()
    if plane.shape_zyx[1:] != grid.shape_zyx[1:] or apart > TILT_TOLERANCE:
        return None
    shares = [a / b - 1 for a, b in zip(plane.spacing_xyz_mm[:2], grid.spacing_xyz_mm[:2], strict=True)]
    return Difference(0.0, 0.0, max(shares, key=abs), 0.0, False)


def compare_contour(points: npt.NDArray[np.float64], image: Frame, step: float) -> Difference:
    """A contour (n x 3, LPS mm) and the plane of the image that it names; `step` is the distance between slices."""
    off = float(np.abs((points - image.position) @ image.normal).max())
    return Difference(off, round(off / step, 6), 0.0, 0.0, False)


def contradictions(differences: Sequence[Difference], count: int, noun: str = "frames") -> tuple[Contradiction, ...]:
    """What is to be told of one segment, of which `count` frames hold something. Kind by kind, the worst of each."""
    contradictory = []
    astray = [d for d in differences if d.off_slices > 0.5]
    if astray:
        off, slices = max(d.off_mm for d in astray), max(d.off_slices for d in astray)
        contradictory.append(
            Contradiction(
                "position",
                round(off, 3),
                "half a slice",
                f"{len(astray)} of {count} {noun} lie up to {off:.2f} mm ({slices:.1f} slices) from the images "
                "that they name as their source",
                stops=True,
            )
        )
    spacing = max((d.spacing for d in differences), key=abs, default=0.0)
    if abs(spacing) > SPACING_TOLERANCE:
        contradictory.append(
            Contradiction(
                "pixel_spacing",
                f"{spacing:+.2%}",
                f"{SPACING_TOLERANCE:.1%}",
                f"its pixels are {abs(spacing):.2%} {'larger' if spacing > 0 else 'smaller'} than those of the images "
                f"that it names, which alters volumes by {(1 + spacing) ** 2 - 1:+.1%} and moves the far edge",
            )
        )
    tilt = max((d.tilt for d in differences), default=0.0)
    if tilt > TILT_TOLERANCE:
        degrees = float(np.degrees(tilt))
        text = f"its planes are turned by {degrees:.1f} degrees against the images that it names"
        contradictory.append(
            Contradiction("orientation", round(degrees, 2), round(float(np.degrees(TILT_TOLERANCE)), 2), text)
        )
    if any(d.size for d in differences):
        others = sum(d.size for d in differences)
        text = f"{others} of {count} {noun} have other rows or columns than the images that they name"
        contradictory.append(Contradiction("size", others, 0, text, harmless=True))
    return tuple(contradictory)
