"""The IBSI-1 digital phantom: bin width 1, matrices in 3D, averaged over directions (GLCM, GLRLM).

Reference values and tolerances: Image Biomarker Standardisation Initiative, consensus of teams, as published with the
phantom. A value agrees if it rounds to the reference at three significant digits or lies within the tolerance.
"""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import pytest

from config.schema import Features
from pipeline.features import RoiFeatures, from_settings
from pipeline.features.from_files import extract_files
from pipeline.features.ibsi import NAMES

pytestmark = pytest.mark.cases

# In PyRadiomics, in no entry of IBSI-1: TotalEnergy, MCC, and the diameters per plane
WITHOUT_REFERENCE = {
    "original_firstorder_TotalEnergy",
    "original_glcm_MCC",
    "original_shape_Maximum2DDiameterColumn",
    "original_shape_Maximum2DDiameterRow",
    "original_shape_Maximum2DDiameterSlice",
}

VOXELS = 74
# PyRadiomics' covariance of the voxel positions divides by N, IBSI's principal components by N - 1. MajorAxisLength
# deviates by the same factor and stays within its tolerance.
PER_VOXEL = math.sqrt(VOXELS / (VOXELS - 1))
# Tag → what turns PyRadiomics' number into IBSI's. Whatever is not here has to agree as it is.
DEVIATIONS = {
    "stat_kurt": lambda value: value - 3,  # not the excess
    "morph_pca_min_axis": lambda value: value * PER_VOXEL,
    "morph_pca_least_axis": lambda value: value * PER_VOXEL,
}


@pytest.fixture(scope="module")
def reference(cases: Path) -> dict[str, tuple[float, float]]:
    """Tag to consensus value and tolerance."""
    path = cases / "ibsi" / "ibsi_1_reference_values_digital_phantom.csv"
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return {
            row["tag"]: (float(row["reference value"]), float(row["tolerance"] or 0))
            for row in csv.DictReader(stream)
            if row["reference value"]
        }


@pytest.fixture(scope="module")
def found(cases: Path) -> RoiFeatures:
    defaults = from_settings(Features(bin_width=1.0))
    folder = cases / "ibsi" / "ibsi_1_digital_phantom" / "nifti"
    parameters = replace(defaults, image_types={"Original": {}})
    return extract_files(folder / "image" / "phantom.nii.gz", folder / "mask" / "mask.nii.gz", parameters)


def agrees(value: float, consensus: float, tolerance: float) -> bool:
    return abs(value - consensus) <= tolerance or float(f"{value:.3g}") == consensus


@pytest.mark.parametrize("tag", NAMES)
def test_the_feature_agrees_with_the_consensus(
    tag: str, found: RoiFeatures, reference: dict[str, tuple[float, float]]
) -> None:
    value = found.values[NAMES[tag]]
    if tag in DEVIATIONS:
        assert not agrees(value, *reference[tag]), "the deviation is gone; take it off the table"
        value = DEVIATIONS[tag](value)
    assert agrees(value, *reference[tag]), f"{NAMES[tag]} = {value}, consensus {reference[tag]}"


def test_no_feature_of_pyradiomics_is_left_out(found: RoiFeatures) -> None:
    assert set(NAMES.values()) | WITHOUT_REFERENCE == set(found.values)
    assert not found.missing
    assert found.diagnostics["diagnostics_Mask-original_VoxelNum"] == VOXELS
    assert found.grey_levels == 6
