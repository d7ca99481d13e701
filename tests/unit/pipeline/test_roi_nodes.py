"""Lymph nodes are told apart, keep their numbers on every grid, and are measured as a reader measures them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.align.resample import nearest, numbers_on
from pipeline.geometry import Geometry
from pipeline.records import InstanceRef, Mask, Segment
from pipeline.result import RoiSummary
from pipeline.roi.nodes import axes_mm, nodes_of
from tests.support.slices import grid

SHAPE = (8, 40, 40)
SOURCE = InstanceRef("1", "2", "3", "4")


def box(z: slice, y: slice, x: slice) -> np.ndarray:
    voxels = np.zeros(SHAPE, bool)
    voxels[z, y, x] = True
    return voxels


def segment(number: int, label: str, voxels: np.ndarray, geometry: Geometry | None = None) -> Segment:
    return Segment(SOURCE, number, label, Mask(voxels, geometry or grid(SHAPE, (1.0, 1.0, 3.0))))


def told(*segments: Segment) -> list[tuple[int, int, float]]:
    union = np.logical_or.reduce([s.mask.voxels_zyx for s in segments])
    nodes, _ = nodes_of(segments, Mask(union, segments[0].mask.geometry))
    return [(n.number, n.segment, n.volume_mm3) for n in nodes]


A = box(np.s_[1:3], np.s_[2:5], np.s_[2:5])
B = box(np.s_[4:6], np.s_[20:24], np.s_[20:23])


def test_each_segment_is_a_node_with_the_number_in_its_label() -> None:
    assert told(segment(2, "Node 3", A), segment(3, "Node 1", B)) == [(1, 3, 72.0), (3, 2, 54.0)]


@pytest.mark.parametrize(
    "labels", [("Node", "Node"), ("Node 1", "Node 1"), ("T2 node 1", "T2 node 2"), ("Node 1", "Node")]
)
def test_without_a_number_of_its_own_in_each_label_the_order_of_segments_counts(labels: tuple[str, str]) -> None:
    assert told(segment(2, labels[0], A), segment(3, labels[1], B)) == [(1, 2, 54.0), (2, 3, 72.0)]


def test_connected_parts_of_one_segment_are_nodes_and_small_parts_count_with_the_largest() -> None:
    speck = box(np.s_[7:8], np.s_[38:39], np.s_[38:40])
    assert told(segment(5, "Nodes 1", A | B | speck)) == [(1, 5, 78.0), (2, 5, 54.0)]


def test_parts_that_touch_at_a_corner_are_one_node() -> None:
    corner = box(np.s_[3:5], np.s_[5:8], np.s_[5:8])
    assert told(segment(2, "LN", A | corner)) == [(1, 2, 108.0)]


@given(st.integers(1, 12), st.integers(1, 12), st.floats(0.4, 3.0), st.floats(0.4, 3.0))
def test_a_row_of_voxels_measures_its_sides(length: int, z: int, x_mm: float, y_mm: float) -> None:
    row = box(np.s_[2:3], np.s_[7:8], np.s_[3 : 3 + length])
    found = axes_mm(row, grid(SHAPE, (x_mm, y_mm, 2.0)))
    if length > 1 or x_mm >= y_mm:
        assert found == pytest.approx((length * x_mm, y_mm))
    else:
        assert found == pytest.approx((y_mm, x_mm))


@given(st.floats(0, math.pi), st.floats(5, 12), st.floats(0.4, 1.0))
def test_an_ellipse_measures_its_axes_within_a_voxel(turn: float, long: float, ratio: float) -> None:
    y, x = np.mgrid[:40, :40] - 19.6
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    voxels = np.zeros(SHAPE, bool)
    voxels[3] = (along / long) ** 2 + (across / (ratio * long)) ** 2 <= 1
    voxels[4, 19:22, 19:22] = True
    found = axes_mm(voxels, grid(SHAPE, (1.0, 1.0, 3.0)))
    assert found[0] == pytest.approx(2 * long, abs=1.5)
    assert found[1] == pytest.approx(2 * ratio * long, abs=1.5)
    assert found[0] >= found[1] - 1.0


def test_the_short_axis_lies_within_the_node() -> None:
    """A horseshoe is as wide as its rim, not as its opening."""
    shape = box(np.s_[2:3], np.s_[10:30], np.s_[10:16])
    shape[2, 14:26, 12:16] = False
    assert axes_mm(shape, grid(SHAPE, (1.0, 1.0, 3.0)))[1] < 6.5


def test_a_node_keeps_its_number_on_another_grid() -> None:
    geometry = grid(SHAPE, (1.0, 1.0, 3.0))
    union = Mask(A | B, geometry)
    _, numbers = nodes_of([segment(2, "Node 7", A), segment(3, "Node 4", B)], union)
    target = replace(geometry, shape_zyx=(12, 27, 27), spacing_xyz_mm=(1.5, 1.5, 2.0))
    original = replace(union, numbers_zyx=numbers)
    carried = Mask(nearest(union.voxels_zyx, geometry, target), target)
    found = numbers_on(carried, original, np.eye(4))
    inside = carried.box_zyx
    assert np.array_equal(found == 7, nearest(A, geometry, target)[inside])
    assert np.array_equal(found == 4, nearest(B, geometry, target)[inside])


def test_a_result_written_before_nodes_were_measured_is_read() -> None:
    old = {"source_uid": "1", "segments": [2], "voxels": {}, "volume_mm3": 3.0, "nodes": 3}
    found = RoiSummary.model_validate(old)
    assert (found.count, found.nodes) == (3, ())
