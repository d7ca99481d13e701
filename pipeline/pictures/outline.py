"""Outlines of pixel masks along pixel edges: exactly the pixels of the mask, nothing smoothed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def outlines(mask_yx: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.float64], ...]:
    """Closed polygons around `mask_yx`: (n, 2) corners x, y; the first point is repeated as the last.

    Corners are pixel corners: pixel (row 0, column 0) spans 0..1 in both directions. The mask lies to the right of the
    direction of travel (clockwise on the screen), so holes run the other way. Pixels that touch only at a corner
    belong to different polygons. Largest polygon first.
    """
    onward = _edges(mask_yx)
    polygons = []
    while onward:
        start = min(onward)
        polygons.append(_walk(onward, start))
    polygons.sort(key=lambda p: (-abs(area(p)), p[0].tolist()))
    return tuple(polygons)


def area(points_xy: npt.NDArray[np.float64]) -> float:
    """Signed area in pixels (shoelace formula): positive for outer borders, negative for holes."""
    x, y = points_xy[:, 0], points_xy[:, 1]
    return float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) / 2)


Corner = tuple[int, int]


def _edges(mask_yx: npt.NDArray[np.bool_]) -> dict[Corner, list[Corner]]:
    """Directed unit edges between mask and background, by the corner (x, y) that they start from."""
    padded = np.pad(mask_yx, 1)
    inside = padded[1:-1, 1:-1]
    onward: dict[Corner, list[Corner]] = {}
    # (neighbour, start of the edge, end of the edge) relative to the pixel's top left corner
    sides = (
        (padded[:-2, 1:-1], (0, 0), (1, 0)),
        (padded[1:-1, 2:], (1, 0), (1, 1)),
        (padded[2:, 1:-1], (1, 1), (0, 1)),
        (padded[1:-1, :-2], (0, 1), (0, 0)),
    )
    for neighbour, (sx, sy), (ex, ey) in sides:
        for y, x in np.argwhere(inside & ~neighbour).tolist():
            onward.setdefault((x + sx, y + sy), []).append((x + ex, y + ey))
    return onward


def _walk(onward: dict[Corner, list[Corner]], start: Corner) -> npt.NDArray[np.float64]:
    """Follow edges from `start` until it closes, taking them out of `onward`; corners on straight lines are dropped."""
    points = [start]
    step = (0, 0)
    here = start
    while True:
        choices = onward[here]
        # Where two pixels touch at a corner, turn right: it keeps to the same pixel.
        right = (here[0] - step[1], here[1] + step[0])
        following = right if right in choices else choices[0]
        choices.remove(following)
        if not choices:
            del onward[here]
        new_step = (following[0] - here[0], following[1] - here[1])
        if new_step == step:
            points[-1] = following
        else:
            points.append(following)
        step, here = new_step, following
        if here == start:
            break
    return np.asarray(points, dtype=np.float64)
