"""Polygons to pixels: a pixel is in if its centre lies inside an odd number of polygons, or on one of them.

Writers differ in where a contour runs. Some follow the edges of pixels or lie between centres; others (OHIF, rt-utils)
run through the centres of the outermost pixels, which are part of the region, and through those around a hole. A
centre on a contour therefore is in. The written decimals put such a contour a little beside the centres: a
contour whose every point lies within NEAR_CENTRE of a centre is meant to run through centres, and is moved there. Any
other contour is taken as it is written, so an ordinary one does not grow.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from pipeline.align.resample import Bools

Points = npt.NDArray[np.float64]
# In pixels. Two decimals of a millimetre are a fiftieth of a pixel of a quarter of a millimetre.
NEAR_CENTRE = 0.025
# In pixels: what is left of the arithmetic between the written millimetres and pixels.
ON_LINE = 1e-6


def filled(contours_xy: Iterable[Points], shape: tuple[int, int]) -> Bools:
    """Pixels (rows, columns) whose centres an odd number of the polygons enclose, or that lie on one.

    Points are (column, row). An even number encloses the inside of a hole, whose contour itself is not part of it.
    """
    # Wraps at 256, which leaves odd and even as they are.
    crossings = np.zeros((shape[0], shape[1] + 1), np.uint8)
    on = np.zeros(shape, bool)
    for points in contours_xy:
        centred = np.round(points)
        start = centred if np.abs(points - centred).max() <= NEAR_CENTRE else points
        end = np.roll(start, -1, axis=0)
        _cross(crossings, start, end)
        _touch(on, start, end)
        _touch(on.T, start[:, ::-1], end[:, ::-1])
    odd = (crossings % 2).astype(bool)
    return np.asarray(np.logical_xor.accumulate(odd, axis=1)[:, :-1] | on, bool)


def _cross(crossings: npt.NDArray[np.uint8], start: Points, end: Points) -> None:
    """Count the edges that cross each row (rows x (columns + 1)) just before each column."""
    low = np.ceil(np.minimum(start[:, 1], end[:, 1]))
    high = np.ceil(np.maximum(start[:, 1], end[:, 1])) - 1
    edges, rows = _rows(low, high, crossings.shape[0])
    columns = np.clip(np.ceil(_at(start, end, edges, rows)), 0, crossings.shape[1] - 1).astype(np.int64)
    np.add.at(crossings, (rows, columns), 1)


def _touch(on: Bools, start: Points, end: Points) -> None:
    """Mark the pixels whose centres lie on edges that are at least as tall as wide."""
    across, down = np.abs(end - start).T
    tall = (down >= across) & (down > 0)
    start, end = start[tall], end[tall]
    low = np.ceil(np.minimum(start[:, 1], end[:, 1]) - ON_LINE)
    high = np.floor(np.maximum(start[:, 1], end[:, 1]) + ON_LINE)
    edges, rows = _rows(low, high, on.shape[0])
    crossing = _at(start, end, edges, rows)
    columns = np.round(crossing)
    hit = (np.abs(crossing - columns) <= ON_LINE) & (columns >= 0) & (columns < on.shape[1])
    on[rows[hit], columns[hit].astype(np.int64)] = True


def _rows(low: Points, high: Points, count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Every whole row from `low` to `high` of each edge, within the image, with the number of its edge."""
    first = np.clip(low, 0, count).astype(np.int64)
    lengths = np.maximum(np.clip(high, -1, count - 1).astype(np.int64) - first + 1, 0)
    edges = np.repeat(np.arange(len(low)), lengths)
    before = np.cumsum(lengths) - lengths
    return edges, np.arange(len(edges)) - before[edges] + first[edges]


def _at(start: Points, end: Points, edges: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> Points:
    """Where an edge crosses a row, as a column."""
    (x0, y0), (x1, y1) = start[edges].T, end[edges].T
    return np.asarray(x0 + (rows - y0) * (x1 - x0) / (y1 - y0), np.float64)
