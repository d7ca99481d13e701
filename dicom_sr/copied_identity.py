"""What an object of ours copies of its source: patient, study and requests, as the source says them.

Nothing that says whose the exam is gets lost: values are copied valid or not, since archives and readers match by them.
Only what has one meaning is written as DICOM wants it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pydicom
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.valuerep import PersonName, validate_value

from dicom_sr.source_text import TEXTS, is_undecoded, plain, shown, texts_of

# PS3.3 C.7.1.1 and C.7.2: type 2 attributes, written even when empty.
REQUIRED = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
)
# Copied where the source has them: archives compare patient and study attributes between the objects of a study.
OPTIONAL = (
    "IssuerOfPatientID",
    "TypeOfPatientID",
    "OtherPatientIDs",
    "OtherPatientNames",
    "PatientBirthTime",
    "EthnicGroup",
    "PatientComments",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "StudyDescription",
    "ClinicalTrialSponsorName",
    "ClinicalTrialProtocolID",
    "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID",
    "ClinicalTrialSiteName",
    "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID",
    "ClinicalTrialTimePointID",
    "ClinicalTrialTimePointDescription",
    "ClinicalTrialCoordinatingCenterName",
    "PhysiciansOfRecord",
    "NameOfPhysiciansReadingStudy",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "Occupation",
    "PregnancyStatus",
    "PatientSexNeutered",
)
# Items of codes and identifiers, copied whole.
SEQUENCES = (
    "IssuerOfPatientIDQualifiersSequence",
    "IssuerOfAccessionNumberSequence",
    "OtherPatientIDsSequence",
    "DeidentificationMethodCodeSequence",
    "ProcedureCodeSequence",
    "ReasonForPerformedProcedureCodeSequence",
)
# PS3.3 C.17.2: what a document says of the request that it fulfils; the same names as in Request Attributes (C.7.3.1).
OF_REQUEST = (
    "AccessionNumber",
    "PlacerOrderNumberImagingServiceRequest",
    "FillerOrderNumberImagingServiceRequest",
    "RequestedProcedureID",
    "RequestedProcedureDescription",
)
# Values of these say something only if they are among the defined ones.
_ALLOWED = {"PatientIdentityRemoved": {"YES", "NO"}}
# Dates of ACR-NEMA (PS3.5 6.2, VR DA: to be read for backward compatibility) and times with colons.
_OLD_DATE = re.compile(r"(\d{4})[.](\d{2})[.](\d{2})")
_OLD_TIME = re.compile(r"(\d{2}):(\d{2})(?::(\d{2}(?:[.]\d{1,6})?))?")
# A number that is none says nothing, and identifies nobody.
NUMBERS = ("DS", "IS")
_LIMITED_VRS = {"CS", "SH", "LO", "DA", "TM", "AS", "DS", "IS", "PN", "UI"}


def patient_study(image: Dataset, default: tuple[str, ...] = ()) -> Dataset:
    """The patient's and the study's attributes as the source says them; type 2 attributes are there even if empty.

    Identifying attributes and descriptions are copied whether or not they are valid; a sequence only if all of it is.
    `default`: the character set where the source declares none.
    """
    copied = Dataset()
    copied.StudyInstanceUID = image.StudyInstanceUID
    # pydicom would warn of each invalid value, and name it: they are checked here, and may be a patient's.
    with pydicom.config.disable_value_validation():
        values = {keyword: as_said(image, keyword, default) for keyword in (*REQUIRED, *OPTIONAL)}
        sequences = {keyword: image[keyword].value for keyword in SEQUENCES if image.get(keyword)}
        sequences = {keyword: items for keyword, items in sequences.items() if all(map(_copyable, items))}
        for keyword, value in values.items():
            if value is not None or keyword in REQUIRED:
                setattr(copied, keyword, value)
    for keyword, items in sequences.items():
        setattr(copied, keyword, items)
    return copied


def readable(patient: Dataset) -> Dataset:
    """What was copied, as a person can see it, whatever bytes are in it."""
    copied = Dataset()
    with pydicom.config.disable_value_validation():
        for element in patient:
            if element.VR in TEXTS and is_undecoded(str(element.value)):
                setattr(copied, element.keyword, shown(str(element.value)))
            else:
                copied.add(element)
    return copied


def requests(image: Dataset) -> Iterator[Dataset]:
    """What the image says of the requests that it was made for, one item each, of valid values only."""
    for given in image.get("RequestAttributesSequence") or ():
        item = Dataset()
        with pydicom.config.disable_value_validation():
            for keyword in OF_REQUEST:
                value = as_said(given, keyword)
                if value is not None and _fits(given[keyword].VR, str(value)):
                    setattr(item, keyword, value)
        codes = given.get("RequestedProcedureCodeSequence") or ()
        if codes and all(map(_copyable, codes)):
            item.RequestedProcedureCodeSequence = codes
        if len(item):
            yield item


def as_said(image: Dataset, keyword: str, default: tuple[str, ...] = ()) -> object:
    """The value, decoded and with one spelling where it has one meaning; None where there is none that can be read."""
    try:
        texts = texts_of(image, keyword, default)
        if texts is not None:
            names = [PersonName(t) for t in texts] if image.get_item(Tag(keyword)).VR == "PN" else list(texts)
            return names if len(names) > 1 else names[0]
        element = image[keyword]
        value = element.value
    except (KeyError, ValueError, TypeError, NotImplementedError, AttributeError):
        return None
    many = list(value) if element.VM > 1 else [value]
    if not many or all(v is None or str(v) == "" for v in many):
        return None
    # What nobody could decode stays the bytes that it is, with its escape sequences.
    decoded_texts = (text if is_undecoded(text) else plain(text) for text in map(str, many))
    texts = [normalised(keyword, element.VR, text) for text in decoded_texts]
    allowed = _ALLOWED.get(keyword)
    if allowed is not None and any(text not in allowed for text in texts):
        return None
    if element.VR in NUMBERS and not all(_fits(element.VR, text) for text in texts):
        return None
    decoded: list[object] = [PersonName(t) for t in texts] if element.VR == "PN" else list(texts)
    return decoded if element.VM > 1 else decoded[0]


def normalised(keyword: str, vr: str, text: str) -> str:
    """`text` as DICOM spells it, where it can mean only one thing: old dates and times, the case of the sex."""
    stripped = text.strip()
    if vr == "DA" and (date := _OLD_DATE.fullmatch(stripped)):
        return "".join(date.groups())
    if vr == "TM" and (time := _OLD_TIME.fullmatch(stripped)):
        return "".join(part or "" for part in time.groups())
    if keyword == "PatientSex" and stripped.upper() in ("M", "F", "O"):
        return stripped.upper()
    return text


def _fits(vr: str, text: str) -> bool:
    if vr not in _LIMITED_VRS:
        return True
    try:
        validate_value(vr, text, pydicom.config.RAISE)
    except ValueError:
        return False
    return True


def _copyable(item: Dataset) -> bool:
    """Nothing private in it, and every value valid."""
    for element in item.iterall():
        values = element.value if element.VM > 1 else [element.value]
        if element.tag.is_private or (element.VR != "SQ" and not all(_fits(element.VR, str(v or "")) for v in values)):
            return False
    return True
