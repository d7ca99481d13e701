"""Every coded concept that a report uses, in one table; a test holds the public ones against pydicom's dictionary.

IBSI codes: Image Biomarker Standardisation Initiative, as PS3.16 uses them. Names on the left are PyRadiomics'.
"""

from __future__ import annotations

from pipeline.records import Code, Sequence, Side

PRIVATE_SCHEME = "99AXRAD"
PRIVATE_NAME = "axrad concepts"


def _dcm(value: str, meaning: str) -> Code:
    return Code(value, "DCM", meaning)


def _sct(value: str, meaning: str) -> Code:
    return Code(value, "SCT", meaning)


def _own(value: str, meaning: str) -> Code:
    return Code(value, PRIVATE_SCHEME, meaning)


TITLE = _dcm("126002", "Dynamic Contrast MR Measurement Report")
TITLE_BASIC_TEXT = Code("18755-9", "LN", "MRI Report")
TITLE_KEY_SLICES = _dcm("126000", "Imaging Measurement Report")
LANGUAGE = _dcm("121049", "Language of Content Item and Descendants")
OBSERVER_TYPE = _dcm("121005", "Observer Type")
DEVICE = _dcm("121007", "Device")
DEVICE_UID = _dcm("121012", "Device Observer UID")
DEVICE_NAME = _dcm("121013", "Device Observer Name")
DEVICE_MANUFACTURER = _dcm("121014", "Device Observer Manufacturer")
DEVICE_MODEL = _dcm("121015", "Device Observer Model Name")
PROCEDURE_REPORTED = _dcm("121058", "Procedure reported")
BREAST_MRI = Code("30794-2", "LN", "MR Breast")
MEASUREMENTS = _dcm("126010", "Imaging Measurements")
GROUP = _dcm("125007", "Measurement Group")
TRACKING_ID = _dcm("112039", "Tracking Identifier")
TRACKING_UID = _dcm("112040", "Tracking Unique Identifier")
FINDING = _dcm("121071", "Finding")
FINDING_SITE = _sct("363698007", "Finding Site")
LATERALITY = _sct("272741003", "Laterality")
METHOD = _sct("370129005", "Measurement Method")
SEGMENT = _dcm("121191", "Referenced Segment")
SOURCE_SERIES = _dcm("121232", "Source series for segmentation")
IMAGE_REGION = _dcm("111030", "Image Region")
SOURCE = _dcm("111040", "Original Source")
AREA = _sct("42798000", "Area")
ALGORITHM_NAME = _dcm("111001", "Algorithm Name")
ALGORITHM_VERSION = _dcm("111003", "Algorithm Version")
ALGORITHM_PARAMETERS = _dcm("111002", "Algorithm Parameters")
QUALITATIVE = Code("C0034375", "UMLS", "Qualitative Evaluations")
CONCLUSION = _dcm("121077", "Conclusion")
CONCLUSIONS = _dcm("121076", "Conclusions")
FINDINGS = _dcm("121070", "Findings")
COMMENT = _dcm("121106", "Comment")
REJECTED = _dcm("113001", "Rejected for Quality Reasons")
TITLE_MODIFIER = _dcm("113011", "Document Title Modifier")
SUPERSEDED = _own("SUPERSEDED", "Superseded by a newer revision")
KEY_OBJECT_DESCRIPTION = _dcm("113012", "Key Object Description")
SOURCE_REPORT = _dcm("128225", "Source report")
PROCESSING_EQUIPMENT = _dcm("109102", "Processing Equipment")

ABNORMAL_STRUCTURE = _sct("49755003", "Morphologically Abnormal Structure")
ANATOMICAL_STRUCTURE = _sct("91723000", "Anatomical Structure")
LESION = _sct("52988006", "Lesion")
LYMPH_NODE = _sct("59441001", "Lymph node")
SOURCE_IMAGE = _dcm("121322", "Source Image for Image Processing Operation")
SEGMENTATION_DERIVATION = _dcm("113076", "Segmentation")
MASS = _sct("4147007", "Mass")
NON_MASS = _own("NONMASS", "Non-mass enhancement")
AXILLARY_NODE = _sct("68171009", "Axillary lymph node")
BREAST = _sct("76752008", "Breast")
RESULT_STATUS = _own("STATUS", "Status of the result")
PRELIMINARY = _own("PRELIMINARY", "Preliminary: no reader has confirmed the regions")
SIDES: dict[Side, Code] = {"L": _sct("7771000", "Left"), "R": _sct("24028007", "Right")}
RISK: dict[str, Code] = {
    "high": _sct("15508007", "High risk"),
    "low": _sct("75976002", "Low risk"),
    "indeterminate": _sct("64957009", "Uncertain risk"),
}

PROBABILITY = _own("P-ALNM", "ALN metastasis probability")
CUTOFF = _own("CUTOFF", "Cutoff of the probability")
NODES = _own("NODES", "Lymph nodes delineated")
NODE_NUMBER = _own("NODE", "Number of the lymph node")
LONG_AXIS = _sct("103339001", "Long Axis")
SHORT_AXIS = _sct("103340004", "Short Axis")
LESIONS = _own("LESIONS", "Lesions delineated")
RISK_CATEGORY: dict[Side | None, Code] = {
    None: _own("RISK", "Risk category"),
    "L": _own("RISK-L", "Risk category, left side"),
    "R": _own("RISK-R", "Risk category, right side"),
}
SEQUENCE_NAMES: dict[Sequence, str] = {"t1c": "T1+C", "t2": "T2", "adc": "ADC"}

PERCENT = Code("%", "UCUM", "Percent")
ONE = Code("1", "UCUM", "no units")
MM = Code("mm", "UCUM", "mm")
MM2 = Code("mm2", "UCUM", "square millimeter")
MM3 = Code("mm3", "UCUM", "cubic millimeter")
PER_MM = Code("/mm", "UCUM", "/mm")
NODE_UNIT = Code("{nodes}", "UCUM", "nodes")
LESION_UNIT = Code("{lesions}", "UCUM", "lesions")
ADC_UNIT = Code("um2/s", "UCUM", "um2/s")
