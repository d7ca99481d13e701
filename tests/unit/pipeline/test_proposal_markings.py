"""Which markings are axes of a lesion on these images, and where their ellipsoid lies."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputRejected
from pipeline.geometry import Geometry
from pipeline.proposal.frame import frame_of
from pipeline.proposal.records import Axes, Marking, Outline, Point
from pipeline.proposal.region import propose
from pipeline.records import Volume

TURNED = (math.cos(0.3), -math.sin(0.3), 0.0, math.sin(0.3), math.cos(0.3), 0.0, 0.0, 0.0, 1.0)
GRID = Geometry((30, 60, 60), (1.0, 1.0, 2.0), (-30.0, -20.0, 5.0), TURNED)


def at(i: float, j: float, k: float) -> Point:
    """The patient's point of a place on the grid."""
    x, y, z, _ = GRID.affine @ (i, j, k, 1)
    return float(x), float(y), float(z)


GOOD = Axes((at(20, 30, 15), at(40, 30, 15)), (at(30, 24, 15), at(30, 36, 15)))


def volume() -> Volume:
    return Volume(np.zeros(GRID.shape_zyx, np.float32), GRID, "1.2.3")


@pytest.mark.parametrize(
    ("marking", "says"),
    [
        (Axes((at(20, 30, 15), at(75, 30, 15))), "outside the images"),
        (Axes((at(20, 30, 15), at(20, 30, 15))), "long axis has length 0"),
        (Axes(GOOD.long, (at(30, 30, 15), at(30, 30, 15))), "short axis has length 0"),
        (Axes((at(20, 30, 15), at(20.5, 30, 15))), "too short"),
        (Axes(GOOD.long, (at(30, 24, 17), at(30, 36, 17))), "different slices, 4.0 mm"),
        (Axes(GOOD.long, (at(50, 24, 15), at(50, 36, 15))), "do not cross"),
        (Axes(GOOD.long, (at(24, 29, 15), at(36, 31, 15))), "along the long one"),
        (Axes((at(20, 30, 15), (float("nan"), 0.0, 0.0))), "not a number"),
        (Axes(((30.0, 200.0, 15.0), (50.0, 200.0, 15.0))), "outside the images"),
        (Outline((at(20, 30, 15), at(40, 30, 15))), "at least three points"),
        (Outline((at(20, 30, 15), at(40, 30, 15), at(30, 40, 15), at(30, 20, 19))), "one plane"),
    ],
)
def test_a_marking_that_measures_no_lesion_on_these_images_is_refused_with_the_reason(
    marking: Marking, says: str
) -> None:
    with pytest.raises(InputRejected, match=says):
        propose(volume(), None, marking, "tumor")


def test_a_length_that_no_lesion_has_is_told_as_another_unit() -> None:
    wide = Geometry((3, 600, 600), (1.0, 1.0, 2.0), (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    with pytest.raises(InputRejected, match="not in millimetres"):
        frame_of(Axes(((10.0, 10.0, 2.0), (500.0, 10.0, 2.0))), wide)


@given(
    half=st.tuples(st.floats(3, 12), st.floats(3, 12)),
    angle=st.floats(0, math.pi),
    swapped=st.booleans(),
    offset=st.floats(-2, 2),
)
def test_the_frame_gives_back_the_measured_lengths_in_any_direction_and_order(
    half: tuple[float, float], angle: float, swapped: bool, offset: float
) -> None:
    a, b = max(half), min(half)
    u, v = (math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))
    long = tuple(at(30 + s * a * u[0], 30 + s * a * u[1], 15) for s in (-1, 1))
    short = tuple(at(30 + s * b * v[0] + offset * u[0], 30 + s * b * v[1] + offset * u[1], 15) for s in (-1, 1))
    first, second = (short, long) if swapped else (long, short)
    frame = frame_of(Axes((first[0], first[1]), (second[0], second[1])), GRID)
    assert frame.half_mm == pytest.approx((a, b, (a + b) / 2))
    assert frame.axes @ frame.axes.T == pytest.approx(np.eye(3), abs=1e-9)
    assert abs(frame.axes[2] @ (0, 0, 1)) == pytest.approx(1)


def test_an_outline_measures_as_the_axes_of_its_shape() -> None:
    turns = np.linspace(0, 2 * math.pi, 40, endpoint=False)
    ellipse = Outline(tuple(at(30 + 10 * math.cos(t), 30 + 6 * math.sin(t), 15) for t in turns))
    frame = frame_of(ellipse, GRID)
    assert frame.half_mm[:2] == pytest.approx((10, 6), abs=0.1)
    assert frame.centre_mm == pytest.approx(at(30, 30, 15), abs=0.1)


def test_axes_on_images_without_any_contrast_propose_the_ellipsoid_and_say_so() -> None:
    proposal = propose(volume(), None, GOOD, "tumor")
    assert proposal.method == "ellipsoid"
    assert proposal.verdict == "doubtful"
    assert any("ellipsoid" in sentence for sentence in proposal.why)
    assert proposal.mask.shape == GRID.shape_zyx
    measured = 4 / 3 * math.pi * 10 * 6 * 8
    assert np.count_nonzero(proposal.mask) * GRID.voxel_mm3 == pytest.approx(measured, rel=0.03)
