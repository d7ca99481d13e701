"""What every result object has in common: file meta, patient, study, equipment, character set, evidence."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pydicom.charset
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, ExplicitVRLittleEndian
from pydicom.valuerep import PersonName

from config.schema import Settings
from dicom_sr import codes, kinds, object_set, sentences, uids
from dicom_sr.language import words_of
from dicom_sr.report_source import ReportSource
from dicom_sr.source_text import is_undecoded, plain, raw_bytes
from pipeline.records import Code, InstanceRef
from pipeline.result import StudyResult

IMPLEMENTATION = "2.25.319190230391834917103437161036316098143"
MODEL = "axrad ALN metastasis"
_STRING_VRS = {"LO", "SH", "PN", "LT", "ST", "UT", "UC"}


def code_item(code: Code) -> Dataset:
    """One item of a code sequence (PS3.3 8.8)."""
    item = Dataset()
    item.CodeValue = code.value
    item.CodingSchemeDesignator = code.scheme
    item.CodeMeaning = code.meaning
    return item


def began_local(source: ReportSource, settings: Settings) -> datetime:
    """When the analysis began: in the source's stated zone, because the whole object has one, else in the site's."""
    if source.timezone_offset:
        sign = -1 if source.timezone_offset[0] == "-" else 1
        hours, minutes = int(source.timezone_offset[1:3]), int(source.timezone_offset[3:])
        return source.began.astimezone(timezone(sign * timedelta(hours=hours, minutes=minutes)))
    return source.began.astimezone(ZoneInfo(settings.site.timezone))


def start(
    result: StudyResult, source: ReportSource, settings: Settings, kind: str, sop_class: str, modality: str
) -> Dataset:
    """A data set with everything but the content of its kind."""
    ds = Dataset()
    for element in source.patient_study:
        ds.add(element)
    ds.SOPClassUID = UID(sop_class)
    ours = reference(result, source, settings, kind, sop_class)
    ds.SOPInstanceUID = ours.sop_instance_uid
    ds.SeriesInstanceUID = ours.series_uid
    ds.SeriesNumber = kinds.series_number(kind, result.revision)
    ds.Modality = modality
    ds.InstanceNumber = max(1, result.revision)
    began = began_local(source, settings)
    ds.ContentDate = ds.SeriesDate = ds.InstanceCreationDate = began.strftime("%Y%m%d")
    ds.ContentTime = ds.SeriesTime = ds.InstanceCreationTime = began.strftime("%H%M%S")
    if source.timezone_offset:
        ds.TimezoneOffsetFromUTC = source.timezone_offset
    _equipment(ds, result, settings)
    return ds


def reference(result: StudyResult, source: ReportSource, settings: Settings, kind: str, sop_class: str) -> InstanceRef:
    """How others refer to this kind of object."""
    known = source.objects.get(kind)
    if known is not None:
        return known
    key = object_set.content_key(result, source, settings)
    return object_set.reference_of(key, kind, sop_class, result, settings)


def described(result: StudyResult, what: str, settings: Settings, **fields: str) -> str:
    """A Series Description that begins with what must not be cut: preliminary, demonstration, revision, answer.

    `what`: the key of the words for the object.
    """
    say = words_of(settings)
    head = say("preliminary_head") if result.preliminary else ""
    head += say("demo") if result.demonstration else ""
    head += say("revision_head", number=result.revision) if result.revision > 1 else ""
    return say("description", head=head, categories=sentences.categories(result, say), what=say(what, **fields))[:64]


def document_title(result: StudyResult, settings: Settings) -> str:
    """The answer first; before it, that it is preliminary."""
    say = words_of(settings)
    title = say("document_title", categories=sentences.categories(result, say))
    title = (say("preliminary_head") if result.preliminary else "") + title
    return title[:1].upper() + title[1:]


def _equipment(ds: Dataset, result: StudyResult, settings: Settings) -> None:
    ds.Manufacturer = settings.report.manufacturer
    ds.InstitutionName = settings.site.institution or None
    ds.ManufacturerModelName = MODEL
    ds.DeviceSerialNumber = uids.signature_hash(result)[:64] or "none"
    ds.SoftwareVersions = software_versions(result)
    device_uid = uids.of_device(result, settings.site.uid_root)
    ds.DeviceUID = device_uid
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [code_item(codes.PROCESSING_EQUIPMENT)]
    item.Manufacturer = settings.report.manufacturer
    item.ManufacturerModelName = signature_name(result)[:64]
    item.SoftwareVersions = software_versions(result)
    item.ContributionDescription = words_of(settings)("contribution")
    item.DeviceSerialNumber = device_uid
    if settings.report.contributing_device_uid:
        item.DeviceUID = device_uid
    ds.ContributingEquipmentSequence = [item]


def coding_scheme(settings: Settings) -> Dataset:
    """Says whose our private codes are."""
    item = Dataset()
    item.CodingSchemeDesignator = codes.PRIVATE_SCHEME
    item.CodingSchemeName = codes.PRIVATE_NAME
    item.CodingSchemeVersion = "1"
    item.CodingSchemeResponsibleOrganization = settings.report.manufacturer
    return item


def signature_name(result: StudyResult) -> str:
    """`name@version` of the signature that answered, or that was meant to."""
    for _, part in result.parts():
        if part.prediction is not None:
            return part.prediction.signature
    name, version = result.signature.get("name"), result.signature.get("version")
    return f"{name}@{version}" if name and version else str(name or "no signature")


def software_versions(result: StudyResult) -> str | list[str]:
    """axrad's own version first."""
    ordered = sorted(result.software.items(), key=lambda kv: (kv[0] != "axrad", kv[0]))
    return [f"{name} {version}"[:64] for name, version in ordered] or ["axrad"]


