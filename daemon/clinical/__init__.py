"""Clinical facts at prediction time: from DICOM, a registry file, and a FHIR server, in this order."""

from __future__ import annotations

import structlog

from config.schema import Clinical
from daemon.clinical.facts import NAMES, ClinicalFacts, Identity, age_from_dicom, all_missing, parse_date
from daemon.clinical.registry import Registry, load

__all__ = [
    "NAMES",
    "ClinicalFacts",
    "Identity",
    "Registry",
    "age_from_dicom",
    "all_missing",
    "gather",
    "load",
    "parse_date",
]

log = structlog.get_logger("axrad.clinical")


def gather(who: Identity, settings: Clinical, *, dicom_age: float | None = None) -> ClinicalFacts:
    """All that can be known of this patient. The first source that knows a variable is believed.

    A FHIR server that does not answer makes its facts missing, with that reason: the report then says so and uses the
    radiomic signature. Raises InputRejected: the registry file is wrong.
    """
    facts = ClinicalFacts(missing={"age_years": "no age in DICOM"})
    if dicom_age is not None:
        facts = ClinicalFacts(age_years=dicom_age, sources={"age_years": "DICOM"})
    others: list[ClinicalFacts] = []
    if settings.registry is not None:
        others.append(load(settings.registry, settings.ki67_high_percent).look_up(who))
    if settings.fhir_url is not None:
        others.append(_from_fhir(who, settings))
    if not others:
        others.append(all_missing("no clinical registry or FHIR server is set up"))
    for other in others:
        facts = facts.completed_by(other)
    log.info("clinical facts", known=sorted(facts.known()), missing=sorted(facts.missing))
    return facts


def _from_fhir(who: Identity, settings: Clinical) -> ClinicalFacts:
    from daemon.clinical import fhir
    from pipeline.errors import PeerUnreachable

    try:
        return fhir.read(who, settings)
    except PeerUnreachable as error:
        log.warning("FHIR server not usable", code=error.code, message=error.message)
        return all_missing("the FHIR server did not answer")
