"""The names of what settings make, without an image, are those that an extraction gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from config.schema import Features
from pipeline.features import columns_made, names_made, plain_extract, read
from pipeline.signature.family import demonstration
from tests.support.radiomics import noise, region, volume

S = np.s_


@pytest.mark.parametrize(
    "text",
    [
        "imageType: {Original: {}}\n",
        "imageType: {LoG: {sigma: [1, 2.0, 3.5]}}\nfeatureClass: {firstorder: [Mean]}\n",
        "imageType: {Wavelet: {level: 2}}\nfeatureClass: {firstorder: [Mean], shape: }\n",
        "imageType: {Wavelet: {start_level: 1}}\nfeatureClass: {firstorder: [Mean]}\n",
        "imageType: {Original: {}, Wavelet: {}}\nfeatureClass: {firstorder: [Mean], shape2D: }\n"
        "setting: {force2D: true}\n",
        "imageType: {Square: {}, SquareRoot: {}, Logarithm: {}, Exponential: {}, Gradient: {}}\n"
        "featureClass: {firstorder: [Mean, Entropy]}\n",
    ],
)
def test_the_names_are_those_that_an_extraction_gives(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    parameters = read(tmp_path / "a.yaml")
    image = volume(noise((14, 15, 16), np.float32))
    one_slice = bool(parameters.settings.get("force2D"))
    mask = region(image, S[5:6, 5:11, 5:11] if one_slice else S[4:10, 5:11, 5:11])
    measured = plain_extract(image, mask, parameters)
    given = {*measured.values, *(n for n, why in measured.missing.items() if why != "PyRadiomics gives no value.")}
    assert names_made(parameters) == given


def test_the_shipped_settings_make_851_columns_per_region_and_sequence() -> None:
    made = columns_made(Features())
    assert len(made) == 5106
    assert "adc.lymph_nodes.wavelet-LLL_firstorder_Mean" in made
    assert "adc.lymph_nodes.wavelet_LLL_firstorder_Mean" not in made


def test_the_shipped_demonstration_reads_only_what_is_made() -> None:
    made = columns_made(Features())
    assert {f for s in demonstration() for f in s.features} <= made
