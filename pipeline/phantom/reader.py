"""The axes that a reader would measure on a region, with the unsteadiness of a hand."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.geometry import Geometry
from pipeline.proposal.records import Axes, Point

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
# Directions of the long axis in which the short one is looked for, lines a quarter of a voxel apart.
_STEP = 0.25


def measured_axes(mask_zyx: Bools, geometry: Geometry, jitter_mm: float, rng: np.random.Generator) -> Axes:
    """Long axis in the slice where it is longest, and the longest line across it in the region.

    Each end is moved within its slice, by 0 to `jitter_mm` evenly, in any direction.
    """
    slices = np.flatnonzero(mask_zyx.any(axis=(1, 2)))
    best = max((_longest(mask_zyx[k], geometry, int(k)) for k in slices), key=lambda line: line[0])
    _, k, long = best
    ends = np.concatenate([long, _across(mask_zyx[k], geometry, long)])
    angle, size = rng.uniform(0, 2 * np.pi, 4), jitter_mm * rng.uniform(0, 1, 4)
    ends = ends + np.stack([size * np.cos(angle), size * np.sin(angle)], axis=1)
    points = [_point(end, k, geometry) for end in ends]
    return Axes((points[0], points[1]), (points[2], points[3]))


def _longest(slice_yx: Bools, geometry: Geometry, k: int) -> tuple[float, int, Floats]:
    """Length and ends (x, y mm in the slice) of the longest line between the outer edges of two voxels."""
    rows = np.flatnonzero(slice_yx.any(axis=1))
    first = slice_yx[rows].argmax(axis=1)
    last = slice_yx.shape[1] - 1 - slice_yx[rows, ::-1].argmax(axis=1)
    spacing = np.array(geometry.spacing_xyz_mm[:2])
    edges = [
        np.stack([side, rows + down], axis=1) * spacing for side in (first - 0.5, last + 0.5) for down in (-0.5, 0.5)
    ]
    points = np.concatenate(edges)
    squared = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    one, other = np.unravel_index(int(squared.argmax()), squared.shape)
    return float(squared[one, other]), k, points[[one, other]]


def _across(slice_yx: Bools, geometry: Geometry, long: Floats) -> Floats:
    """Ends of the longest line at right angles to `long` from the first to the last voxel of the region on it."""
    spacing = np.array(geometry.spacing_xyz_mm[:2])
    direction = (long[1] - long[0]) / np.linalg.norm(long[1] - long[0])
    normal = np.array([-direction[1], direction[0]])
    rows, columns = np.nonzero(slice_yx)
    centres = np.stack([columns, rows], axis=1) * spacing - long[0]
    along, aside = centres @ direction, centres @ normal
    half = float(spacing.min()) / 2
    best = (-1.0, 0.0, 0.0, 0.0)
    for place in np.arange(along.min(), along.max() + _STEP, _STEP):
        near = aside[np.abs(along - place) <= half]
        if near.size:
            low, high = float(near.min()) - half, float(near.max()) + half
            best = max(best, (high - low, float(place), low, high))
    return np.stack([long[0] + direction * best[1] + normal * end for end in best[2:]])


def _point(end_xy: Floats, k: int, geometry: Geometry) -> Point:
    index = np.array([*(end_xy / np.array(geometry.spacing_xyz_mm[:2])), k, 1.0])
    x, y, z, _ = geometry.affine @ index
    return float(x), float(y), float(z)
