"""Bad input: the value PyRadiomics gives where it gives one, otherwise missing with a reason, never zero."""

from __future__ import annotations

import math
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from config.schema import Features
from pipeline.features import RoiFeatures, extract, extract_sequence, from_settings, plain_extract
from pipeline.records import Mask
from tests.support.radiomics import noise, region, volume

ALL = from_settings(Features())
S = np.s_
BOX = S[5:10, 5:11, 5:11]


def features_of(voxels: npt.NDArray[Any], box: Any = BOX) -> tuple[RoiFeatures, RoiFeatures]:
    image = volume(voxels)
    mask = region(image, box)
    return extract_sequence(image, {"tumor": mask}, ALL)["tumor"], plain_extract(image, mask, ALL)


def assert_complete(found: RoiFeatures) -> None:
    """Every name has a finite value or a reason, never both."""
    names = {"_".join(parts) for parts in ALL.names()}
    assert set(found.values) | set(found.missing) == names
    assert not set(found.values) & set(found.missing)
    assert all(math.isfinite(value) for value in found.values.values())
    assert all(reason for reason in found.missing.values())


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        (S[5:6, 5:6, 5:6], "only contains 1 segmented voxel"),
        (S[5:6, 5:6, 5:9], "too few dimensions"),
        (S[5:9, 5:6, 5:6], "too few dimensions"),
        (S[0:0, 0:0, 0:0], "nothing is segmented"),
    ],
)
def test_a_region_that_pyradiomics_refuses_is_missing_in_its_words(box: Any, reason: str) -> None:
    found, reference = features_of(noise((14, 15, 16)), box)
    assert_complete(found)
    assert not found.values
    assert reason in str(found.refusal)
    assert reason in str(reference.refusal)
    assert found.grey_levels is None


def test_a_mask_without_background_is_refused_as_pyradiomics_refuses_it() -> None:
    found, reference = features_of(noise((6, 6, 6)), S[:, :, :])
    assert found.refusal is not None
    assert reference.refusal is not None


@pytest.mark.parametrize("level", [0, 100, -40])
def test_a_constant_region_has_the_values_pyradiomics_gives_it(level: int) -> None:
    found, reference = features_of(np.full((14, 15, 16), level, np.int16))
    assert_complete(found)
    assert found.values == reference.values
    assert found.missing == reference.missing
    assert found.grey_levels == 1


def test_negative_values_are_values() -> None:
    found, reference = features_of(noise((14, 15, 16)) - 2000)
    assert found.values == reference.values
    assert found.values["original_firstorder_Maximum"] < 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_voxel_without_a_number_leaves_only_the_shape(bad: float) -> None:
    voxels = noise((14, 15, 16), np.float32)
    voxels[7, 7, 7] = bad
    found, _ = features_of(voxels)
    assert_complete(found)
    assert {name.split("_")[1] for name in found.values} == {"shape"}
    assert found.diagnostics["diagnostics_Image-original_Mean"] is None


def test_a_voxel_without_a_number_outside_spoils_only_the_images_that_it_reaches() -> None:
    voxels = noise((20, 20, 20), np.float32)
    voxels[7, 7, 12] = np.nan  # two beside the box: within reach of the wavelet along x
    found, _ = features_of(voxels)
    assert_complete(found)
    assert found.missing
    assert all(name.startswith("wavelet-") for name in found.missing)
    image = volume(voxels)
    mask = region(image, BOX)
    original = replace(ALL, image_types={"Original": {}})
    reference = plain_extract(image, mask, original).values
    assert {n: v for n, v in found.values.items() if n.startswith("original")} == reference


def test_a_scale_mistake_is_missing_with_its_reason_instead_of_filling_the_memory() -> None:
    found, _ = features_of(noise((14, 15, 16), np.float64, scale=1e12))
    assert_complete(found)
    assert {name.split("_")[1] for name in found.values} == {"shape"}
    assert "scaled" in found.missing["original_glcm_Contrast"]


def test_many_grey_levels_are_no_reason_to_refuse() -> None:
    found, reference = features_of(noise((14, 15, 16), np.float32, scale=4_000.0), S[5:8, 5:8, 5:8])
    assert (found.grey_levels or 0) > 400
    assert found.values == reference.values


def test_more_grey_levels_than_a_matrix_may_have_leave_the_other_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.features.classes.MAX_LEVELS", 5)
    found, reference = features_of(noise((14, 15, 16)))
    assert_complete(found)
    assert "original_glcm_Contrast" in found.missing
    assert all(found.values[name] == reference.values[name] for name in found.values)
    assert "original_glrlm_RunEntropy" in found.values


def test_what_is_wanted_ends_as_a_value_or_as_missing() -> None:
    image = volume(noise((14, 15, 16)))
    wanted = frozenset(
        {
            "t1c.tumor.original_glcm_Contrast",
            "t1c.tumor.original_glcm_NoSuchFeature",
            "t1c.lymph_nodes.original_glcm_Contrast",
            "t2.tumor.wavelet-LLL_firstorder_Mean",
        }
    )
    masks = {("t1c", "tumor"): region(image, BOX), ("t1c", "lymph_nodes"): region(image, S[3:4, 3:4, 3:4])}
    found = extract({"t1c": image}, masks, Features(), wanted)  # type: ignore[arg-type]
    assert set(found.values) == {"t1c.tumor.original_glcm_Contrast"}
    assert set(found.missing) == wanted - set(found.values)
    assert "1 segmented voxel" in found.missing["t1c.lymph_nodes.original_glcm_Contrast"]
    assert "no region" in found.missing["t2.tumor.wavelet-LLL_firstorder_Mean"]


def test_one_refused_region_leaves_the_other_whole() -> None:
    image = volume(noise((14, 15, 16)))
    masks = {"tumor": region(image, S[3:4, 3:4, 3:4]), "lymph_nodes": region(image, BOX)}
    found = extract_sequence(image, masks, ALL)  # type: ignore[arg-type]
    assert not found["tumor"].values
    assert len(found["lymph_nodes"].values) == 851


def test_nothing_is_written_to_stderr_by_any_number_of_threads(capfd: pytest.CaptureFixture[str]) -> None:
    image = volume(np.zeros((14, 15, 16), np.int16))
    mask = region(image, BOX)
    expected = extract_sequence(image, {"tumor": mask}, ALL)["tumor"]
    results: list[RoiFeatures] = []

    def work() -> None:
        results.append(extract_sequence(image, {"tumor": mask}, ALL)["tumor"])

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [r.values for r in results] == [expected.values] * 3
    assert capfd.readouterr() == ("", "")


def test_input_arrays_are_left_as_they_were() -> None:
    voxels = noise((14, 15, 16))
    image, before = volume(voxels), voxels.copy()
    mask = region(image, BOX)
    inside = mask.voxels_zyx.copy()
    extract_sequence(image, {"tumor": Mask(mask.voxels_zyx, mask.geometry)}, ALL)
    assert np.array_equal(image.voxels_zyx, before)
    assert np.array_equal(mask.voxels_zyx, inside)
