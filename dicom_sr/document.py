"""What every SR document of axrad says beside its content: flags, author, predecessor, evidence, who observed."""

from __future__ import annotations

from collections.abc import Iterator

import pydicom
from pydicom.dataset import Dataset

from config.schema import Settings
from dicom_sr import codes, common_attributes, content_items, uids
from dicom_sr.copied_identity import OF_REQUEST
from dicom_sr.language import Words
from dicom_sr.report_source import ReportSource
from pipeline.records import Code
from pipeline.result import StudyResult


def document(ds: Dataset, result: StudyResult, source: ReportSource, settings: Settings) -> None:
    """SR Document Series and General modules (PS3.3 C.17.1, C.17.2): flags, predecessor, evidence, coding scheme."""
    ds.ReferencedPerformedProcedureStepSequence = []
    ds.PerformedProcedureCodeSequence = []
    ds.AuthorObserverSequence = [_author(result, settings)]
    ds.PreliminaryFlag = "PRELIMINARY"
    ds.CompletionFlag = "COMPLETE"
    ds.VerificationFlag = "UNVERIFIED"
    ds.CodingSchemeIdentificationSequence = [common_attributes.coding_scheme(settings)]
    if source.predecessor is not None:
        ds.PredecessorDocumentsSequence = common_attributes.evidence([source.predecessor])
    if source.requests:
        ds.ReferencedRequestSequence = [_request(item, source) for item in source.requests]
    others = [ref for ref in source.objects.values() if ref.sop_instance_uid != ds.SOPInstanceUID]
    refs = (*common_attributes.used(result, source), *others)
    if refs:
        ds.CurrentRequestedProcedureEvidenceSequence = common_attributes.evidence(refs)
    if source.prior:
        ds.PertinentOtherEvidenceSequence = common_attributes.evidence(source.prior)


def _request(given: Dataset, source: ReportSource) -> Dataset:
    """Type 2 attributes are there even if empty."""
    item = Dataset()
    item.StudyInstanceUID = source.study_uid
    item.ReferencedStudySequence = []
    item.RequestedProcedureCodeSequence = []
    for keyword in OF_REQUEST:
        setattr(item, keyword, None)
    with pydicom.config.disable_value_validation():
        item.AccessionNumber = source.patient_study.get("AccessionNumber")
    item.update(given)
    return item


def procedure(source: ReportSource) -> Code:
    """What was done: as the source says it by a code, else an MR of the breast."""
    asked = [code for item in source.requests for code in item.get("RequestedProcedureCodeSequence") or ()]
    for item in (*(source.patient_study.get("ProcedureCodeSequence") or ()), *asked):
        code = Code(*(str(item.get(k) or "") for k in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")))
        if code.value and code.scheme and code.meaning:
            return code
    return codes.BREAST_MRI


def _author(result: StudyResult, settings: Settings) -> Dataset:
    """Identified Person or Device Macro (PS3.3 C.17-3b)."""
    item = Dataset()
    item.ObserverType = "DEV"
    item.InstitutionName = settings.site.institution or None
    item.InstitutionCodeSequence = []
    item.StationName = settings.listen.ae_title
    item.DeviceUID = uids.of_device(result, settings.site.uid_root)
    item.Manufacturer = settings.report.manufacturer
    item.ManufacturerModelName = common_attributes.MODEL
    return item


def observer(result: StudyResult, settings: Settings) -> Iterator[Dataset]:
    """TID 1002 and 1004: the observer is a device."""
    yield content_items.code(codes.OBSERVER_TYPE, codes.DEVICE, content_items.CONTEXT)
    yield content_items.uid(codes.DEVICE_UID, uids.of_device(result, settings.site.uid_root))
    yield content_items.text(codes.DEVICE_NAME, "axrad", content_items.CONTEXT)
    yield content_items.text(codes.DEVICE_MANUFACTURER, settings.report.manufacturer, content_items.CONTEXT)
    yield content_items.text(codes.DEVICE_MODEL, common_attributes.MODEL, content_items.CONTEXT)


def algorithm(result: StudyResult, say: Words) -> Iterator[Dataset]:
    """TID 4019."""
    name, _, version = common_attributes.signature_name(result).partition("@")
    yield content_items.text(codes.ALGORITHM_NAME, name, content_items.MODIFIER)
    yield content_items.text(codes.ALGORITHM_VERSION, version or "none", content_items.MODIFIER)
    if result.demonstration:
        yield content_items.text(codes.ALGORITHM_PARAMETERS, say("demonstration"), content_items.MODIFIER)
    if result.settings_hash:
        parameters = say("algorithm_settings", value=result.settings_hash)
        yield content_items.text(codes.ALGORITHM_PARAMETERS, parameters, content_items.MODIFIER)
