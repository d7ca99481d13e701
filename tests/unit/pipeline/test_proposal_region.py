"""Regions grown from axes: what of the images is in them, what stays out, and when nobody should trust them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.geometry import Geometry
from pipeline.parallel.thread_counts import fixed_threads
from pipeline.phantom import PhantomSpec
from pipeline.phantom.hard_crop import HardCrop, crop
from pipeline.phantom.reader import measured_axes
from pipeline.proposal.blocks import Blocks
from pipeline.proposal.motion import shift_of
from pipeline.proposal.quality import doubts
from pipeline.proposal.records import Axes, Outline, Point, Proposal, Quality
from pipeline.proposal.region import propose
from pipeline.records import Volume

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
GRID = Geometry((24, 64, 64), (0.9, 0.9, 1.8), (10.0, 20.0, 30.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
CENTRE = np.array([38.8, 48.8, 51.6])
SMALL = 1e-6


def places() -> Floats:
    """x, y and z of each voxel centre relative to CENTRE, mm."""
    z, y, x = np.indices(GRID.shape_zyx)
    return np.stack([x, y, z], axis=-1) * np.array(GRID.spacing_xyz_mm) + np.array(GRID.origin_xyz_mm) - CENTRE


def ball(radius_mm: float, at: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Bools:
    return np.asarray(((places() - np.array(at)) ** 2).sum(axis=-1) <= radius_mm**2)


def image(bright: Bools, seed: int = 1, step: float = 300.0, noise: float = 15.0) -> Volume:
    values = 150 + step * bright + noise * np.random.default_rng(seed).standard_normal(GRID.shape_zyx)
    return Volume(values.astype(np.float32), GRID, "1.2")


def axes(long: float, short: float, at: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Axes:
    """Half lengths along x and y around CENTRE + `at`."""
    x, y, z = (float(v) for v in CENTRE + np.array(at))
    return Axes(((x - long, y, z), (x + long, y, z)), ((x, y - short, z), (x, y + short, z)))


def dice(one: Bools, other: Bools) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def before() -> Volume:
    return image(np.zeros(GRID.shape_zyx, bool), seed=2)


@pytest.fixture(scope="module")
def hard() -> HardCrop:
    return crop(PhantomSpec(seed=801), "lymph_nodes")


def test_what_enhances_between_the_axes_is_the_region_though_its_third_axis_was_never_measured() -> None:
    flat = np.asarray((places() / np.array([10.0, 8.0, 5.0])) ** 2).sum(axis=-1) <= 1
    proposal = propose(image(flat), before(), axes(10, 8), "tumor")
    assert (proposal.method, proposal.verdict, proposal.why) == ("grown", "good", ())
    assert dice(proposal.mask, flat) > 0.93
    ellipsoid = (places() / np.array([10.0, 8.0, 9.0])) ** 2
    assert dice(proposal.mask, flat) > dice(ellipsoid.sum(axis=-1) <= 1, flat) + 0.1


def test_a_bright_vessel_beside_the_lesion_stays_out() -> None:
    lesion = ball(7)
    vessel = ((places()[..., 0] - 10.0) ** 2 + places()[..., 2] ** 2 <= 3.2**2) & ~lesion
    proposal = propose(image(lesion | vessel), before(), axes(7, 7), "lymph_nodes")
    assert (proposal.mask & vessel).sum() < 0.06 * lesion.sum()
    assert dice(proposal.mask, lesion) > 0.9


def test_a_touching_node_that_was_measured_too_is_not_entered() -> None:
    one, other = ball(6), ball(6, (11.0, 0.0, 0.0))
    markings = axes(6, 6), axes(6, 6, (11.0, 0.0, 0.0))
    proposals = [propose(image(one | other), before(), m, "lymph_nodes", markings) for m in markings]
    assert not (proposals[0].mask & proposals[1].mask).any()
    assert min(dice(proposals[0].mask, one), dice(proposals[1].mask, other)) > 0.88


def test_a_dark_middle_belongs_to_a_rim_that_enhances() -> None:
    proposal = propose(image(ball(9) & ~ball(5)), before(), axes(9, 9), "tumor")
    assert (proposal.mask & ball(4)).sum() == ball(4).sum()


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), long=st.floats(4, 5), ratio=st.floats(0.9, 1.0))
def test_no_region_reaches_farther_than_the_axes_allow_though_the_image_does(
    seed: int, long: float, ratio: float
) -> None:
    short = long * ratio
    bar = np.hypot(places()[..., 1], places()[..., 2]) <= 0.7 * short
    proposal = propose(image(bar, seed), None, axes(long, short), "tumor")
    third = (long + short) / 2
    reach = np.array([1.3 * long + 1, 1.3 * short + 1, 1.6 * third + 1]) + SMALL
    assert ((places()[proposal.mask] / reach) ** 2).sum(axis=-1).max() <= 1.0 + SMALL


def test_where_nothing_stands_out_the_ellipsoid_or_a_doubtful_region_is_proposed_and_told() -> None:
    noise = image(np.zeros(GRID.shape_zyx, bool), noise=40.0)
    proposal = propose(noise, before(), axes(9, 7), "tumor")
    assert proposal.verdict == "doubtful"
    assert proposal.why
    even = propose(replace(noise, voxels_zyx=np.full(GRID.shape_zyx, 7.0, np.float32)), None, axes(9, 7), "tumor")
    assert even.method == "ellipsoid"
    assert "ellipsoid" in even.why[1]
    assert even.quality == Quality()


def test_the_volume_before_contrast_is_used_on_the_same_grid_only_and_its_absence_is_told() -> None:
    lesion = ball(8)
    without = propose(image(lesion), None, axes(8, 8), "tumor")
    assert "no volume before contrast" in without.why[-1]
    elsewhere = replace(GRID, origin_xyz_mm=(0.0, 0.0, 0.0))
    other = propose(image(lesion), replace(before(), geometry=elsewhere), axes(8, 8), "tumor")
    assert "another grid" in other.why[-1]
    assert np.array_equal(other.mask, without.mask)
    assert without.verdict == "good"


def test_bright_fat_that_was_bright_before_is_no_lesion() -> None:
    fat = np.asarray(places()[..., 1] > 2)
    lesion = ball(7) & ~fat
    marking = Axes(axes(7, 7).long, axes(7, 4.5, (0.0, -2.5, 0.0)).short)
    with_before = propose(image(lesion | fat), image(fat, seed=4), marking, "lymph_nodes")
    assert not (with_before.mask & fat).any()
    assert (propose(image(lesion | fat), None, marking, "lymph_nodes").mask & fat).any()


@pytest.mark.parametrize("moved", [(0, 0, 0), (1, -2, 2), (0, 3, -1)])
def test_motion_between_the_phases_is_measured_to_a_fraction_of_a_voxel(moved: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(5)
    blobs = sum(
        ball(float(rng.uniform(3, 6)), tuple(rng.uniform(-18, 18, 3))).astype(float)  # type: ignore[arg-type]
        for _ in range(14)
    )
    after = (100 + 80 * blobs + 5 * rng.standard_normal(GRID.shape_zyx)).astype(np.float32)
    early = (np.roll(100 + 80 * blobs, moved, (0, 1, 2)) + 5 * rng.standard_normal(GRID.shape_zyx)).astype(np.float32)
    assert shift_of(early, after, GRID.spacing_xyz_mm[::-1]) == pytest.approx([-m for m in moved], abs=0.3)


def test_in_the_slice_of_an_outline_the_region_is_what_was_drawn() -> None:
    lesion = ball(9)
    turns = np.linspace(0, 2 * math.pi, 48, endpoint=False)
    x, y, z = CENTRE
    drawn: tuple[Point, ...] = tuple((float(x + 7 * np.cos(t)), float(y + 7 * np.sin(t)), float(z)) for t in turns)
    proposal = propose(image(lesion), before(), Outline(drawn), "tumor")
    slice_of_outline = np.abs(places()[..., 2]) < 0.5
    reach = np.hypot(places()[..., 0], places()[..., 1])
    assert proposal.mask[slice_of_outline & (reach < 6.4)].all()
    assert not proposal.mask[slice_of_outline & (reach > 7.6)].any()


def test_hard_nodes_are_grown_better_than_their_ellipsoids_equally_at_every_call(
    hard: HardCrop,
) -> None:
    markings = [
        measured_axes(lesion.mask_zyx, hard.t1c.geometry, 2.0, np.random.default_rng([801, n]))
        for n, lesion in enumerate(hard.lesions)
    ]

    def proposed() -> list[Proposal]:
        with fixed_threads():
            return [propose(hard.t1c, hard.pre, m, "lymph_nodes", markings) for m in markings]

    first, again = proposed(), proposed()
    assert [p.mask.tobytes() for p in first] == [p.mask.tobytes() for p in again]
    assert [p.quality for p in first] == [p.quality for p in again]
    scores = [dice(p.mask, lesion.mask_zyx) for p, lesion in zip(first, hard.lesions, strict=True)]
    assert np.median(scores) > 0.8


def test_a_large_lesion_is_grown_in_blocks_of_voxels_and_comes_out_smooth() -> None:
    fine = Geometry((80, 130, 130), (0.6, 0.6, 0.8), (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    z, y, x = (np.arange(n) * s - (n // 2) * s for n, s in zip(fine.shape_zyx, fine.spacing_xyz_mm[::-1], strict=True))
    lesion = (z[:, None, None] / 14) ** 2 + (y[None, :, None] / 20) ** 2 + (x[None, None, :] / 24) ** 2 <= 1
    values = (150 + 300 * lesion + 30 * np.random.default_rng(1).standard_normal(lesion.shape)).astype(np.float32)
    mx, my, mz = (float(s * (n // 2)) for n, s in zip(fine.shape_zyx[::-1], fine.spacing_xyz_mm, strict=True))
    marking = Axes(((mx - 24, my, mz), (mx + 24, my, mz)), ((mx, my - 20, mz), (mx, my + 20, mz)))
    proposal = propose(Volume(values, fine, "1.2"), None, marking, "tumor")
    assert (proposal.method, proposal.verdict) == ("grown", "good")
    assert dice(proposal.mask, lesion) > 0.95


@given(st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40)), st.tuples(*[st.integers(1, 4)] * 3))
@settings(max_examples=30, deadline=None)
def test_blocks_keep_what_does_not_vary_and_come_back_on_every_voxel(
    shape: tuple[int, int, int], factors: tuple[int, int, int]
) -> None:
    blocks = Blocks(factors, shape)
    even = np.full(shape, 3.5)
    for back in (blocks.spread(blocks.mean(even)), blocks.repeated(blocks.mean(even))):
        assert back == pytest.approx(even)
    ramp = np.broadcast_to(np.arange(shape[2], dtype=float), shape)
    within = factors[2] / 2 + SMALL if shape[2] % factors[2] == 0 else factors[2]
    assert np.abs(blocks.repeated(blocks.mean(ramp)) - ramp).max() <= within


def test_small_grids_are_taken_voxel_by_voxel_and_blocks_stay_small_beside_a_neighbourhood() -> None:
    assert Blocks.of((60, 60, 60), (1.0, 1.0, 1.0), 5.0).factors == (1, 1, 1)
    assert Blocks.of((100, 200, 200), (1.0, 0.6, 0.6), 3.0).factors == (2, 3, 3)
    assert Blocks.of((100, 200, 200), (4.0, 0.1, 0.6), 3.0).factors == (1, 4, 3)


def test_each_figure_that_speaks_against_a_region_has_its_sentence() -> None:
    good = Quality(0.95, 0.1, 1.0, 1.05, 0.95)
    assert doubts(good) == ()
    bad = {"contrast": 0.6, "open_border": 0.7, "long_ratio": 0.5, "short_ratio": 1.9, "agreement": 0.5}
    words = {"contrast": "AUC 0.60", "open_border": "70%", "long_ratio": "long axis", "short_ratio": "short axis",
             "agreement": "Dice 0.50"}  # fmt: skip
    for name, value in bad.items():
        (sentence,) = doubts(replace(good, **{name: value}))
        assert words[name] in sentence
    assert doubts(Quality())