def used(result: StudyResult, source: ReportSource) -> tuple[InstanceRef, ...]:
    """Every image and ROI object that the result was made from, once, in a stable order."""
    refs = set(result.evidence) | set(source.rois)
    for choice in result.sequences.values():
        refs.update(choice.instances)
    for _, part in result.parts():
        for roi in part.rois.values():
            refs.update(detail.source for detail in roi.segment_details)
    if not refs and source.image is not None:
        refs.add(source.image)
    return tuple(sorted(refs - set(source.prior)))


def evidence(refs: Iterable[InstanceRef]) -> Items:
    """The Hierarchical SOP Instance Reference Macro (PS3.3 C.17-3)."""
    tree: dict[str, dict[str, set[InstanceRef]]] = {}
    for ref in refs:
        tree.setdefault(ref.study_uid, {}).setdefault(ref.series_uid, set()).add(ref)
    return Items([_study_item(study, tree[study]) for study in sorted(tree)])


def _study_item(study_uid: str, by_series: dict[str, set[InstanceRef]]) -> Dataset:
    study = Dataset()
    study.StudyInstanceUID = study_uid
    study.ReferencedSeriesSequence = []
    for series_uid in sorted(by_series):
        series = Dataset()
        series.SeriesInstanceUID = series_uid
        series.ReferencedSOPSequence = [sop_item(ref) for ref in sorted(by_series[series_uid])]
        study.ReferencedSeriesSequence.append(series)
    return study


def sop_item(ref: InstanceRef) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = ref.sop_class_uid
    item.ReferencedSOPInstanceUID = ref.sop_instance_uid
    return item


def to_bytes(ds: Dataset, source: ReportSource) -> bytes:
    """A DICOM file, Explicit VR Little Endian, the same bytes every time for the same content."""
    ds.SpecificCharacterSet = _character_set(ds, source.character_sets)
    if ds.SpecificCharacterSet == "ISO_IR 6":
        del ds.SpecificCharacterSet
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION)
    meta.ImplementationVersionName = "AXRAD"
    ds.file_meta = meta
    for element in [e for e in ds if e.VR in _STRING_VRS and is_undecoded(str(e.value))]:
        written = raw_bytes("\\".join(element.value) if element.VM > 1 else str(element.value))
        # pydicom writes bytes as they are, except for a name, which it makes anew of what it is given.
        ours = DataElement(element.tag, element.VR, "")
        ours._value = _NameInBytes(written) if element.VR == "PN" else written
        ds[element.tag] = ours
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True, little_endian=True, implicit_vr=False)
    return buffer.getvalue()


class _NameInBytes(PersonName):
    """A name that is written as these bytes."""

    def __init__(self, written: bytes) -> None:
        super().__init__("in bytes")
        self.written = written

    def encode(self, encodings: Sequence[str] | None = None) -> bytes:
        return self.written


def _character_set(ds: Dataset, wanted: tuple[str, ...]) -> str | list[str]:
    """The source's character set if it encodes every string exactly, else UTF-8."""
    texts = {str(v) for e in ds.iterall() if e.VR in _STRING_VRS for v in (e.value if e.VM > 1 else [e.value])}
    texts = {text for text in texts if not is_undecoded(text)}
    if all(text.isascii() for text in texts):
        return _as_value(wanted) if _known(wanted) and wanted else "ISO_IR 6"
    if wanted and _known(wanted) and all(_survives(text, wanted) for text in texts):
        return _as_value(wanted)
    return "ISO_IR 192"


def _as_value(sets: tuple[str, ...]) -> str | list[str]:
    """An empty first value means ISO 2022 IR 6 (PS3.3 C.12.1.1.2), which DCMTK's converters want to be said."""
    return sets[0] if len(sets) == 1 else [name or "ISO 2022 IR 6" for name in sets]


def _known(sets: tuple[str, ...]) -> bool:
    return all(name in pydicom.charset.python_encoding for name in sets)


def _survives(text: str, sets: tuple[str, ...]) -> bool:
    encodings = [pydicom.charset.python_encoding[name] for name in sets]
    try:
        if len(sets) == 1:
            return text.encode(encodings[0]).decode(encodings[0]) == text
        encoded = pydicom.charset.encode_string(text, encodings)
        return plain(pydicom.charset.decode_bytes(encoded, encodings, set())) == text
    except (UnicodeError, LookupError):
        return False
