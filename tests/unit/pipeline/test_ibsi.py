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
from pipeline.features.files import extract_files

pytestmark = pytest.mark.cases

# IBSI's tag → PyRadiomics' name
SHAPE = {
    "morph_volume": "MeshVolume",
    "morph_vol_approx": "VoxelVolume",
    "morph_area_mesh": "SurfaceArea",
    "morph_av": "SurfaceVolumeRatio",
    "morph_sphericity": "Sphericity",
    "morph_diam": "Maximum3DDiameter",
    "morph_pca_maj_axis": "MajorAxisLength",
    "morph_pca_min_axis": "MinorAxisLength",
    "morph_pca_least_axis": "LeastAxisLength",
    "morph_pca_elongation": "Elongation",
    "morph_pca_flatness": "Flatness",
}
FIRST_ORDER = {
    "stat_mean": "Mean",
    "stat_var": "Variance",
    "stat_skew": "Skewness",
    "stat_kurt": "Kurtosis",
    "stat_median": "Median",
    "stat_min": "Minimum",
    "stat_p10": "10Percentile",
    "stat_p90": "90Percentile",
    "stat_max": "Maximum",
    "stat_iqr": "InterquartileRange",
    "stat_range": "Range",
    "stat_mad": "MeanAbsoluteDeviation",
    "stat_rmad": "RobustMeanAbsoluteDeviation",
    "stat_energy": "Energy",
    "stat_rms": "RootMeanSquared",
    "ih_entropy": "Entropy",
    "ih_uniformity": "Uniformity",
}
GLCM = {
    "cm_joint_max": "MaximumProbability",
    "cm_joint_avg": "JointAverage",
    "cm_joint_var": "SumSquares",
    "cm_joint_entr": "JointEntropy",
    "cm_diff_avg": "DifferenceAverage",
    "cm_diff_var": "DifferenceVariance",
    "cm_diff_entr": "DifferenceEntropy",
    "cm_sum_avg": "SumAverage",
    "cm_sum_var": "ClusterTendency",
    "cm_sum_entr": "SumEntropy",
    "cm_energy": "JointEnergy",
    "cm_contrast": "Contrast",
    "cm_dissimilarity": "DifferenceAverage",
    "cm_inv_diff": "Id",
    "cm_inv_diff_norm": "Idn",
    "cm_inv_diff_mom": "Idm",
    "cm_inv_diff_mom_norm": "Idmn",
    "cm_inv_var": "InverseVariance",
    "cm_corr": "Correlation",
    "cm_auto_corr": "Autocorrelation",
    "cm_clust_tend": "ClusterTendency",
    "cm_clust_shade": "ClusterShade",
    "cm_clust_prom": "ClusterProminence",
    "cm_info_corr1": "Imc1",
    "cm_info_corr2": "Imc2",
}
GLRLM = {
    "rlm_sre": "ShortRunEmphasis",
    "rlm_lre": "LongRunEmphasis",
    "rlm_lgre": "LowGrayLevelRunEmphasis",
    "rlm_hgre": "HighGrayLevelRunEmphasis",
    "rlm_srlge": "ShortRunLowGrayLevelEmphasis",
    "rlm_srhge": "ShortRunHighGrayLevelEmphasis",
    "rlm_lrlge": "LongRunLowGrayLevelEmphasis",
    "rlm_lrhge": "LongRunHighGrayLevelEmphasis",
    "rlm_glnu": "GrayLevelNonUniformity",
    "rlm_glnu_norm": "GrayLevelNonUniformityNormalized",
    "rlm_rlnu": "RunLengthNonUniformity",
    "rlm_rlnu_norm": "RunLengthNonUniformityNormalized",
    "rlm_r_perc": "RunPercentage",
    "rlm_gl_var": "GrayLevelVariance",
    "rlm_rl_var": "RunVariance",
    "rlm_rl_entr": "RunEntropy",
}
GLSZM = {
    "szm_sze": "SmallAreaEmphasis",
    "szm_lze": "LargeAreaEmphasis",
    "szm_lgze": "LowGrayLevelZoneEmphasis",
    "szm_hgze": "HighGrayLevelZoneEmphasis",
    "szm_szlge": "SmallAreaLowGrayLevelEmphasis",
    "szm_szhge": "SmallAreaHighGrayLevelEmphasis",
    "szm_lzlge": "LargeAreaLowGrayLevelEmphasis",
    "szm_lzhge": "LargeAreaHighGrayLevelEmphasis",
    "szm_glnu": "GrayLevelNonUniformity",
    "szm_glnu_norm": "GrayLevelNonUniformityNormalized",
    "szm_zsnu": "SizeZoneNonUniformity",
    "szm_zsnu_norm": "SizeZoneNonUniformityNormalized",
    "szm_z_perc": "ZonePercentage",
    "szm_gl_var": "GrayLevelVariance",
    "szm_zs_var": "ZoneVariance",
    "szm_zs_entr": "ZoneEntropy",
}
NGTDM = {
    "ngt_coarseness": "Coarseness",
    "ngt_contrast": "Contrast",
    "ngt_busyness": "Busyness",
    "ngt_complexity": "Complexity",
    "ngt_strength": "Strength",
}
GLDM = {
    "ngl_lde": "SmallDependenceEmphasis",
    "ngl_hde": "LargeDependenceEmphasis",
    "ngl_lgce": "LowGrayLevelEmphasis",
    "ngl_hgce": "HighGrayLevelEmphasis",
    "ngl_ldlge": "SmallDependenceLowGrayLevelEmphasis",
    "ngl_ldhge": "SmallDependenceHighGrayLevelEmphasis",
    "ngl_hdlge": "LargeDependenceLowGrayLevelEmphasis",
    "ngl_hdhge": "LargeDependenceHighGrayLevelEmphasis",
    "ngl_glnu": "GrayLevelNonUniformity",
    "ngl_dcnu": "DependenceNonUniformity",
    "ngl_dcnu_norm": "DependenceNonUniformityNormalized",
    "ngl_gl_var": "GrayLevelVariance",
    "ngl_dc_var": "DependenceVariance",
    "ngl_dc_entr": "DependenceEntropy",
}
NAMES = {
    **{tag: f"original_shape_{name}" for tag, name in SHAPE.items()},
    **{tag: f"original_firstorder_{name}" for tag, name in FIRST_ORDER.items()},
    **{f"{tag}_3D_avg": f"original_glcm_{name}" for tag, name in GLCM.items()},
    **{f"{tag}_3D_avg": f"original_glrlm_{name}" for tag, name in GLRLM.items()},
    **{f"{tag}_3D": f"original_glszm_{name}" for tag, name in GLSZM.items()},
    **{f"{tag}_3D": f"original_ngtdm_{name}" for tag, name in NGTDM.items()},
    **{f"{tag}_3D": f"original_gldm_{name}" for tag, name in GLDM.items()},
}
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
