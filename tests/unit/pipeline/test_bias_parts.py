"""The parts of the fast engine, each against ITK or against the plain way to say it."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from config.schema import Bias
from pipeline.bias import convergence, histogram, otsu
from pipeline.bias.itk_order_splines import OrderedSplines
from pipeline.bias.lattice import ORDER, Splines, axis_weights, contract, expand, refine
from pipeline.bias.n4_input import _shrink
from pipeline.geometry import Geometry
from pipeline.records import Volume

volumes = arrays.arrays(
    st.sampled_from([np.int16, np.uint16, np.int32]),
    st.tuples(st.just(1), st.just(1), st.integers(2, 400)),
    elements=st.integers(0, 3000) | st.integers(0, 30),
)


@given(volumes, st.booleans())
@settings(max_examples=150, deadline=None)
def test_otsus_threshold_divides_as_itk_does(voxels: np.ndarray, negative: bool) -> None:
    if negative and voxels.dtype != np.uint16:
        voxels = voxels - voxels.dtype.type(100)
    if voxels.min() == voxels.max():
        return
    mask = sitk.GetArrayFromImage(sitk.OtsuThreshold(sitk.GetImageFromArray(voxels), 0, 1, 200)).astype(bool)
    assert np.array_equal(voxels > otsu.threshold(voxels), mask)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_other_types_are_left_to_itk(dtype: type) -> None:
    voxels = np.random.default_rng(0).gamma(2, 30, (4, 10, 12)).clip(0, 250).astype(dtype)
    mask = sitk.GetArrayFromImage(sitk.OtsuThreshold(sitk.GetImageFromArray(voxels), 0, 1, 200)).astype(bool)
    assert np.array_equal(voxels > otsu.threshold(voxels), mask)


def plain_variation(ratio: np.ndarray) -> np.float32:
    """ITK's single pass, as a loop."""
    mean, total = np.float32(0), np.float32(0)
    for n, value in enumerate(ratio, start=1):
        if n > 1:
            away = np.float32(value - mean)
            total = np.float32(float(total) + float(np.float32(away * away)) * (n - 1.0) / n)
        mean = np.float32(float(mean) * (1 - 1.0 / n) + float(np.float32(value / np.float32(n))))
    return np.float32(np.float32(np.sqrt(float(total) / (len(ratio) - 1.0))) / mean)


@pytest.mark.parametrize("spread", [1e-5, 1e-4, 1e-2])
@pytest.mark.parametrize("drift", [0.0, 3e-4])
def test_the_running_variation_is_that_of_the_loop(spread: float, drift: float) -> None:
    random = np.random.default_rng(3)
    n = 30_000
    ratio = np.exp(random.normal(0, spread, n) + drift * np.linspace(-1, 1, n)).astype(np.float32)
    assert convergence.running_variation(ratio) == pytest.approx(plain_variation(ratio), rel=1e-6)


def test_the_running_variation_is_not_the_true_one_which_is_why_it_is_followed() -> None:
    ratio = np.exp(1e-4 * np.linspace(-1, 1, 200_000)).astype(np.float32)
    assert convergence.running_variation(ratio) > 1.2 * ratio.std(dtype=np.float64)


def test_a_level_goes_on_above_the_threshold_and_stops_below() -> None:
    change = np.random.default_rng(4).normal(0, 1e-4, 20_000).astype(np.float32)
    assert convergence.goes_on(change, 0.9e-4)
    assert not convergence.goes_on(change, 1.1e-4)
    assert convergence.goes_on(change, 1e-6)


def test_weights_sum_to_one_and_a_constant_lattice_is_a_constant_field() -> None:
    weights = axis_weights(9, 4)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    field = expand(np.full((7, 7, 7), 2.5), weights, weights, weights)
    np.testing.assert_allclose(field, 2.5)


