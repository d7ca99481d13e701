"""IBSI's grid, rounding and mask as a named mode beside PyRadiomics' own; held against the definition."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner
from hypothesis import given
from hypothesis import settings as trying
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import ndimage

from config.schema import Features, SequenceFeatures, Settings
from daemon.cli.extract import extract as command
from pipeline.extraction_settings import FIRST_DEFAULTS_HASH, as_trained, form_of, hash_of, settings_hash
from pipeline.features import extract, preparation
from pipeline.features.parameters import for_sequence
from pipeline.features.region import find
from pipeline.records import Mask, Volume
from tests.support.radiomics import noise, region, volume

S = np.s_


def prepared(image: Volume, mask: Mask, **rule: object) -> preparation.Prepared:
    parameters = for_sequence(Features(t1c=SequenceFeatures.model_validate({"grid": "ibsi", **rule})), "t1c")
    return preparation.prepare(image, find(mask.voxels_zyx), parameters, preparation.of_image(image, parameters))


def by_definition(image: Volume, mask: Mask, size: float, order: int) -> tuple[np.ndarray, np.ndarray]:
    """The whole image on IBSI's grid: centres coincide, ceil(n * old / new) voxels; the mask by half."""
    old = np.array(image.geometry.spacing_xyz_mm[::-1])
    shape = np.array(image.geometry.shape_zyx)
    count = np.ceil(np.round(shape * old / size, 6)).astype(int)
    axes = [(np.arange(n) - (n - 1) / 2) * size / o + (m - 1) / 2 for n, o, m in zip(count, old, shape, strict=True)]
    where = np.stack(np.meshgrid(*axes, indexing="ij"))
    values = image.voxels_zyx.astype(np.float64)
    inside = ndimage.map_coordinates(mask.voxels_zyx.astype(np.float64), where, order=1, mode="nearest")
    return ndimage.map_coordinates(values, where, order=order, mode="mirror"), inside >= 0.5 - 1e-6


@trying(max_examples=12, deadline=None)
@given(
    st.integers(0, 2**16), st.sampled_from([0.6, 1.0, 1.3, 2.0]), st.sampled_from([(0.8, 0.7, 2.0), (1.0, 1.0, 1.0)])
)
def test_grid_values_and_mask_are_those_of_the_definition(
    seed: int, size: float, spacing: tuple[float, float, float]
) -> None:
    rng = np.random.default_rng(seed)
    image = volume((rng.normal(size=(12, 24, 26)) * 300).astype(np.float64), spacing)
    low = rng.integers(0, 6, 3)
    mask = region(image, tuple(slice(int(a), int(a) + 5) for a in low), holes=0.1)
    ready = prepared(image, mask, voxel_mm=size)
    values, inside = by_definition(image, mask, size, 3)
    # The prepared part lies somewhere on the whole grid: its origin tells where.
    shape, old = np.array(image.geometry.shape_zyx), np.array(spacing[::-1])
    count = np.array(values.shape)
    first = np.array(image.geometry.origin_xyz_mm[::-1]) + ((shape - 1) * old - (count - 1) * size) / 2
    start = np.rint((np.array(ready.volume.geometry.origin_xyz_mm[::-1]) - first) / size).astype(int)
    np.testing.assert_allclose(first + start * size, ready.volume.geometry.origin_xyz_mm[::-1], atol=1e-9)
    part = tuple(slice(a, a + n) for a, n in zip(start, ready.volume.geometry.shape_zyx, strict=True))
    np.testing.assert_array_equal(ready.mask.voxels_zyx, inside[part])
    assert ready.mask.voxels_zyx.sum() == inside.sum()
    np.testing.assert_allclose(ready.volume.voxels_zyx, values[part], rtol=1e-7, atol=1e-6)


