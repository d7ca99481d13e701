from __future__ import annotations

import pytest
import radiomics
from pydicom.sr._concepts_dict import concepts

from dicom_sr import feature_codes
from dicom_sr.checks.content import ASSERT_DISEASE, table

# Meanings that PS3.16 and pydicom spell differently from their own keyword tables.
PUBLIC = ("DCM", "IBSI", "SCT", "UCUM", "LN", "UMLS")


def _dictionary() -> dict[tuple[str, str], set[str]]:
    known: dict[tuple[str, str], set[str]] = {}
    for scheme, keywords in concepts.items():
        for entry in keywords.values():
            for value, (meaning, *_) in entry.items():
                known.setdefault((scheme, value), set()).add(meaning)
    return known


def test_public_codes_mean_what_the_standard_says() -> None:
    known = _dictionary()
    wrong = {
        pair: (meaning, known[pair])
        for pair, meaning in table().items()
        if pair in known and meaning.lower() not in {m.lower() for m in known[pair]}
    }
    assert wrong == {}


def test_codes_of_dicom_and_ibsi_are_all_in_the_dictionary() -> None:
    known = _dictionary()
    assert {pair for pair in table() if pair[0] in ("DCM", "IBSI", "SCT") and pair not in known} == set()


def test_codes_fit_their_value_representations() -> None:
    for (scheme, value), meaning in table().items():
        assert len(value) <= 16
        assert len(scheme) <= 16
        assert 0 < len(meaning) <= 64
        assert value.isascii()
        assert meaning.isascii()


def test_no_code_has_two_meanings() -> None:
    every = [*feature_codes.public_and_private(), *feature_codes.units()]
    assert len({(c.scheme, c.value) for c in every}) == len({(c.scheme, c.value, c.meaning) for c in every})


def test_no_code_of_ours_asserts_disease() -> None:
    assert ASSERT_DISEASE.isdisjoint(table())


def test_every_feature_of_pyradiomics_has_a_code_and_a_unit() -> None:
    radiomics.setVerbosity(60)
    for family in ("shape", "firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm"):
        names = [n for n, old in radiomics.getFeatureClasses()[family].getFeatureNames().items() if not old]
        assert names
        for feature in names:
            name = feature_codes.FeatureName("t1c", "tumor", "original", family, feature)
            assert feature_codes.concept(name) is not None, name


@pytest.mark.parametrize(
    "name", ["age_years", "t1c.tumor", "t1c.tumor.diagnostics_Image-original_Mean", "t3.tumor.original_glcm_Idm"]
)
def test_what_is_no_radiomic_feature_has_no_code(name: str) -> None:
    assert feature_codes.FeatureName.parse(name) is None


def test_intensities_of_adc_have_the_unit_of_diffusion() -> None:
    mean = feature_codes.FeatureName("adc", "tumor", "original", "firstorder", "Mean")
    coded = feature_codes.concept(mean)
    assert coded is not None
    assert coded[1].value == "um2/s"
