"""Pixels of polygons: those on the line are in, and no others that lie outside."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from pipeline.roi import draw_on, open_object
from pipeline.roi.polygon_fill import NEAR_CENTRE, ON_LINE, filled
from tests.support.slices import grid, write_structures

SHAPE = (14, 15)
# Every pixel is part of a block of 2 x 2: a single pixel or a line has no contour that encloses anything.
masks = arrays(bool, (12, 13)).map(lambda a: ndimage.binary_dilation(np.pad(a, 1), np.ones((2, 2))))


def traced(mask: np.ndarray) -> list[np.ndarray]:
    """Contours (column, row) through the centres of the pixels along every border, those of holes too.

    The border is walked on the edges of pixels with the region to the right; each edge stands for its inner pixel.
    """
    padded = np.pad(mask, 1)
    edges: dict[tuple[int, int], list[tuple[tuple[int, int], tuple[int, int]]]] = {}
    for row, column in np.argwhere(padded):
        square = [(column, row), (column + 1, row), (column + 1, row + 1), (column, row + 1)]
        for (dx, dy), a, b in zip([(0, -1), (1, 0), (0, 1), (-1, 0)], square, square[1:] + square[:1], strict=True):
            if not padded[row + dy, column + dx]:
                edges.setdefault(a, []).append((b, (column - 1, row - 1)))
    contours = []
    while edges:
        at = next(iter(edges))
        points: list[tuple[int, int]] = []
        while at in edges:
            # where two borders meet at a corner: stay with the same pixel
            ways = edges[at]
            way = next((w for w in ways if points and w[1] == points[-1]), ways[0])
            ways.remove(way)
            if not ways:
                del edges[at]
            at = way[0]
            if not points or points[-1] != way[1]:
                points.append(way[1])
        contours.append(np.array(points, float))
    return contours


@settings(max_examples=200, deadline=None)
@given(mask=masks, noise=st.floats(0, 1), seed=st.integers(0, 99))
def test_contours_through_voxel_centres_give_their_mask_back(mask, noise, seed) -> None:
    """With holes, necks one pixel wide and touching corners; also where the decimals written are few."""
    shift = np.random.default_rng(seed)
    contours = [c + noise * shift.uniform(-1, 1, c.shape) * NEAR_CENTRE * 0.9 for c in traced(mask)]
    assert np.array_equal(filled(contours, mask.shape), mask)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.3516, 0.3516), (0.77, 1.31)])
def test_a_mask_comes_back_from_a_file_with_two_decimals(tmp_path: Path, spacing: tuple[float, float]) -> None:
    y, x = np.mgrid[:60, :60]
    ring = np.hypot(x - 30, y - 30)
    mask = (ring < 20) & ~(ring < 9) | (ring < 4)
    image = grid((3, 60, 60), (*spacing, 2.0), (-101.337, 52.771, 3.0))
    x_mm, y_mm = spacing
    contours = [
        np.round(np.column_stack([c * (x_mm, y_mm) + (-101.337, 52.771), np.full(len(c), 5.0)]), 2)
        for c in traced(mask)
    ]
    path = write_structures(tmp_path / "r.dcm", {1: contours}, {1: "Tumor"})
    canvas = draw_on(open_object(path), image, [1], 0.5)[1]
    assert np.array_equal(canvas.voxels_zyx[1], mask)
    assert canvas.voxels_zyx.sum() == mask.sum()


corners = st.tuples(st.floats(-2, 16), st.floats(-2, 16)) | st.tuples(st.integers(-2, 16), st.integers(-2, 16))


@settings(max_examples=300, deadline=None)
@given(polygon=st.lists(corners, min_size=3, max_size=9), halves=st.booleans())
def test_a_polygon_holds_the_centres_inside_it_and_on_it_and_no_others(polygon, halves) -> None:
    """Against exact arithmetic. Ordinary contours do not grow by what voxel-centre contours need."""
    points = np.array(polygon, float)
    if halves:
        points = np.round(points * 2) / 2
    apart = np.abs(points - np.round(points)).max()
    assume((apart == 0 or apart > NEAR_CENTRE) and np.ptp(points, axis=0).any())
    mask = filled([points], SHAPE)
    for row, column in np.ndindex(*SHAPE):
        inside, distance = judged(points, row, column)
        # within the arithmetic of an edge, but not on it: either
        if distance == 0 or distance > 2 * ON_LINE:
            assert mask[row, column] == inside


def judged(points: np.ndarray, row: int, column: int) -> tuple[bool, float]:
    """Whether the centre is inside by the even-odd rule or on an edge, and how far it is from the nearest edge."""
    exact = [(Fraction(x), Fraction(y)) for x, y in points]
    odd, on, nearest = False, False, np.inf
    for (x0, y0), (x1, y1) in zip(exact, exact[1:] + exact[:1], strict=True):
        wide, tall = x1 - x0, y1 - y0
        length = wide * wide + tall * tall
        along = min(max(((column - x0) * wide + (row - y0) * tall) / length, 0), 1) if length else 0
        off = (x0 + along * wide - column, y0 + along * tall - row)
        on |= off == (0, 0)
        nearest = min(nearest, float(np.hypot(float(off[0]), float(off[1]))))
        if (y0 > row) != (y1 > row) and column < x0 + (row - y0) * wide / tall:
            odd = not odd
    return odd or on, 0.0 if on else nearest


def test_an_ordinary_contour_does_not_grow() -> None:
    """Two thousand random ellipses hold as many pixels as their areas say, to a thousandth."""
    chance = np.random.default_rng(5)
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    pixels = area = 0.0
    for _ in range(2000):
        x0, y0, a, b = chance.uniform((20, 20, 2, 2), (30, 30, 18, 18))
        points = np.column_stack([x0 + a * np.cos(angle), y0 + b * np.sin(angle)])
        pixels += filled([points], (50, 50)).sum()
        area += 30 * np.sin(2 * np.pi / 60) * a * b
    assert pixels == pytest.approx(area, rel=1e-3)


def test_neighbouring_regions_share_the_centres_on_their_common_line() -> None:
    one = np.array([[2.0, 2.0], [5.0, 2.0], [5.0, 8.0], [2.0, 8.0]])
    two = np.array([[5.0, 2.0], [9.0, 2.0], [9.0, 8.0], [5.0, 8.0]])
    a, b = filled([one], (12, 12)), filled([two[::-1]], (12, 12))
    assert (a.sum(), b.sum(), (a & b).sum()) == (28, 35, 7)


def test_a_polygon_far_outside_costs_nothing_and_holds_nothing() -> None:
    square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]) * 1e12 + 1e9
    assert not filled([square], (5, 5)).any()
    assert filled([(square - 1.5e11)], (5, 5)).all()
