"""A FHIR R4 server asked for one patient's staging, receptors and Ki-67."""

from __future__ import annotations

import json
import time
from itertools import islice
from typing import Any  # Any: JSON from outside, of any shape until it is looked at

import requests
from fhirpy import SyncFHIRClient
from fhirpy.base.exceptions import AuthorizationError, BaseFHIRError, ForbiddenError, OperationOutcome, ResourceNotFound
from fhirpy.base.utils import AttrDict

from config.schema import Clinical
from daemon.clinical import observations, specimens
from daemon.clinical.facts import ClinicalFacts, Identity, age_from_dicom, all_missing
from daemon.network.answer_limits import AnswerLimits
from daemon.network.redirects import CarefulSession
from pipeline.errors import PeerUnreachable

MAX_FHIR_ANSWER_BYTES = 16 << 20
# Of the kinds that are searched for, of one patient, on all pages.
MAX_OBSERVATIONS = 5000
# One patient is read within so many pages, and so many times the patience for one of them.
MAX_REQUESTS, MAX_PATIENCES = 100, 20
MAX_SPECIMENS, SPECIMENS_AT_ONCE = 200, 20


def read(who: Identity, settings: Clinical) -> ClinicalFacts:
    """Search the patient by identifier (system from `fhir_systems[issuer]`), then all Observations of interest.

    Nothing is known where no patient or more than one answers to the identifier. Raises PeerUnreachable: no answer,
    an error, or an answer that is no FHIR. Messages carry no URL: it would hold the patient's identifier.
    """
    assert settings.fhir_url is not None
    if not who.patient_id:
        return all_missing("no patient id to ask FHIR for")
    authorization = f"Bearer {settings.fhir_token}" if settings.fhir_token else None
    client = _Client(settings.fhir_url, authorization=authorization, requests_config={"timeout": settings.timeout_s})
    client.limits = AnswerLimits(MAX_FHIR_ANSWER_BYTES, max_wait_s=2 * settings.timeout_s)
    client.until = time.monotonic() + MAX_PATIENCES * settings.timeout_s
    try:
        patients = client.resources("Patient").search(identifier=_token(who, settings)).limit(3).fetch()
        # A server that does not know a search parameter may ignore it (FHIR R4 3.1.1.4).
        patients = [p for p in patients if p.get("active", True) and _has_identifier(p, who, settings)]
        if len(patients) != 1:
            return all_missing("several FHIR patients have this id" if patients else "no FHIR patient has this id")
        observed = _observations(client, patients[0]["id"])
        named = _specimens(client, observed)
        known = observations.read(
            observed, who.exam_date, settings.max_days_after_exam, named, settings.ki67_high_percent
        )
        return known.completed_by(_age(patients[0], who))
    except BaseFHIRError as error:
        raise PeerUnreachable(f"The FHIR server refused the search ({type(error).__name__}).") from None
    except requests.RequestException as error:
        raise PeerUnreachable(f"The FHIR server did not answer ({type(error).__name__}).") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PeerUnreachable(f"The FHIR server's answer is no FHIR R4 Bundle ({type(error).__name__}).") from None


class _Client(SyncFHIRClient):  # type: ignore[misc]
    """Asks through a session that follows no redirect to somebody else; nothing but GET."""

    limits = AnswerLimits()
    requests_left = MAX_REQUESTS
    until = float("inf")

    def _do_request(self, method: str, path: str, *_: Any, params: Any = None, **__: Any) -> Any:
        assert method == "get"
        self.requests_left -= 1
        if self.requests_left < 0 or time.monotonic() > self.until:
            raise PeerUnreachable("The FHIR server's answer has no end.")
        url = self._build_request_url(path, params)
        with CarefulSession("the FHIR server", "clinical.fhir_url", paths=False, limits=self.limits) as session:
            answer = session.get(url, headers=self._build_request_headers(), **self.requests_config)
            if answer.status_code == 200:
                return json.loads(answer.content.decode(), object_hook=AttrDict)
        errors = {401: AuthorizationError, 403: ForbiddenError, 404: ResourceNotFound, 410: ResourceNotFound}
        raise errors.get(answer.status_code, OperationOutcome)(f"HTTP status {answer.status_code}")


def _has_identifier(patient: dict[str, Any], who: Identity, settings: Clinical) -> bool:
    """Whether a patient that came has the identifier that was asked for."""
    system = settings.fhir_systems.get(who.issuer)
    return any(
        one.get("value") == who.patient_id and system in (None, one.get("system"))
        for one in patient.get("identifier") or ()
    )


def _age(patient: dict[str, Any], who: Identity) -> ClinicalFacts:
    """Age on the day of the exam from `Patient.birthDate`."""
    age = age_from_dicom(None, patient.get("birthDate"), who.exam_date)
    if age is None:
        return all_missing("not in FHIR")
    return ClinicalFacts(age_years=age, sources={"age_years": "FHIR"})


def _token(who: Identity, settings: Clinical) -> str:
    system = settings.fhir_systems.get(who.issuer)
    value = who.patient_id.replace("\\", "\\\\").replace("|", "\\|").replace(",", "\\,").replace("$", "\\$")
    return f"{system}|{value}" if system else value


def _observations(client: SyncFHIRClient, patient: str) -> list[dict[str, Any]]:
    """All pages of the search. The client refuses a next page on another host."""
    codes = ",".join(f"{observations.LOINC}|{code}" for code in observations.SEARCHED)
    search = client.resources("Observation").search(patient=patient, code=codes).limit(100)
    listed = list(islice(search, MAX_OBSERVATIONS + 1))
    if len(listed) > MAX_OBSERVATIONS:
        raise PeerUnreachable(f"The FHIR server lists more than {MAX_OBSERVATIONS} observations of one patient.")
    return [dict(observation) for observation in listed if _is_about(observation, patient)]


def _specimens(client: SyncFHIRClient, observed: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The specimens that observations name, by id; none where the server has no specimens."""
    references = {reference for one in observed if (reference := specimens.reference_of(one))}
    wanted = sorted({name for reference in references if (name := specimens.identifier_of(reference))})
    by_id: dict[str, dict[str, Any]] = {}
    for start in range(0, min(len(wanted), MAX_SPECIMENS), SPECIMENS_AT_ONCE):
        search = client.resources("Specimen").search(_id=",".join(wanted[start : start + SPECIMENS_AT_ONCE])).limit(100)
        try:
            listed = list(islice(search, 2 * SPECIMENS_AT_ONCE))
        except (ResourceNotFound, OperationOutcome):
            return by_id
        by_id |= {str(one.get("id")): dict(one) for one in listed if one.get("id") in wanted}
    return by_id


def _is_about(observation: dict[str, Any], patient: str) -> bool:
    reference = str((observation.get("subject") or {}).get("reference") or "")
    return reference.partition("/_history/")[0].rsplit("/", 2)[-2:] == ["Patient", patient]
