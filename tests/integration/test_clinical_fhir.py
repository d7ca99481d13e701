"""A FHIR server on a real socket is asked for staging, receptors and Ki-67."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import pytest
from structlog.testing import capture_logs

from config.schema import Clinical
from daemon.clinical import Identity, fhir, gather
from pipeline.errors import PeerUnreachable
from tests.support.fhir_server import FhirServer, concept, observation, patient, percent, running, specimen

LOINC = "http://loinc.org"
WHO = Identity("MRN 12|3", "HOSP", exam_date=date(2026, 1, 15))


@pytest.fixture
def server() -> Iterator[FhirServer]:
    """One patient with everything, another with nothing, on pages of three."""
    with running(page_size=3, token="secret-token") as found:
        found.resources = [
            patient("p1", "MRN 12|3"),
            patient("p2", "other"),
            observation(
                "t", "21905-5", concept("1228929004", "American Joint Committee on Cancer cT2 (qualifier value)")
            ),
            observation(
                "n", "21906-3", concept("1229973008", "American Joint Committee on Cancer cN1 (qualifier value)")
            ),
            observation("old", "21905-5", concept("1228889001", "cT1"), on="2024-03-01"),
            observation("er", "85329-1", percent(95)),
            observation("pr", "85325-9", percent(10)),
            observation("her2", "48676-1", concept("LA6577-6", "Negative", LOINC)),
            observation("ki67", "85330-9", percent(12)),
            observation("foreign", "21906-3", concept("1229984001", "cN3"), subject="p2"),
            observation("weight", "29463-7", {"valueQuantity": {"value": 65, "unit": "kg"}}),
        ]
        yield found


def settings(server: FhirServer, **more: object) -> Clinical:
    return Clinical.model_validate(
        {"fhir_url": server.url, "fhir_token": "secret-token", "fhir_systems": {"HOSP": "urn:oid:1.2.3"},
         "timeout_s": 5.0, **more}
    )  # fmt: skip


def test_all_five_variables_are_read_over_several_pages(server: FhirServer) -> None:
    facts = gather(WHO, settings(server))
    assert facts.known() == {
        "age_years": 55.0, "clinical_t": 2, "clinical_n": 1, "ki67_percent": 12.0, "molecular_subtype": "luminal B"
    }  # fmt: skip
    assert set(facts.sources.values()) == {"FHIR"}
    assert sum(path.startswith("/fhir/Observation") for path, _ in server.requests) == 3
    assert all(authorization == "Bearer secret-token" for _, authorization in server.requests)


def test_an_age_from_dicom_is_believed_first(server: FhirServer) -> None:
    facts = gather(WHO, settings(server), dicom_age=54.0)
    assert (facts.age_years, facts.sources["age_years"]) == (54.0, "DICOM")


def test_an_unknown_or_ambiguous_patient_is_not_guessed(server: FhirServer) -> None:
    nobody = fhir.read(Identity("nobody", "HOSP"), settings(server))
    assert set(nobody.missing.values()) == {"no FHIR patient has this id"}
    server.resources.append(patient("p9", "MRN 12|3", "urn:oid:9.9"))
    assert fhir.read(WHO, settings(server)).clinical_t == 2  # the issuer's system tells them apart
    twice = fhir.read(WHO, settings(server, fhir_systems={}))
    assert set(twice.missing.values()) == {"several FHIR patients have this id"}
    assert not any(path.startswith("/fhir/Observation") for path, _ in server.requests[-1:])


@pytest.mark.parametrize(
    "answer",
    [(500, b"no"), (403, b"{}"), (404, b"{}"), (200, b"<html>"), (200, b'{"resourceType": "Patient"}'), (200, b"[]")],
)
def test_a_server_that_errs_leaves_everything_missing_and_no_trace_of_the_patient(
    server: FhirServer, answer: tuple[int, bytes]
) -> None:
    server.fail = answer
    with pytest.raises(PeerUnreachable) as raised:
        fhir.read(WHO, settings(server))
    assert "MRN" not in str(raised.value)
    assert raised.value.__cause__ is None
    with capture_logs() as logs:
        facts = gather(WHO, settings(server))
    assert facts.known() == {}
    assert "the FHIR server did not answer" in facts.missing["clinical_t"]
    assert "MRN" not in str(logs)
    assert "secret-token" not in str(logs)


def test_a_wrong_token_is_refused_by_the_server_and_said(server: FhirServer) -> None:
    with pytest.raises(PeerUnreachable, match="refused the search"):
        fhir.read(WHO, settings(server, fhir_token="wrong"))


def test_a_next_page_on_another_host_is_not_followed(server: FhirServer) -> None:
    server.next_host = "http://127.0.0.1:9/fhir"
    with pytest.raises(PeerUnreachable):
        fhir.read(WHO, settings(server))


def test_nobody_listening_is_a_reason_and_no_error() -> None:
    with running() as gone:
        url = gone.url
    facts = gather(WHO, Clinical(fhir_url=url, timeout_s=2.0))
    assert facts.missing["clinical_n"] == "the FHIR server did not answer"


def test_a_server_that_ignores_the_identifier_tells_nothing_of_our_patient(server: FhirServer) -> None:
    server.resources = [patient("p9", "somebody else"), observation("t9", "21905-5", concept("1228929004"))]
    server.fits = lambda resource, query: True
    facts = fhir.read(WHO, settings(server))
    assert facts.clinical_t is None
    assert facts.age_years is None


def test_a_server_that_ignores_the_patient_tells_nothing_of_others(server: FhirServer) -> None:
    server.resources = [
        patient("p1", "MRN 12|3"),
        observation("n", "21906-3", concept("1229984001", "cN3"), subject="p2"),
    ]
    server.fits = lambda resource, query: True
    assert fhir.read(WHO, settings(server)).clinical_n is None


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_origin_is_told_and_not_followed(server: FhirServer, status: int) -> None:
    with running() as elsewhere:
        server.redirect = (status, f"{elsewhere.url}/Patient?secret=1")
        with pytest.raises(PeerUnreachable, match="not followed") as told:
            fhir.read(WHO, settings(server))
        assert elsewhere.url.removesuffix("/fhir") in told.value.message
        assert "secret" not in told.value.message
        assert elsewhere.requests == []


@pytest.mark.parametrize("body", [b"", b"{}", b"<html>log in</html>", b'{"resourceType": "Patient"}', b"[]"])
def test_a_success_without_a_bundle_is_no_answer(server: FhirServer, body: bytes) -> None:
    server.fail = (200, body)
    with pytest.raises(PeerUnreachable):
        fhir.read(WHO, settings(server))


def _with_specimens(server: FhirServer, *results: tuple[str, str, float, str]) -> None:
    """Ki-67 results as (date, specimen's id, percent, kind of the specimen)."""
    server.resources = [one for one in server.resources if one["id"] != "ki67"]
    for number, (on, name, value, kind) in enumerate(results):
        reference = {"specimen": {"reference": f"Specimen/{name}"}}
        server.resources.append(observation(f"ki67-{number}", "85330-9", percent(value), on=on, **reference))
        if kind:
            server.resources.append(specimen(name, kind))


def test_what_is_dated_after_the_day_of_the_exam_is_not_used(server: FhirServer) -> None:
    _with_specimens(server, ("2026-02-03", "s1", 40, "Core needle biopsy of left breast"))
    assert gather(WHO, settings(server)).missing["ki67_percent"] == "known only after the exam"
    _with_specimens(server, ("2026-01-15", "s2", 40, "Core needle biopsy of left breast"))
    assert gather(WHO, settings(server)).ki67_percent == 40


def test_a_marker_of_a_removed_tumour_is_refused_and_the_biopsy_before_it_counts(server: FhirServer) -> None:
    surgery = ("2026-02-03", "s1", 40.0, "Mastectomy specimen, left breast")
    later = settings(server, max_days_after_exam=30)
    _with_specimens(server, surgery)
    assert gather(WHO, later).missing["ki67_percent"] == "from a specimen of surgery, not of a biopsy"
    _with_specimens(server, surgery, ("2026-01-02", "s2", 12.0, "Core biopsy"))
    assert gather(WHO, later).ki67_percent == 12


@pytest.mark.parametrize("stored", [True, False])
def test_a_specimen_that_cannot_be_read_is_a_reason(server: FhirServer, stored: bool) -> None:
    _with_specimens(server, ("2026-01-02", "s1", 12.0, ""))
    if stored:
        server.resources.append(specimen("another", "Core biopsy"))
    why = gather(WHO, settings(server)).missing["ki67_percent"]
    assert why == "the specimen that the FHIR result names cannot be read"


def test_a_specimen_that_does_not_say_how_it_was_taken_is_judged_by_its_date(server: FhirServer) -> None:
    _with_specimens(server, ("2026-01-02", "s1", 12.0, "Tissue"))
    assert gather(WHO, settings(server)).ki67_percent == 12


def test_many_specimens_are_asked_for_a_few_at_a_time(server: FhirServer) -> None:
    _with_specimens(server, *[("2026-01-02", f"s{n}", 12.0, "Core biopsy") for n in range(45)])
    assert gather(WHO, settings(server)).ki67_percent == 12
    asked = [path for path, _ in server.requests if path.startswith("/fhir/Specimen") and "_offset" not in path]
    assert len(asked) == 3


def test_the_sites_cutoff_decides_the_subtype(server: FhirServer) -> None:
    server.resources = [one for one in server.resources if one["id"] not in ("ki67", "pr")]
    server.resources += [observation("ki67", "85330-9", percent(17)), observation("pr", "85325-9", percent(60))]
    assert gather(WHO, settings(server)).molecular_subtype == "luminal A"
    assert gather(WHO, settings(server, ki67_high_percent=14)).molecular_subtype == "luminal B"
