from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.path import Path as Polygon

from pipeline.pictures.outline import area, outlines

masks = arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9)))


@given(masks)
@settings(deadline=None)
def test_outlines_enclose_exactly_the_pixels_of_the_mask(mask: np.ndarray) -> None:
    found = outlines(mask)
    assert sum(area(p) for p in found) == np.count_nonzero(mask)
    rows, columns = np.indices(mask.shape)
    centres = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], axis=1)
    winding = np.zeros(len(centres), dtype=int)
    for points in found:
        winding += np.sign(area(points)).astype(int) * Polygon(points).contains_points(centres)
    assert np.array_equal(winding.reshape(mask.shape) == 1, mask)


@given(masks)
@settings(deadline=None)
def test_outlines_are_closed_and_have_only_corners(mask: np.ndarray) -> None:
    for points in outlines(mask):
        assert np.array_equal(points[0], points[-1])
        steps = np.sign(np.diff(points, axis=0))
        assert not np.any(np.all(steps[1:] == steps[:-1], axis=1))


def test_one_pixel_has_its_four_corners() -> None:
    mask = np.zeros((3, 4), dtype=bool)
    mask[1, 2] = True
    (points,) = outlines(mask)
    assert points.tolist() == [[2, 1], [3, 1], [3, 2], [2, 2], [2, 1]]


def test_pixels_that_touch_at_a_corner_have_outlines_of_their_own() -> None:
    assert [area(p) for p in outlines(np.eye(3, dtype=bool))] == [1, 1, 1]


def test_a_hole_runs_the_other_way() -> None:
    mask = np.ones((3, 3), dtype=bool)
    mask[1, 1] = False
    assert [area(p) for p in outlines(mask)] == [9, -1]
