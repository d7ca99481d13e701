"""Standardised and resampled images on the fast path: PyRadiomics' bits where it can do it; no trace of a gain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import settings as trying
from hypothesis import strategies as st

from config.schema import Features, SequenceFeatures, Settings
from pipeline.extraction_settings import FIRST_DEFAULTS_HASH, as_trained, form_of, settings_hash
from pipeline.features import Parameters, RoiFeatures, extract, extract_sequence, plain_extract
from pipeline.features.parameters import for_sequence
from pipeline.records import Mask, Volume
from tests.support.radiomics import noise, region, volume

S = np.s_
SMOOTH = np.hypot.outer(np.hypot.outer(np.arange(30.0), np.arange(31.0)), np.arange(33.0))


@pytest.fixture(autouse=True)
def _itk_adds_in_one_order() -> Iterator[None]:
    """PyRadiomics' mean of a whole image differs in its last bits from call to call on several threads."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    yield
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def ruled(**rule: object) -> Parameters:
    return for_sequence(Features(t1c=SequenceFeatures.model_validate(rule)), "t1c")


def both(image: Volume, mask: Mask, parameters: Parameters) -> tuple[RoiFeatures, RoiFeatures]:
    assert parameters.local
    return extract_sequence(image, {"tumor": mask}, parameters)["tumor"], plain_extract(image, mask, parameters)


def assert_same(found: RoiFeatures, reference: RoiFeatures) -> None:
    assert found.values == reference.values
    assert found.missing == reference.missing
    for name, value in found.diagnostics.items():
        assert value == pytest.approx(reference.diagnostics[name], rel=1e-12), name


