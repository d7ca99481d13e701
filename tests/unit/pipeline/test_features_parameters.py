from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from config.schema import Features
from pipeline.errors import InputRejected
from pipeline.features import extract, extract_sequence, from_settings, plain_extract, read
from tests.support.radiomics import noise, region, volume

S = np.s_
YAML = """
imageType:
  Original: {}
featureClass:
  shape: [Elongation, Flatness]
  glcm:
setting:
  binWidth: 10
  minimumROIDimensions: 1
"""
TOML = """
[imageType]
Original = {}
[featureClass]
shape = ["Elongation", "Flatness"]
glcm = []
[setting]
binWidth = 10
minimumROIDimensions = 1
"""


def test_the_default_is_original_and_wavelet_at_bin_width_25_without_normalisation_or_resampling() -> None:
    parameters = from_settings(Features())
    names = ["_".join(parts) for parts in parameters.names()]
    assert len(names) == len(set(names)) == 851
    assert sum(name.startswith("original") for name in names) == 107
    assert sum(name.startswith("wavelet") for name in names) == 744
    assert parameters.settings["binWidth"] == 25
    assert parameters.settings["normalize"] is False
    assert parameters.settings["resampledPixelSpacing"] is None


def test_the_setting_bin_width_is_used() -> None:
    assert from_settings(Features(bin_width=12.5)).settings["binWidth"] == 12.5


def test_a_yaml_and_a_toml_file_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(YAML)
    (tmp_path / "a.toml").write_text(TOML)
    assert read(tmp_path / "a.yaml") == read(tmp_path / "a.toml")


def test_a_file_replaces_the_default_and_collinear_regions_follow_it(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(YAML)
    image = volume(noise((14, 15, 16)))
    mask = region(image, S[5:6, 5:6, 4:10])
    settings = Features(params=tmp_path / "a.yaml")
    found = extract({"t1c": image}, {("t1c", "tumor"): mask}, settings)
    reference = plain_extract(image, mask, from_settings(settings))
    assert {f"t1c.tumor.{n}": v for n, v in reference.values.items()} == dict(found.values)
    assert len(found.values) + len(found.missing) == 26


@pytest.mark.parametrize(
    "text",
    [
        "imageType:\n  LoG: {sigma: [2.0]}\n",
        "imageType:\n  Wavelet: {wavelet: haar}\n",
        "imageType:\n  Original: {}\nfeatureClass:\n  glcm:\nsetting:\n  force2D: true\n",
    ],
)
def test_what_the_crop_is_not_made_for_goes_to_the_plain_call(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    parameters = read(tmp_path / "a.yaml")
    assert not parameters.local
    image = volume(noise((14, 15, 16), np.float32))
    mask = region(image, S[4:10, 5:11, 5:11])
    found = extract_sequence(image, {"tumor": mask}, parameters)["tumor"]
    assert found.values
    assert found.values == plain_extract(image, mask, parameters).values


@pytest.mark.parametrize(
    "text",
    [
        "imageType:\n  Original: {}\nsetting:\n  binWidth: 10\n  label: 3\n  distances: [1, 2]\n",
        "imageType:\n  Original: {}\n  Wavelet: {}\nsetting:\n  binCount: 16\n  symmetricalGLCM: false\n",
        "imageType:\n  Original: {}\nsetting:\n  weightingNorm: euclidean\n  gldm_a: 1\n  voxelArrayShift: 50\n",
    ],
)
def test_settings_that_stay_local_keep_the_crop_exact(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    parameters = read(tmp_path / "a.yaml")
    assert parameters.local
    image = volume(noise((14, 15, 16), np.float32))
    mask = region(image, S[4:10, 5:11, 5:11], holes=0.2)
    found = extract_sequence(image, {"tumor": mask}, parameters)["tumor"]
    assert len(found.values) >= 105
    assert found.values == plain_extract(image, mask, parameters).values


@pytest.mark.parametrize(
    "text",
    [
        "imageType: {Nonsense: {}}",
        "imageType: [",
        "featureClass: {glcm: [Nope]}",
        "setting: {binWidth: -1}",
        "[]",
        "",
        "featureClass: {shape2D: }",
    ],
)
def test_a_file_that_pyradiomics_does_not_accept_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "wrong.yaml").write_text(text)
    with pytest.raises(InputRejected, match=r"wrong\.yaml"):
        read(tmp_path / "wrong.yaml")


def test_a_file_that_is_not_there_or_no_toml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("a = ")
    for name in ("b.yaml", "a.toml"):
        with pytest.raises(InputRejected, match=name):
            read(tmp_path / name)