def test_integers_are_rounded_to_the_nearest_and_not_towards_zero() -> None:
    image = volume(noise((12, 24, 26), np.int16, scale=40.0), (0.8, 0.7, 2.0))
    mask = region(image, S[3:8, 6:14, 7:15])
    exact = prepared(volume(image.voxels_zyx.astype(np.float64), (0.8, 0.7, 2.0)), mask, voxel_mm=1.0)
    rounded = prepared(image, mask, voxel_mm=1.0)
    assert rounded.volume.voxels_zyx.dtype == np.int16
    np.testing.assert_array_equal(rounded.volume.voxels_zyx, np.rint(exact.volume.voxels_zyx).astype(np.int16))


def test_both_engines_agree_and_the_mode_is_another_than_pyradiomics() -> None:
    image = volume(noise((12, 24, 26), np.float32, scale=40.0), (0.8, 0.7, 2.0))
    mask = region(image, S[3:8, 6:14, 7:15], holes=0.1)

    def values(grid: str, engine: str = "fast") -> dict[str, float]:
        rule = SequenceFeatures.model_validate({"voxel_mm": 1.0, "grid": grid})
        settings = Features.model_validate({"t1c": rule, "engine": engine})
        return dict(extract({"t1c": image}, {("t1c", "tumor"): mask}, settings).values)

    ibsi, usual = values("ibsi"), values("pyradiomics")
    assert ibsi == values("ibsi", "plain")
    assert usual.keys() == ibsi.keys()
    assert sum(usual[name] != ibsi[name] for name in usual) > 800


def test_settings_of_before_the_mode_have_their_hash_and_their_grid() -> None:
    assert settings_hash(Settings()) == FIRST_DEFAULTS_HASH
    early = Settings(features=Features(t1c=SequenceFeatures(voxel_mm=1.0)))
    form = form_of(early)
    assert "grid" not in form["features"]["t1c"]
    assert as_trained(hash_of(form), form, Settings(), "s").features.t1c.grid == "pyradiomics"
    later = Settings(features=Features(t1c=SequenceFeatures(voxel_mm=1.0, grid="ibsi")))
    assert settings_hash(later) != settings_hash(early)
    again = as_trained(settings_hash(later), form_of(later), Settings(), "s")
    assert settings_hash(again) == settings_hash(later)
    assert again.features.t1c.grid == "ibsi"
    with pytest.raises(ValidationError, match="voxel_mm"):
        SequenceFeatures(grid="ibsi")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    image = volume(noise((12, 24, 26), np.float32, scale=40.0), (0.8, 0.7, 2.0))
    mask = region(image, S[3:8, 6:14, 7:15])
    for name, array in (("image", image.voxels_zyx), ("mask", mask.voxels_zyx.astype(np.uint8))):
        written = sitk.GetImageFromArray(array)
        written.SetSpacing((0.8, 0.7, 2.0))
        sitk.WriteImage(written, str(tmp_path / f"{name}.nrrd"))
    return tmp_path / "image.nrrd", tmp_path / "mask.nrrd"


def test_a_named_sequence_is_prepared_as_its_settings_say(files: tuple[Path, Path], tmp_path: Path) -> None:
    config = tmp_path / "axrad.toml"
    config.write_text('[features.t2]\nstandardise = "body"\nbins = 16\nvoxel_mm = 1.0\ngrid = "ibsi"\n')
    options = ["--image", str(files[0]), "--mask", str(files[1]), "--json", "--config", str(config)]

    def answer(*more: str) -> dict[str, object]:
        done = CliRunner().invoke(command, [*options, *more])
        assert done.exit_code == 0, done.output
        return dict(json.loads(done.stdout))

    plain, t1c, t2 = answer(), answer("--sequence", "t1c"), answer("--sequence", "t2")
    assert plain == t1c
    assert t2["grey_levels"] == 16
    assert t2["diagnostics"]["diagnostics_Image-interpolated_Spacing"] == [1.0, 1.0, 1.0]
    refused = CliRunner().invoke(command, [str(tmp_path), "--out", str(tmp_path / "t.csv"), "--sequence", "t2"])
    assert refused.exit_code == 2
