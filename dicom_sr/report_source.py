"""What a report takes from the exam that it is about: patient, study, character set, references, times.

Nothing is invented, and nothing that says whose the exam is gets lost: patient and study are copied as the source says
them, valid or not, since archives and readers match by them. Only what has one meaning is written as DICOM wants it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.valuerep import PersonName, validate_value

from pipeline.dicom_file import bounded_reading
from pipeline.errors import NotDicom
from pipeline.records import InstanceRef

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
# pydicom leaves some escape sequences of ISO 2022 (PS3.5 6.1.2.5) in the text that it decodes.
_ESCAPE = re.compile("\x1b[\x20-\x2f]+[\x30-\x7e]")
# A number that is none says nothing, and identifies nobody.
NUMBERS = ("DS", "IS")
_LIMITED_VRS = {"CS", "SH", "LO", "DA", "TM", "AS", "DS", "IS", "PN", "UI"}


@dataclass(frozen=True, slots=True)
class ReportSource:
    """`patient_study`: the attributes to copy. `began`: when the analysis began, with its time zone.

    `segmented_series`: SOP Instance UID of a SEG to the series that it says it was drawn on. `predecessor`: the last
    report on this exam that a reader may have; `superseded`: every object of that revision that was delivered. `prior`:
    images of earlier exams that were shown to the analysis. `corrected_patient`: the predecessor was issued under
    another Patient ID. `timezone_offset`: (0008,0201) of the source, for example
    "+0800". `requests`: the items of its Request Attributes Sequence. `pictures`: a digest of what the page shows.
    `objects`: how each object of this result is referred to, by kind; empty where only one object is written.
    """

    patient_study: Dataset
    study_uid: str
    began: datetime
    character_sets: tuple[str, ...] = ()
    timezone_offset: str | None = None
    image: InstanceRef | None = None
    rois: tuple[InstanceRef, ...] = ()
    segmented_series: Mapping[str, str] = field(default_factory=dict)
    predecessor: InstanceRef | None = None
    superseded: tuple[InstanceRef, ...] = ()
    prior: tuple[InstanceRef, ...] = ()
    corrected_patient: bool = False
    requests: tuple[Dataset, ...] = ()
    pictures: str = ""
    objects: Mapping[str, InstanceRef] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.began.tzinfo is None:
            raise ValueError("the time at which the analysis began needs its time zone")

    @classmethod
    def from_files(
        cls,
        t1c_path: Path,
        seg_paths: Iterable[Path] = (),
        *,
        began: datetime,
        predecessor: InstanceRef | None = None,
        superseded: Sequence[InstanceRef] = (),
        prior: Sequence[InstanceRef] = (),
    ) -> ReportSource:
        """Read the headers, no pixels, of one image of the exam and of its ROI objects. Raises NotDicom."""
        return cls.from_datasets(
            read_header(t1c_path),
            [read_header(path) for path in seg_paths],
            began=began,
            predecessor=predecessor,
            superseded=superseded,
            prior=prior,
        )

    @classmethod
    def from_datasets(
        cls,
        image: Dataset,
        rois: Sequence[Dataset] = (),
        *,
        began: datetime,
        predecessor: InstanceRef | None = None,
        superseded: Sequence[InstanceRef] = (),
        prior: Sequence[InstanceRef] = (),
    ) -> ReportSource:
        offset = str(image.get("TimezoneOffsetFromUTC") or "")
        return cls(
            patient_study=patient_study(image),
            study_uid=str(image.StudyInstanceUID),
            began=began,
            character_sets=_character_sets(image),
            timezone_offset=offset if re.fullmatch(r"[+-](0\d|1[0-4])[0-5]\d", offset) else None,
            image=reference(image),
            rois=tuple(reference(roi) for roi in rois),
            segmented_series={str(roi.SOPInstanceUID): uid for roi in rois if (uid := _segmented_series(roi))},
            predecessor=predecessor,
            superseded=tuple(superseded),
            prior=tuple(prior),
            requests=tuple(requests(image)),
        )


def read_header(path: Path) -> Dataset:
    """Everything before the pixel data. Raises NotDicom, also without the UIDs that every instance has."""
    try:
        header = bounded_reading.read(path, force=None)
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID"):
            if not header.get(keyword):
                raise NotDicom(f"a file without {keyword} cannot be the source of a report")
    except bounded_reading.MALFORMED as error:
        raise NotDicom("the header that the report should copy cannot be read") from error
    return header


def reference(header: Dataset) -> InstanceRef:
    return InstanceRef(
        str(header.StudyInstanceUID),
        str(header.SeriesInstanceUID),
        str(header.SOPClassUID),
        str(header.SOPInstanceUID),
    )


def patient_study(image: Dataset) -> Dataset:
    """The patient's and the study's attributes as the source says them; type 2 attributes are there even if empty.

    Identifying attributes and descriptions are copied whether or not they are valid; a sequence only if all of it is.
    """
    copied = Dataset()
    copied.StudyInstanceUID = image.StudyInstanceUID
    # pydicom would warn of each invalid value, and name it: they are checked here, and may be a patient's.
    with pydicom.config.disable_value_validation():
        values = {keyword: as_said(image, keyword) for keyword in (*REQUIRED, *OPTIONAL)}
        sequences = {keyword: image[keyword].value for keyword in SEQUENCES if image.get(keyword)}
        sequences = {keyword: items for keyword, items in sequences.items() if all(map(_copyable, items))}
        for keyword, value in values.items():
            if value is not None or keyword in REQUIRED:
                setattr(copied, keyword, value)
    for keyword, items in sequences.items():
        setattr(copied, keyword, items)
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


def plain(text: str) -> str:
    """Text without the escape sequences that decoding left in it."""
    return _ESCAPE.sub("", text)


def as_said(image: Dataset, keyword: str) -> object:
    """The value, decoded and with one spelling where it has one meaning; None where there is none that can be read."""
    try:
        element = image[keyword]
        value = element.value
    except (KeyError, ValueError, TypeError, NotImplementedError, AttributeError):
        return None
    many = list(value) if element.VM > 1 else [value]
    if not many or all(v is None or str(v) == "" for v in many):
        return None
    texts = [normalised(keyword, element.VR, plain(str(v))) for v in many]
    allowed = _ALLOWED.get(keyword)
    if allowed is not None and any(text not in allowed for text in texts):
        return None
    if element.VR in NUMBERS and not all(_fits(element.VR, text) for text in texts):
        return None
    values: list[object] = [PersonName(t) for t in texts] if element.VR == "PN" else list(texts)
    return values if element.VM > 1 else values[0]


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


def _character_sets(image: Dataset) -> tuple[str, ...]:
    value = image.get("SpecificCharacterSet")
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(str(v) for v in value)


def _segmented_series(roi: Dataset) -> str | None:
    for series in roi.get("ReferencedSeriesSequence") or ():
        if series.get("SeriesInstanceUID"):
            return str(series.SeriesInstanceUID)
    return None