RULES: dict[str, dict[str, object]] = {
    "normalised": {"standardise": "image", "bin_width": 20},
    "normalised without outliers": {"standardise": "image", "clip": 1.5, "bins": 32},
    "resampled": {"voxel_mm": 1.3},
    "normalised and resampled": {"standardise": "image", "voxel_mm": 0.9, "bins": 16},
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_what_pyradiomics_can_do_has_its_bits(rule: str, dtype: type) -> None:
    image = volume(noise((16, 30, 31), dtype, scale=40.0), (0.8, 0.7, 2.0))
    assert_same(*both(image, region(image, S[4:10, 8:16, 9:17], holes=0.2), ruled(**RULES[rule])))


BOXES = {
    "a corner": S[0:4, 0:7, 25:31],
    "one slice": S[5:6, 8:15, 9:18],
    "a whole axis": S[0:16, 10:16, 10:15],
}


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("rule", ["normalised", "resampled"])
def test_at_borders_and_on_one_slice_too(box: str, rule: str) -> None:
    image = volume(noise((16, 30, 31), np.float32), (0.8, 0.7, 2.0))
    assert_same(*both(image, region(image, BOXES[box]), ruled(**RULES[rule])))


def test_the_spacing_that_is_there_already_is_not_interpolated() -> None:
    image = volume(noise((16, 30, 31), np.float32), (1.0, 1.0, 1.0))
    assert_same(*both(image, region(image, S[4:10, 8:18, 9:20], holes=0.1), ruled(voxel_mm=1.0)))


@trying(max_examples=6, deadline=None)
@given(st.integers(0, 2**16), st.sampled_from([0.6, 1.0, 1.7]), st.sampled_from(["int16", "float32"]))
def test_a_spline_that_reads_a_part_of_the_image_has_the_bits_of_the_whole(seed: int, size: float, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    # longer than the margin on both sides, so that a part is left out
    image = volume((rng.normal(size=(3, 170, 165)) * 300).astype(dtype), (1.0, 1.0, 3.0))
    mask = region(image, S[0:2, 80:86, 78:85])
    few = ruled(voxel_mm=size)
    few = Parameters({"Original": {}}, {"firstorder": few.classes["firstorder"]}, few.settings)
    assert_same(*both(image, mask, few))


@pytest.mark.parametrize("over", ["image", "body", "roi", "percentiles"])
def test_a_gain_changes_nothing_where_intensities_are_standardised(over: str) -> None:
    rng = np.random.default_rng(3)
    voxels = 20 * SMOOTH + rng.normal(size=SMOOTH.shape) * 60
    voxels[:, :8] *= 0.02
    small = {"standardise": over, "bin_width": 12.0 if over != "percentiles" else 5.0}
    values, louder = (
        _values(volume(gain * voxels), Features(t1c=SequenceFeatures.model_validate(small))) for gain in (1.0, 1.5)
    )
    assert len(values) == 851
    assert [n for n in values if louder[n] != pytest.approx(values[n], rel=1e-6, abs=1e-9)] == []
    without = [_values(volume(gain * voxels), Features()) for gain in (1.0, 1.5)]
    assert sum(without[1][n] != pytest.approx(without[0][n], rel=0.1) for n in values) > 300


def _values(image: Volume, settings: Features, processes: int = 1) -> dict[str, float]:
    mask = region(image, S[8:20, 14:25, 14:26], holes=0.1)
    return dict(extract({"t1c": image}, {("t1c", "tumor"): mask}, settings, processes=processes).values)


@pytest.mark.parametrize("over", ["body", "roi", "percentiles"])
def test_the_plain_call_on_a_standardised_image_agrees(over: str) -> None:
    voxels = SMOOTH + np.random.default_rng(3).normal(size=SMOOTH.shape) * 4
    rule = SequenceFeatures.model_validate({"standardise": over, "bins": 24, "clip": 2.5, "voxel_mm": 1.5})
    fast, plain = (
        _values(volume(voxels), Features.model_validate({"t1c": rule, "engine": engine}))
        for engine in ("fast", "plain")
    )
    assert fast == plain
    assert len(fast) == 851


def test_regions_side_by_side_in_processes_have_the_same_numbers() -> None:
    image = volume(SMOOTH + np.random.default_rng(3).normal(size=SMOOTH.shape))
    settings = Features(t1c=SequenceFeatures(standardise="body", voxel_mm=1.5, bin_width=12))
    assert _values(image, settings, processes=2) == _values(image, settings)


@pytest.mark.parametrize("over", ["image", "body", "roi", "percentiles"])
@pytest.mark.parametrize("engine", ["fast", "plain"])
def test_a_constant_image_has_its_shape_or_a_reason(over: Any, engine: Any) -> None:
    image = volume(np.full((10, 11, 12), 7.0))
    settings = Features(t1c=SequenceFeatures(standardise=over), engine=engine)
    measured = extract({"t1c": image}, {("t1c", "tumor"): region(image, S[3:6, 3:7, 3:7])}, settings)
    assert "t1c.tumor.original_firstorder_Mean" in measured.missing
    assert all(measured.missing.values())


def test_voxels_of_air_without_a_value_are_no_part_of_the_body() -> None:
    voxels = np.where(SMOOTH > 12, SMOOTH, np.nan).astype(np.float32)
    image = volume(voxels)
    mask = region(image, S[18:24, 18:24, 20:26])
    found = extract_sequence(image, {"tumor": mask}, ruled(standardise="body", bin_width=5))["tumor"]
    assert found.missing == {}


def test_the_advised_recipe_says_what_the_settings_do_not() -> None:
    advised = Settings.model_validate({"features": {"recipe": "advised"}})
    assert (advised.features.t1c.standardise, advised.features.t2.standardise) == ("body", "body")
    assert (advised.features.adc, advised.bias.sequences) == (SequenceFeatures(), ("t1c", "t2"))
    own = {"features": {"recipe": "advised", "t2": {"standardise": "none"}}, "bias": {"sequences": ["t1c"]}}
    mine = Settings.model_validate(own)
    assert (mine.features.t2, mine.bias.sequences) == (SequenceFeatures(), ("t1c",))
    assert settings_hash(Settings.model_validate({"features": {"recipe": "paper"}})) == FIRST_DEFAULTS_HASH


def test_later_settings_are_in_the_hash_only_where_they_say_something() -> None:
    advised = Settings.model_validate({"features": {"recipe": "advised"}})
    assert set(form_of(advised)["features"]) == {"bin_width", "params", "t1c", "t2"}
    assert form_of(as_trained(None, form_of(advised), Settings(), "s@1")) == form_of(advised)


@pytest.mark.parametrize("trained_hash", [None, "of settings that nobody knows"])
def test_a_signature_from_before_means_them_at_their_defaults(trained_hash: str | None) -> None:
    site = Settings(features=Features(bin_width=7, t2=SequenceFeatures(bins=8)))
    assert form_of(as_trained(trained_hash, None, site, "s@1")) == form_of(Settings(features=Features(bin_width=7)))


def test_two_ways_to_bin_are_refused() -> None:
    with pytest.raises(ValueError, match="bins and bin_width: give one of them"):
        SequenceFeatures(bins=8, bin_width=2)