def test_a_refined_lattice_is_the_same_spline() -> None:
    lattice = np.random.default_rng(5).normal(0, 0.3, (4, 5, 6)).astype(np.float32)
    coarse = expand(
        lattice,
        *(axis_weights(n, k - ORDER).astype(np.float32) for n, k in zip((8, 9, 10), lattice.shape, strict=True)),
    )
    fine_lattice = refine(lattice)
    assert fine_lattice.shape == (5, 7, 9)
    weights = [
        axis_weights(n, k - ORDER).astype(np.float32) for n, k in zip((8, 9, 10), fine_lattice.shape, strict=True)
    ]
    np.testing.assert_allclose(expand(fine_lattice, *weights), coarse, atol=1e-5)


def test_contracting_is_the_sum_over_voxels_that_it_stands_for() -> None:
    random = np.random.default_rng(6)
    values, z, y, x = (random.normal(size=s) for s in ((3, 4, 5), (3, 6), (4, 7), (5, 8)))
    np.testing.assert_allclose(contract(values, z, y, x), np.einsum("zyx,za,yb,xc->abc", values, z, y, x))


def test_both_ways_to_sum_give_the_same_control_points_and_values() -> None:
    random = np.random.default_rng(7)
    mask = random.random((6, 12, 14)) < 0.6
    grid = Geometry((6, 12, 14), (2.8, 2.8, 6.0), (-169.3, 12.5, -78.45), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    residual = random.normal(0, 0.1, np.count_nonzero(mask)).astype(np.float32)
    for spans in ((1, 1, 1), (2, 2, 2), (4, 4, 4)):
        products, ordered = Splines.of(mask, spans), OrderedSplines.of(mask, grid, spans)
        lattice = products.fit(residual)
        np.testing.assert_allclose(ordered.fit(residual), lattice, atol=1e-5)
        np.testing.assert_allclose(ordered.evaluate(lattice), products.evaluate(lattice), atol=1e-6)


def test_the_minimum_is_searched_as_itk_searches_it() -> None:
    """A first voxel that is the only minimum is taken for a maximum, and is then mapped to the top of the histogram."""
    values = np.concatenate([[0.5], np.random.default_rng(8).normal(5, 0.4, 500)]).astype(np.float32)
    sharpened = histogram.sharpen(values, Bias())
    assert sharpened[0] == sharpened.max() or sharpened[0] > 5


def test_sharpening_pulls_values_towards_the_peaks() -> None:
    random = np.random.default_rng(9)
    values = np.concatenate([random.normal(4, 0.06, 3000), random.normal(5.5, 0.06, 3000)]).astype(np.float32)
    random.shuffle(values)
    sharpened = histogram.sharpen(values, Bias())
    low, high = values < 4.75, values > 4.75
    assert sharpened[low].std() < values[low].std()
    assert sharpened[high].std() < values[high].std()
    assert sharpened[low].mean() == pytest.approx(4, abs=0.05)


@given(
    st.tuples(*[st.integers(2, 23)] * 3),
    st.tuples(*[st.integers(1, 6)] * 3),
    st.tuples(*[st.sampled_from([0.5, 0.7, 1.0, 340 / 448, 2.5, 1 / 3]) | st.floats(0.1, 9)] * 3),
    st.tuples(*[st.sampled_from([0.0, -170.0, 12.5, -81.234567]) | st.floats(-500, 500)] * 3),
    st.none() | st.tuples(*[st.floats(-3.2, 3.2)] * 3),
)
@settings(max_examples=200, deadline=None)
def test_the_voxels_that_are_kept_are_those_that_itk_keeps(
    shape: tuple[int, int, int],
    factors: tuple[int, int, int],
    spacing: tuple[float, float, float],
    origin: tuple[float, float, float],
    angles: tuple[float, float, float] | None,
) -> None:
    direction = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    if angles is not None:
        direction = sitk.Euler3DTransform((0, 0, 0), *angles).GetMatrix()
    voxels = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    volume = Volume(voxels, Geometry(shape, spacing, origin, direction), "1.2")
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(direction)
    kept, grid = _shrink(volume, factors)
    theirs = sitk.Shrink(image, factors)
    assert np.array_equal(kept, sitk.GetArrayFromImage(theirs))
    assert kept.dtype == voxels.dtype
    assert grid.spacing_xyz_mm == theirs.GetSpacing()
    assert grid.origin_xyz_mm == theirs.GetOrigin()
    assert grid.direction == theirs.GetDirection()
