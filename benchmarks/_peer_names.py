"""What other programs call the features that they define as PyRadiomics does, or as IBSI does where PyRadiomics agrees.

pictologics ends its names in IBSI's codes. Its co-occurrence and run-length matrices are sums over directions, where
PyRadiomics averages features over them, so these are left out. RadiomicsJ's bins start at the region's minimum, where
PyRadiomics' start at a multiple of the width, so its texture is left out.
"""

from __future__ import annotations

NYXUS = {
    "3ENERGY": "Energy",
    "3INTERQUARTILE_RANGE": "InterquartileRange",
    "3KURTOSIS": "Kurtosis",
    "3MAX": "Maximum",
    "3MEAN": "Mean",
    "3MEAN_ABSOLUTE_DEVIATION": "MeanAbsoluteDeviation",
    "3MEDIAN": "Median",
    "3MIN": "Minimum",
    "3P10": "10Percentile",
    "3P90": "90Percentile",
    "3RANGE": "Range",
    "3ROBUST_MEAN_ABSOLUTE_DEVIATION": "RobustMeanAbsoluteDeviation",
    "3ROOT_MEAN_SQUARED": "RootMeanSquared",
    "3SKEWNESS": "Skewness",
    "3VARIANCE_BIASED": "Variance",
}

_FIRST_ORDER = {
    "Q4LE": "Mean", "ECT3": "Variance", "KE2A": "Skewness", "Y12H": "Median", "1GSF": "Minimum", "QG58": "10Percentile",
    "8DWT": "90Percentile", "84IY": "Maximum", "SALO": "InterquartileRange", "2OJQ": "Range",
    "4FUA": "MeanAbsoluteDeviation", "1128": "RobustMeanAbsoluteDeviation", "N8CA": "Energy", "5ZWQ": "RootMeanSquared",
    "TLU2": "Entropy", "BJ5W": "Uniformity",
}  # fmt: skip
_SHAPE = {
    "RNU0": "MeshVolume", "YEKZ": "VoxelVolume", "C0JK": "SurfaceArea", "2PR5": "SurfaceVolumeRatio",
    "QCFX": "Sphericity", "L0JK": "Maximum3DDiameter", "Q3CK": "Elongation", "N17B": "Flatness",
}  # fmt: skip
_GLSZM = {
    "P001": "SmallAreaEmphasis", "48P8": "LargeAreaEmphasis", "JNSA": "GrayLevelNonUniformity",
    "Y1RO": "GrayLevelNonUniformityNormalized", "4JP3": "SizeZoneNonUniformity",
    "VB3A": "SizeZoneNonUniformityNormalized", "P30P": "ZonePercentage", "BYLV": "GrayLevelVariance",
    "3NSA": "ZoneVariance", "GU8N": "ZoneEntropy", "XMSY": "LowGrayLevelZoneEmphasis",
    "5GN9": "HighGrayLevelZoneEmphasis", "5RAI": "SmallAreaLowGrayLevelEmphasis",
    "HW1V": "SmallAreaHighGrayLevelEmphasis", "YH51": "LargeAreaLowGrayLevelEmphasis",
    "J17V": "LargeAreaHighGrayLevelEmphasis",
}  # fmt: skip
_NGTDM = {
    "QCDE": "Coarseness", "65HE": "Contrast", "NQ30": "Busyness", "HDEZ": "Complexity", "1X9X": "Strength",
}  # fmt: skip
_GLDM = {
    "SODN": "SmallDependenceEmphasis", "IMOQ": "LargeDependenceEmphasis", "TL9H": "LowGrayLevelEmphasis",
    "OAE7": "HighGrayLevelEmphasis", "EQ3F": "SmallDependenceLowGrayLevelEmphasis",
    "JA6D": "SmallDependenceHighGrayLevelEmphasis", "NBZI": "LargeDependenceLowGrayLevelEmphasis",
    "9QMG": "LargeDependenceHighGrayLevelEmphasis", "FP8K": "GrayLevelNonUniformity",
    "Z87G": "DependenceNonUniformity", "OKJI": "DependenceNonUniformityNormalized", "1PFV": "GrayLevelVariance",
    "DNX2": "DependenceVariance", "FCBV": "DependenceEntropy",
}  # fmt: skip
_CLASSES = {"firstorder": _FIRST_ORDER, "shape": _SHAPE, "glszm": _GLSZM, "ngtdm": _NGTDM, "gldm": _GLDM}
PICTOLOGICS = {code: f"original_{c}_{name}" for c, names in _CLASSES.items() for code, name in names.items()}

_STATISTICS = {
    "Mean": "Mean", "Variance": "Variance", "Skewness": "Skewness", "Median": "Median", "Minimum": "Minimum",
    "Percentile10": "10Percentile", "Percentile90": "90Percentile", "Maximum": "Maximum",
    "Interquartile": "InterquartileRange", "Range": "Range", "MeanAbsoluteDeviation": "MeanAbsoluteDeviation",
    "RobustMeanAbsoluteDeviation": "RobustMeanAbsoluteDeviation", "Energy": "Energy",
    "RootMeanSquared": "RootMeanSquared", "TotalEnergy": "TotalEnergy",
}  # fmt: skip
_MORPHOLOGY = {
    "VolumeMesh": "MeshVolume", "VolumeVoxelCounting": "VoxelVolume", "SurfaceAreaMesh": "SurfaceArea",
    "SurfaceToVolumeRatio": "SurfaceVolumeRatio", "Sphericity": "Sphericity", "Maximum3DDiameter": "Maximum3DDiameter",
    "Elongation": "Elongation", "Flatness": "Flatness",
}  # fmt: skip
RADIOMICSJ = {
    **{f"IntensityBasedStatistical_{theirs}": f"original_firstorder_{name}" for theirs, name in _STATISTICS.items()},
    **{f"Morphology_{theirs}": f"original_shape_{name}" for theirs, name in _MORPHOLOGY.items()},
}


def plain(name: str) -> str:
    """A name without what spellings differ in: `firstorder:10th_percentile` as `firstorder10percentile`."""
    return name.lower().replace("_", "").replace(":", "").replace("10th", "10").replace("90th", "90")
