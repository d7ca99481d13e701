"""Clinical facts of an exam: whom its images name, asked of the sources that the settings name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import structlog

from config.schema import Clinical as Sources
from daemon.clinical import gather
from daemon.clinical.facts import ClinicalFacts, Identity, age_from_dicom, all_missing, parse_date
from dicom_sr.report_source import read_header
from pipeline.catalog import Bring, Exam, all_here
from pipeline.errors import InputRejected
from pipeline.result import Clinical

log = structlog.get_logger("axrad.clinical")


@dataclass(frozen=True, slots=True)
class Patient:
    """What the images say of the patient, in memory only. `key`: as in the ledger; `study_date`: DICOM DA or empty."""

    key: str
    identity: Identity
    age_years: float | None
    study_date: str


def patient_of(exam: Exam, bring: Bring = all_here) -> Patient | None:
    """Whom all images of this exam name; None if they name several, or no image can be read. Raises NotDicom."""
    images = exam.images
    readable = next((i for i in images if i.path is not None), None)
    if readable is None or readable.path is None or len({i.patient_key for i in images}) > 1:
        return None
    bring((readable,))
    return _read(readable.path, readable.patient_key)


def _read(path: Path, key: str) -> Patient:
    header = read_header(path)
    text = {
        keyword: str(header.get(keyword) or "").strip()
        for keyword in (
            "PatientID",
            "IssuerOfPatientID",
            "AccessionNumber",
            "StudyDate",
            "PatientAge",
            "PatientBirthDate",
        )
    }
    taken = parse_date(text["StudyDate"])
    identity = Identity(text["PatientID"], text["IssuerOfPatientID"], text["AccessionNumber"], taken)
    age = age_from_dicom(text["PatientAge"], text["PatientBirthDate"], taken)
    return Patient(key, identity, age, taken.strftime("%Y%m%d") if taken is not None else "")


def clinical_of(patient: Patient | None, wanted: frozenset[str], sources: Sources) -> Clinical | None:
    """The variables in `wanted`, or why each is not known; None where nothing is wanted: then nobody is asked.

    Raises InputRejected: the registry file is wrong.
    """
    if not wanted:
        return None
    if patient is None:
        facts = all_missing("the images of this exam name different patients")
    else:
        facts = gather(patient.identity, sources, dicom_age=patient.age_years)
    return _record(facts, wanted)


def clinical_or_reasons(patient: Patient | None, wanted: frozenset[str], sources: Sources) -> Clinical | None:
    """As `clinical_of`; a registry that cannot be used makes its facts missing: the radiomic signature can answer."""
    try:
        return clinical_of(patient, wanted, sources)
    except InputRejected as error:
        log.error("clinical registry not usable", code=error.code, message=error.message)
    others = clinical_of(patient, wanted, sources.model_copy(update={"registry": None}))
    assert others is not None
    missing = {name: f"the clinical registry cannot be used; {why}" for name, why in others.missing.items()}
    return others.model_copy(update={"missing": missing})


def _record(facts: ClinicalFacts, wanted: frozenset[str]) -> Clinical:
    known = {name: value for name, value in facts.known().items() if name in wanted}
    return Clinical.model_validate(
        {
            "known": known,
            "sources": {name: facts.sources[name] for name in known},
            "missing": {name: why for name, why in facts.missing.items() if name in wanted},
        }
    )
