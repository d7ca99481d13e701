"""What axrad counts against what PyRadiomics' C code counts: the same numbers, lying in memory in the same way."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from config.schema import Features
from pipeline.features import extract_sequence, from_settings, plain_extract
from pipeline.features.classes import bin_levels
from pipeline.features.fast_methods import COUNTED
from pipeline.features.library import feature_classes, quiet
from pipeline.features.neighbours import neighbourhood
from pipeline.features.parameters import Parameters
from tests.support.radiomics import noise, region, volume

MATRICES = {"glcm": "P_glcm", "glrlm": "P_glrlm", "glszm": "P_glszm", "gldm": "P_gldm", "ngtdm": "P_ngtdm"}
Mask = npt.NDArray[np.bool_]


def layout(array: npt.NDArray[Any]) -> list[int]:
    """The strides of the axes along which there are several elements."""
    return [stride for stride, length in zip(array.strides, array.shape, strict=True) if length > 1]


def assert_counted_as_by_pyradiomics(image_zyx: npt.NDArray[Any], mask_zyx: Mask, **options: Any) -> None:
    picture, labels = sitk.GetImageFromArray(image_zyx), sitk.GetImageFromArray(mask_zyx.astype(np.uint8))
    with quiet():
        binned = bin_levels(image_zyx, mask_zyx, neighbourhood(mask_zyx), options)
        for name, attribute in MATRICES.items():
            theirs = feature_classes()[name](picture, labels, **options)
            theirs._initCalculation()
            ours = COUNTED[name](picture, labels, **options, binned=binned)
            ours._initCalculation()
            pairs = {attribute: (getattr(theirs, attribute), getattr(ours, attribute))}
            pairs |= {key: (value, ours.coefficients[key]) for key, value in theirs.coefficients.items()}
            for key, (expected, counted) in pairs.items():
                expected, counted = np.asarray(expected), np.asarray(counted)
                assert np.array_equal(expected, counted, equal_nan=counted.dtype.kind == "f"), (name, key)
                assert layout(expected) == layout(counted), (name, key)


def masks(shape: tuple[int, int, int], density: float, seed: int) -> Mask:
    """A random mask that fills its box in every direction."""
    mask = np.random.default_rng(seed).random(shape) < density
    mask[0, 0, 0] = mask[-1, -1, -1] = True
    return mask


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 7), st.integers(1, 8), st.integers(1, 9)).filter(
        lambda s: sum(n > 1 for n in s) > 1
    ),
    density=st.sampled_from([0.05, 0.4, 0.9, 1.0]),
    levels=st.integers(1, 40),
    seed=st.integers(0, 2**31),
)
def test_any_region_is_counted_as_by_pyradiomics(
    shape: tuple[int, int, int], density: float, levels: int, seed: int
) -> None:
    image = np.random.default_rng(seed).integers(0, levels, shape).astype(np.float32)
    assert_counted_as_by_pyradiomics(image, masks(shape, density, seed), binWidth=1)


@pytest.mark.parametrize("empty", [(), (3,), (2, 5), (1, 2, 3, 4, 6)], ids=["none", "one", "two", "five"])
def test_levels_that_do_not_occur_are_cut_out_as_pyradiomics_cuts_them(empty: tuple[int, ...]) -> None:
    levels = np.array([level for level in range(9) if level not in empty])
    image = np.random.default_rng(1).choice(levels, (6, 7, 8)).astype(np.float32)
    image[0, 0, 0], image[-1, -1, -1] = 0, 8
    assert_counted_as_by_pyradiomics(image, masks(image.shape, 0.7, 2), binWidth=1)


def test_a_matrix_that_is_not_to_be_symmetrical_stays_as_counted() -> None:
    image = np.random.default_rng(1).integers(0, 9, (5, 6, 7)).astype(np.float32)
    assert_counted_as_by_pyradiomics(image, masks(image.shape, 0.7, 2), binWidth=1, symmetricalGLCM=False)


def test_a_fixed_number_of_bins_is_counted_alike() -> None:
    image = np.random.default_rng(1).normal(0, 9, (5, 6, 7))
    assert_counted_as_by_pyradiomics(image, masks(image.shape, 0.7, 2), binCount=12)


def test_voxels_that_share_a_line_without_touching_have_runs_along_it() -> None:
    mask = np.zeros((5, 5, 5), dtype=np.bool_)
    mask[0, 0, 0] = mask[0, 0, 4] = mask[4, 4, 0] = mask[2, 1, 3] = True
    around = neighbourhood(mask)
    along = {tuple(angle.tolist()): line for angle, line in zip(around.angles_zyx, around.lines, strict=True)}
    assert {angle for angle, line in along.items() if line} == {(0, 0, 1), (1, 1, 0), (1, 1, -1)}
    assert_counted_as_by_pyradiomics(np.arange(125, dtype=np.float32).reshape(5, 5, 5), mask, binWidth=1)


def test_one_level_in_a_long_region_makes_the_longest_runs_and_the_largest_zone() -> None:
    assert_counted_as_by_pyradiomics(np.full((3, 4, 40), 7.0), np.ones((3, 4, 40), dtype=np.bool_), binWidth=25)


def test_more_levels_than_a_byte_holds_are_told_apart() -> None:
    image = np.random.default_rng(4).integers(0, 600, (9, 10, 11)).astype(np.float32)
    assert_counted_as_by_pyradiomics(image, masks(image.shape, 0.9, 2), binWidth=1)


@pytest.mark.parametrize(
    "option",
    [
        {"distances": [1, 2]},
        {"distances": [1]},
        {"weightingNorm": "euclidean"},
        {"gldm_a": 1},
        {"symmetricalGLCM": False},
    ],
    ids=str,
)
def test_settings_that_count_otherwise_have_pyradiomics_numbers(option: dict[str, Any]) -> None:
    every = from_settings(Features())
    parameters = Parameters(every.image_types, every.classes, {**every.settings, **option})
    assert parameters.local
    image = volume(noise((14, 15, 16)))
    mask = region(image, np.s_[4:10, 5:11, 6:11], holes=0.2)
    expected = plain_extract(image, mask, parameters)
    assert extract_sequence(image, {"tumor": mask}, parameters)["tumor"].values == expected.values
    assert len(expected.values) == 851
