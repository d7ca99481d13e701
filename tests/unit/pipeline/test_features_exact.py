"""The fast path against PyRadiomics' plain call on the same input: equal to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from config.schema import Features
from pipeline.features import Parameters, RoiFeatures, extract, extract_sequence, from_settings, plain_extract
from pipeline.features.diagnostics import mean_and_extremes
from pipeline.features.from_files import extract_files
from pipeline.features.reference_call import plain_call
from pipeline.records import Mask, Volume
from tests.support.radiomics import grid, noise, region, volume

ALL = from_settings(Features())
MEAN = "diagnostics_Image-original_Mean"


def assert_same(found: RoiFeatures, reference: RoiFeatures) -> None:
    assert found.values == reference.values
    assert found.missing == reference.missing
    for name, value in found.diagnostics.items():
        if name == MEAN:  # numpy adds float32 in blocks where PyRadiomics copies the whole image to float64 first
            assert value == pytest.approx(reference.diagnostics[name], rel=1e-12)
        else:
            assert value == reference.diagnostics[name]


def both(image: Volume, mask: Mask, parameters: Parameters = ALL) -> tuple[RoiFeatures, RoiFeatures]:
    return extract_sequence(image, {"tumor": mask}, parameters)["tumor"], plain_extract(image, mask, parameters)


S = np.s_
CASES: dict[str, tuple[tuple[int, int, int], tuple[Any, ...]]] = {
    "inside": ((20, 24, 26), (S[6:12, 8:15, 9:17],)),
    "exactly three voxels from every border": ((17, 18, 19), (S[3:14, 3:15, 3:16],)),
    "two voxels from a border": ((17, 18, 19), (S[2:14, 4:15, 3:16],)),
    "touching the first voxel": ((15, 16, 17), (S[0:5, 0:6, 0:4],)),
    "touching the last voxel, odd sizes": ((15, 17, 19), (S[10:15, 12:17, 14:19],)),
    "a corner and the middle": ((16, 17, 18), (S[0:3, 0:3, 15:18], S[7:11, 7:11, 7:11])),
    "three components": ((22, 23, 24), (S[4:7, 4:8, 4:8], S[12:16, 5:8, 14:19], S[15:18, 15:19, 4:6])),
    "two diagonal voxels": ((14, 14, 14), (S[5:6, 5:6, 5:6], S[6:7, 6:7, 6:7])),
    "two diagonal voxels in a plane": ((14, 14, 14), (S[5:6, 5:6, 5:6], S[5:6, 6:7, 6:7])),
    "one slice of a thick stack": ((9, 20, 20), (S[4:5, 6:14, 6:13],)),
    "a single-slice image": ((1, 20, 21), (S[0:1, 5:14, 6:13],)),
    "a two-slice image": ((2, 20, 21), (S[0:2, 5:14, 6:13],)),
}


@pytest.mark.parametrize("name", CASES)
def test_every_feature_equals_the_plain_call(name: str) -> None:
    shape, boxes = CASES[name]
    image = volume(noise(shape))
    assert_same(*both(image, region(image, *boxes)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, np.float64])
def test_the_precision_is_the_one_pyradiomics_would_use(dtype: type) -> None:
    image = volume(noise((18, 19, 20), dtype, scale=40.0))
    assert_same(*both(image, region(image, S[4:10, 0:8, 6:13], holes=0.2)))


def test_anisotropic_spacing_and_negative_values_make_no_difference() -> None:
    image = volume(noise((12, 30, 31), np.float32) - np.float32(700), (0.66, 0.71, 4.4))
    assert_same(*both(image, region(image, S[3:7, 8:20, 9:22], holes=0.3)))


def test_two_regions_share_one_decomposition_and_keep_their_numbers() -> None:
    image = volume(noise((24, 25, 26)))
    masks = {
        "tumor": region(image, S[5:15, 6:16, 7:17]),
        "lymph_nodes": region(image, S[8:12, 9:14, 8:12], S[16:19, 12:15, 12:16]),
    }
    found = extract_sequence(image, masks, ALL)  # type: ignore[arg-type]
    for role, mask in masks.items():
        assert_same(found[role], plain_extract(image, mask, ALL))  # type: ignore[index]


def test_regions_far_apart_are_decomposed_apart_and_keep_their_numbers() -> None:
    image = volume(noise((24, 60, 60), np.float32))
    masks = {"tumor": region(image, S[5:9, 4:9, 4:9]), "lymph_nodes": region(image, S[12:16, 50:56, 50:56])}
    found = extract_sequence(image, masks, ALL)  # type: ignore[arg-type]
    for role, mask in masks.items():
        assert_same(found[role], plain_extract(image, mask, ALL))  # type: ignore[index]


def test_a_region_inside_the_other_ones_box_is_not_lost() -> None:
    image = volume(noise((24, 25, 26)))
    masks = {"tumor": region(image, S[5:19, 5:19, 5:19], holes=0.5), "lymph_nodes": region(image, S[8:12, 9:14, 8:12])}
    found = extract_sequence(image, masks, ALL)  # type: ignore[arg-type]
    assert len(found["lymph_nodes"].values) == len(found["tumor"].values) == 851


@st.composite
def images_with_regions(draw: st.DrawFn) -> tuple[Volume, Mask]:
    shape = tuple(draw(st.integers(5, 16)) for _ in range(3))
    lows = [draw(st.integers(0, n - 2)) for n in shape]
    box = tuple(slice(lo, draw(st.integers(lo + 1, n))) for lo, n in zip(lows, shape, strict=True))
    seed = draw(st.integers(0, 2**31))
    dtype = draw(st.sampled_from([np.int16, np.float32]))
    image = volume(noise(shape, dtype, seed=seed), (0.7, 0.9, draw(st.sampled_from([0.8, 3.3]))))  # type: ignore[arg-type]
    return image, region(image, box, holes=draw(st.sampled_from([0.0, 0.4])), seed=seed)  # type: ignore[arg-type]


@settings(max_examples=15, deadline=None)
@given(images_with_regions())
def test_any_box_anywhere_equals_the_plain_call_or_its_refusal(case: tuple[Volume, Mask]) -> None:
    found, reference = both(*case)
    assert found.values == reference.values
    assert bool(found.refusal) == bool(reference.refusal)
    if found.refusal is None:
        assert found.missing == reference.missing


@pytest.mark.parametrize("case", ["breast1", "brain1"])
@pytest.mark.cases
def test_real_images_equal_the_plain_call(cases: Path, case: str) -> None:
    image, labels = (cases / "radiomics" / f"{case}_{kind}.nrrd" for kind in ("image", "label"))
    reference = plain_call(sitk.ReadImage(str(image)), sitk.ReadImage(str(labels)), ALL)
    assert len(reference.values) == 851
    assert_same(extract_files(image, labels, ALL), reference)


def test_an_exam_has_every_feature_under_its_full_name() -> None:
    small = volume(noise((16, 18, 18)))
    large = volume(noise((16, 18, 18), seed=2))
    tumor, nodes = region(small, S[5:10, 5:11, 5:11]), region(small, S[6:9, 12:15, 3:7])
    found = extract(
        {"t1c": small, "t2": large},
        {("t1c", "tumor"): tumor, ("t1c", "lymph_nodes"): nodes, ("t2", "tumor"): tumor},
        Features(),
    )
    assert not found.missing
    assert len(found.values) == 3 * 851
    assert {name.rsplit(".", 1)[0] for name in found.values} == {"t1c.tumor", "t1c.lymph_nodes", "t2.tumor"}
    reference = plain_extract(large, tumor, ALL)
    assert all(found.values[f"t2.tumor.{name}"] == value for name, value in reference.values.items())
    assert len(found.diagnostics) == 3 * 12
    assert found.diagnostics["t1c.tumor.diagnostics_Mask-original_BoundingBox"] == [5, 5, 5, 6, 6, 5]
    levels = small.voxels_zyx[tumor.voxels_zyx] // 25
    assert found.grey_levels["t1c.tumor"] == levels.max() - levels.min() + 1


def test_the_grid_of_a_sequence_decides_its_shape_features() -> None:
    thin, thick = volume(noise((16, 18, 18)), (0.8, 0.8, 1.2)), volume(noise((16, 18, 18)), (0.8, 0.8, 4.0))
    mask = region(thin, S[5:10, 5:11, 5:11])
    found = extract(
        {"t1c": thin, "t2": thick},
        {("t1c", "tumor"): mask, ("t2", "tumor"): Mask(mask.voxels_zyx, thick.geometry)},
        Features(),
    )
    name = "original_shape_VoxelVolume"
    assert found.values[f"t2.tumor.{name}"] == pytest.approx(found.values[f"t1c.tumor.{name}"] * 4.0 / 1.2)


def test_a_wanted_subset_has_the_same_bits_and_nothing_else() -> None:
    image = volume(noise((16, 18, 18)))
    mask = region(image, S[5:10, 5:11, 5:11])
    every = extract({"adc": image}, {("adc", "tumor"): mask}, Features()).values
    wanted = frozenset(sorted(every)[::5])
    found = extract({"adc": image}, {("adc", "tumor"): mask}, Features(set="signature"), wanted)
    assert found.values == {name: every[name] for name in every if name in wanted}
    assert not found.missing


def test_a_grid_of_its_own_is_refused_not_resampled() -> None:
    image = volume(noise((16, 18, 18)))
    mask = Mask(region(image, S[5:10, 5:11, 5:11]).voxels_zyx, grid((16, 18, 18), (0.9, 0.8, 1.2)))
    found = extract_sequence(image, {"tumor": mask}, ALL)["tumor"]
    assert not found.values
    assert "geometry mismatch" in next(iter(found.missing.values()))


def test_several_processes_find_what_one_does_to_the_last_bit_and_in_its_order() -> None:
    image, other = volume(noise((16, 18, 18))), volume(noise((16, 18, 18), seed=2))
    flat = volume(np.full((16, 18, 18), 7, np.int16))
    masks = {
        ("t1c", "lymph_nodes"): region(image, S[6:9, 12:15, 3:7]),
        ("t1c", "tumor"): region(image, S[5:10, 5:11, 5:11]),
        ("t2", "tumor"): region(other, S[5:6, 5:6, 5:6]),  # one voxel: refused
        ("t2", "lymph_nodes"): region(other, S[0:4, 5:11, 5:11]),
        ("adc", "tumor"): region(flat, S[5:10, 5:11, 5:11]),  # one value: some features have none
    }
    volumes = {"t1c": image, "t2": other, "adc": flat}
    one = extract(volumes, masks, Features())
    wanted = frozenset(sorted([*one.values, *one.missing])[::7]) | {"t1c.tumor.no_such_feature"}
    for names in (None, wanted):
        one, two = extract(volumes, masks, Features(), names), extract(volumes, masks, Features(), names, processes=2)
        for part in ("values", "missing", "diagnostics", "grey_levels"):
            assert repr(dict(getattr(one, part))) == repr(dict(getattr(two, part)))
        assert one.missing


@pytest.mark.parametrize("imaginary", [0.0, 1e-15])
def test_eigenvalues_of_a_complex_type_change_no_feature(monkeypatch: pytest.MonkeyPatch, imaginary: float) -> None:
    """NumPy 2.5 gives complex eigenvalues for every matrix; rounding can leave an imaginary part on any NumPy."""
    image = volume(noise((20, 24, 26)))
    mask = region(image, S[6:12, 8:15, 9:17], holes=0.2)
    before, eigvals = both(image, mask), np.linalg.eigvals
    asked: list[tuple[int, ...]] = []

    def complex_eigvals(matrices: Any) -> Any:
        asked.append(matrices.shape)
        return eigvals(matrices) + 1j * imaginary

    monkeypatch.setattr(np.linalg, "eigvals", complex_eigvals)
    for found, expected in zip(both(image, mask), before, strict=True):
        assert found.missing == expected.missing == {}
        assert found.values == pytest.approx(expected.values, rel=1e-12, abs=0)
    assert {len(shape) for shape in asked} == {2, 4}, "shape and texture ask for eigenvalues"


def test_a_complex_eigenvalue_of_a_covariance_counts_with_its_real_part(monkeypatch: pytest.MonkeyPatch) -> None:
    image = volume(noise((14, 14, 14)))
    mask = region(image, S[4:5, 4:10, 4:11])
    expected, eigvals = plain_extract(image, mask, ALL).values, np.linalg.eigvals
    monkeypatch.setattr(
        np.linalg, "eigvals", lambda m: eigvals(m) + np.array([1j, -1j, 0])[: m.shape[-1]] * (m.ndim == 2)
    )
    for found in both(image, mask):
        shapes = {n: v for n, v in found.values.items() if "_shape_" in n}
        assert shapes == {n: v for n, v in expected.items() if "_shape_" in n}
        assert len(shapes) == 14


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(3, 5, 7), (17, 90, 91), (2, 256, 256)])
def test_an_image_s_statistics_have_the_bits_of_numpy(dtype: type, shape: tuple[int, int, int]) -> None:
    voxels = noise(shape, dtype)
    assert mean_and_extremes(voxels) == (np.mean(voxels, dtype=np.float64), voxels.min(), voxels.max())
    backwards = voxels[::-1]
    assert mean_and_extremes(backwards)[0] == np.mean(backwards, dtype=np.float64)
