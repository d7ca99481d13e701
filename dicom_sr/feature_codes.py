"""PyRadiomics' feature names as coded concepts with units.

IBSI codes where PS3.16 has them (pydicom's dictionary is the check), the general statistics of CID 7464 for
intensities, and declared private codes for what neither names. PyRadiomics' kurtosis is not the excess kurtosis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from dicom_sr.codes import MM, MM2, MM3, ONE, PER_MM, PRIVATE_SCHEME, SEQUENCE_NAMES
from pipeline.records import Code, Role, Sequence

VOLUME = Code("YEKZ", "IBSI", "Volume from Voxel Summation")
_SHAPE: dict[str, tuple[str, str, Code]] = {
    "MeshVolume": ("RNU0", "Volume of Mesh", MM3),
    "VoxelVolume": ("YEKZ", "Volume from Voxel Summation", MM3),
    "SurfaceArea": ("C0JK", "Surface Area of Mesh", MM2),
    "SurfaceVolumeRatio": ("2PR5", "Surface to Volume Ratio", PER_MM),
    "Sphericity": ("QCFX", "Sphericity", ONE),
    "Maximum3DDiameter": ("L0JK", "Maximum 3D Diameter of a Mesh", MM),
    "MajorAxisLength": ("TDIC", "Major Axis in 3D Length", MM),
    "MinorAxisLength": ("P9VJ", "Minor Axis in 3D Length", MM),
    "LeastAxisLength": ("7J51", "Least Axis in 3D Length", MM),
    "Elongation": ("Q3CK", "Elongation", ONE),
    "Flatness": ("N17B", "Flatness", ONE),
}
_GLCM = {
    "Autocorrelation": ("QWB0", "Autocorrelation of GLCM"),
    "JointAverage": ("60VM", "Joint Average of GLCM"),
    "ClusterProminence": ("AE86", "Cluster Prominence of GLCM"),
    "ClusterShade": ("7NFM", "Cluster Shade of GLCM"),
    "ClusterTendency": ("DG8W", "Cluster Tendency of GLCM"),
    "Contrast": ("ACUI", "Contrast of GLCM"),
    "Correlation": ("NI2N", "Correlation of GLCM"),
    "DifferenceAverage": ("TF7R", "Difference Average of GLCM"),
    "DifferenceEntropy": ("NTRS", "Difference Entropy of GLCM"),
    "DifferenceVariance": ("D3YU", "Difference Variance of GLCM"),
    "Id": ("IB1Z", "Inverse Difference of GLCM"),
    "Idm": ("WF0Z", "Inverse Difference Moment of GLCM"),
    "Idmn": ("1QCO", "Normalized Inverse Difference Moment of GLCM"),
    "Idn": ("NDRX", "Normalized Inverse Difference of GLCM"),
    "Imc1": ("R8DG", "First Measure of Information Correlation of GLCM"),
    "Imc2": ("JN9H", "Second Measure of Information Correlation of GLCM"),
    "InverseVariance": ("E8JP", "Inverse Variance of GLCM"),
    "JointEnergy": ("8ZQL", "Angular Second Moment of GLCM"),
    "JointEntropy": ("TU9B", "Joint Entropy of GLCM"),
    "MaximumProbability": ("GYBY", "Joint Maximum of GLCM"),
    "SumAverage": ("ZGXS", "Sum Average of GLCM"),
    "SumEntropy": ("P6QZ", "Sum Entropy of GLCM"),
    "SumSquares": ("UR99", "Joint Variance of GLCM"),
}
_GLRLM = {
    "GrayLevelNonUniformity": ("R5YN", "Gray Level Nonuniformity in Runs"),
    "GrayLevelNonUniformityNormalized": ("OVBL", "Normalized Gray Level Nonuniformity in Runs"),
    "GrayLevelVariance": ("8CE5", "Gray Level Variance in Runs"),
    "HighGrayLevelRunEmphasis": ("G3QZ", "High Gray Level Run Emphasis"),
    "LongRunEmphasis": ("W4KF", "Long Runs Emphasis"),
    "LongRunHighGrayLevelEmphasis": ("3KUM", "Long Run High Gray Level Emphasis"),
    "LongRunLowGrayLevelEmphasis": ("IVPO", "Long Run Low Gray Level Emphasis"),
    "LowGrayLevelRunEmphasis": ("V3SW", "Low Gray Level Run Emphasis"),
    "RunEntropy": ("HJ9O", "Run Entropy"),
    "RunLengthNonUniformity": ("W92Y", "Run Length Nonuniformity"),
    "RunLengthNonUniformityNormalized": ("IC23", "Normalized Run Length Nonuniformity"),
    "RunPercentage": ("9ZK5", "Run Percentage"),
    "RunVariance": ("SXLW", "Run Length Variance"),
    "ShortRunEmphasis": ("22OV", "Short Runs Emphasis"),
    "ShortRunHighGrayLevelEmphasis": ("GD3A", "Short Run High Gray Level Emphasis"),
    "ShortRunLowGrayLevelEmphasis": ("HTZT", "Short Run Low Gray Level Emphasis"),
}
_GLSZM = {
    "GrayLevelNonUniformity": ("JNSA", "Gray Level Nonuniformity of Size Zone Counts"),
    "GrayLevelNonUniformityNormalized": ("Y1RO", "Normalized Gray Level Nonuniformity of Size Zone Counts"),
    "GrayLevelVariance": ("BYLV", "Gray Level Variance in Size Zones"),
    "HighGrayLevelZoneEmphasis": ("5GN9", "High Gray Level Zone Emphasis"),
    "LargeAreaEmphasis": ("48P8", "Large Zone Emphasis"),
    "LargeAreaHighGrayLevelEmphasis": ("J17V", "Large Zone High Gray Level Emphasis"),
    "LargeAreaLowGrayLevelEmphasis": ("YH51", "Large Zone Low Gray Level Emphasis"),
    "LowGrayLevelZoneEmphasis": ("XMSY", "Low Gray Level Zone Emphasis"),
    "SizeZoneNonUniformity": ("4JP3", "Zone Size Nonuniformity"),
    "SizeZoneNonUniformityNormalized": ("VB3A", "Normalized Zone Size Nonuniformity"),
    "SmallAreaEmphasis": ("5QRC", "Small Zone Emphasis"),
    "SmallAreaHighGrayLevelEmphasis": ("HW1V", "Small Zone High Gray Level Emphasis"),
    "SmallAreaLowGrayLevelEmphasis": ("5RAI", "Small Zone Low Gray Level Emphasis"),
    "ZoneEntropy": ("GU8N", "Zone Size Entropy"),
    "ZonePercentage": ("P30P", "Size Zone Percentage"),
    "ZoneVariance": ("3NSA", "Zone Size Variance"),
}
_GLDM = {
    "DependenceEntropy": ("FCBV", "Dependence count entropy"),
    "DependenceNonUniformity": ("Z87G", "Dependence count non-uniformity"),
    "DependenceNonUniformityNormalized": ("OKJI", "Dependence count non-uniformity normalized"),
    "DependenceVariance": ("DNX2", "Dependence count variance"),
    "GrayLevelNonUniformity": ("FP8K", "Grey level non-uniformity of NGLDM"),
    "GrayLevelVariance": ("1PFV", "Grey level variance of NGLDM"),
    "HighGrayLevelEmphasis": ("OAE7", "High grey level count emphasis"),
    "LargeDependenceEmphasis": ("IMOQ", "High dependence emphasis"),
    "LargeDependenceHighGrayLevelEmphasis": ("9QMG", "High dependence high grey level emphasis"),
    "LargeDependenceLowGrayLevelEmphasis": ("NBZI", "High dependence low grey level emphasis"),
    "LowGrayLevelEmphasis": ("TL9H", "Low grey level count emphasis"),
    "SmallDependenceEmphasis": ("SODN", "Low dependence emphasis"),
    "SmallDependenceHighGrayLevelEmphasis": ("JA6D", "Low dependence high grey level emphasis"),
    "SmallDependenceLowGrayLevelEmphasis": ("EQ3F", "Low dependence low grey level emphasis"),
}
_NGTDM = {
    "Busyness": ("NQ30", "Busyness of NGTDM"),
    "Coarseness": ("QCDE", "Coarseness of NGTDM"),
    "Complexity": ("HDEZ", "Complexity of NGTDM"),
    "Contrast": ("65HE", "Contrast of NGTDM"),
    "Strength": ("1X9X", "Strength of NGTDM"),
}
_TEXTURE = {"glcm": _GLCM, "glrlm": _GLRLM, "glszm": _GLSZM, "gldm": _GLDM, "ngtdm": _NGTDM}

# power of the image's unit, code
_FIRST_ORDER: dict[str, tuple[int, Code]] = {
    "10Percentile": (1, Code("FO-P10", PRIVATE_SCHEME, "10th percentile of intensity")),
    "90Percentile": (1, Code("FO-P90", PRIVATE_SCHEME, "90th percentile of intensity")),
    "Energy": (2, Code("FO-ENERGY", PRIVATE_SCHEME, "Energy of intensity")),
    "TotalEnergy": (2, Code("FO-TOTENERGY", PRIVATE_SCHEME, "Energy of intensity times voxel volume")),
    "Entropy": (0, Code("TLU2", "IBSI", "Intensity Histogram Entropy")),
    "Uniformity": (0, Code("BJ5W", "IBSI", "Intensity Histogram Uniformity")),
    "InterquartileRange": (1, Code("FO-IQR", PRIVATE_SCHEME, "Interquartile range of intensity")),
    "Kurtosis": (0, Code("126052", "DCM", "Kurtosis")),
    "Skewness": (0, Code("126051", "DCM", "Skewness")),
    "Maximum": (1, Code("56851009", "SCT", "Maximum")),
    "Minimum": (1, Code("255605001", "SCT", "Minimum")),
    "Mean": (1, Code("373098007", "SCT", "Mean")),
    "Median": (1, Code("373099004", "SCT", "Median")),
    "MeanAbsoluteDeviation": (1, Code("FO-MAD", PRIVATE_SCHEME, "Mean absolute deviation of intensity")),
    "RobustMeanAbsoluteDeviation": (1, Code("FO-RMAD", PRIVATE_SCHEME, "Robust mean absolute deviation of intensity")),
    "Range": (1, Code("FO-RANGE", PRIVATE_SCHEME, "Range of intensity")),
    "RootMeanSquared": (1, Code("FO-RMS", PRIVATE_SCHEME, "Root mean square of intensity")),
    "StandardDeviation": (1, Code("386136009", "SCT", "Standard Deviation")),
    "Variance": (2, Code("FO-VARIANCE", PRIVATE_SCHEME, "Variance of intensity")),
}
_OWN: dict[str, tuple[Code, Code]] = {
    "shape_Maximum2DDiameterSlice": (Code("D2-SLICE", PRIVATE_SCHEME, "Maximum 2D diameter in slices"), MM),
    "shape_Maximum2DDiameterRow": (Code("D2-ROW", PRIVATE_SCHEME, "Maximum 2D diameter in rows"), MM),
    "shape_Maximum2DDiameterColumn": (Code("D2-COLUMN", PRIVATE_SCHEME, "Maximum 2D diameter in columns"), MM),
    "glcm_MCC": (Code("GLCM-MCC", PRIVATE_SCHEME, "Maximal correlation coefficient of GLCM"), ONE),
}
_ARBITRARY = {
    1: Code("[arb'U]", "UCUM", "arbitrary unit"),
    2: Code("[arb'U]2", "UCUM", "arbitrary unit squared"),
}
_DIFFUSION = {1: Code("um2/s", "UCUM", "um2/s"), 2: Code("um4/s2", "UCUM", "um4/s2")}


@dataclass(frozen=True, slots=True, order=True)
class FeatureName:
    """`{sequence}.{role}.{filter}_{family}_{feature}` taken apart; `filter` is "original" or "wavelet-LLH"."""

    sequence: Sequence
    role: Role
    filter: str
    family: str
    feature: str

    @classmethod
    def parse(cls, name: str) -> FeatureName | None:
        """None for what is no radiomic feature: a clinical variable, a diagnostic."""
        sequence, _, rest = name.partition(".")
        role, _, tail = rest.partition(".")
        words = tail.split("_", 2)
        if sequence not in get_args(Sequence) or role not in get_args(Role) or len(words) != 3:
            return None
        if words[0] == "diagnostics":
            return None
        return cls(sequence, role, *words)  # type: ignore[arg-type]


def concept(name: FeatureName) -> tuple[Code, Code] | None:
    """The coded name and the unit of a feature, None if the table has no such feature."""
    key = f"{name.family}_{name.feature}"
    if key in _OWN:
        return _OWN[key]
    if name.family == "shape" and name.feature in _SHAPE:
        value, meaning, unit = _SHAPE[name.feature]
        return Code(value, "IBSI", meaning), unit
    if name.family == "firstorder" and name.feature in _FIRST_ORDER:
        power, code = _FIRST_ORDER[name.feature]
        units = _DIFFUSION if name.sequence == "adc" else _ARBITRARY
        if name.feature == "TotalEnergy":
            unit = Code(units[2].value + ".mm3", "UCUM", units[2].meaning + " mm3")
            return code, unit
        return code, units[power] if power else ONE
    texture = _TEXTURE.get(name.family, {}).get(name.feature)
    return None if texture is None else (Code(texture[0], "IBSI", texture[1]), ONE)


def method(sequence: Sequence, image_filter: str) -> Code:
    """What was measured: which sequence, through which filter (PyRadiomics: undecimated coif1 wavelet)."""
    short = SEQUENCE_NAMES[sequence]
    if image_filter == "original":
        return Code(sequence.upper(), PRIVATE_SCHEME, f"{short}, unfiltered")
    subband = image_filter.removeprefix("wavelet-")
    return Code(f"{sequence.upper()}-{subband}"[:16], PRIVATE_SCHEME, f"{short}, wavelet {subband}"[:64])


def units() -> tuple[Code, ...]:
    """Every unit that a feature can have."""
    powers = (*_ARBITRARY.values(), *_DIFFUSION.values())
    cubes = [Code(u.value + ".mm3", "UCUM", u.meaning + " mm3") for u in (_ARBITRARY[2], _DIFFUSION[2])]
    return (*powers, *cubes)


def public_and_private() -> tuple[Code, ...]:
    """Every feature code of the tables, for checks."""
    shape = [Code(value, "IBSI", meaning) for value, meaning, _ in _SHAPE.values()]
    texture = [Code(v, "IBSI", m) for family in _TEXTURE.values() for v, m in family.values()]
    return (*shape, *texture, *(c for _, c in _FIRST_ORDER.values()), *(c for c, _ in _OWN.values()))
