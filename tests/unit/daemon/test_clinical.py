"""Clinical facts: from a file and from FHIR Observations; what is not told stays missing, with a reason."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.schema import Clinical
from daemon.clinical import NAMES, ClinicalFacts, Identity, age_from_dicom, all_missing, gather, load, specimens
from daemon.clinical.facts import Receptors
from daemon.clinical.observations import answer, percent, read, stage
from pipeline.errors import InputRejected
from tests.support.fhir_server import concept, observation
from tests.support.fhir_server import percent as quantity

EXAM = date(2026, 1, 15)
CSV = """patient_id,issuer,accession_number,age_years,clinical_t,clinical_n,ki67_percent,molecular_subtype,\
er_percent,pr_percent,her2
A1,HOSP,,52,cT2,N1,30,Luminal B,,,
A1,OTHER,,70,T1c,N0,,,90,40,negative
A2,,,,T3,big,5%,,95,30,neg
,,ACC9,41,T4b,N3,,TNBC,,,
"""


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    path = tmp_path / "registry.csv"
    path.write_text(CSV)
    return path


def test_a_row_is_found_by_patient_id_and_issuer(registry: Path) -> None:
    facts = load(registry).look_up(Identity("A1", "HOSP"))
    assert facts.known() == {
        "age_years": 52.0, "clinical_t": 2, "clinical_n": 1, "ki67_percent": 30.0, "molecular_subtype": "luminal B"
    }  # fmt: skip
    assert facts.missing == {}
    assert set(facts.sources.values()) == {"registry"}


def test_the_same_id_of_two_issuers_is_never_mixed_up(registry: Path) -> None:
    found = load(registry)
    assert found.look_up(Identity("A1", "OTHER")).age_years == 70
    assert found.look_up(Identity("A1", "THIRD")).missing == dict.fromkeys(NAMES, "not in the registry")
    unsure = found.look_up(Identity("A1"))
    assert unsure.known() == {}
    assert set(unsure.missing.values()) == {"several rows of the registry fit this patient"}


def test_an_accession_number_goes_before_the_patient_id(registry: Path) -> None:
    facts = load(registry).look_up(Identity("A1", "HOSP", "ACC9"))
    assert (facts.age_years, facts.clinical_t, facts.molecular_subtype) == (41, 4, "triple-negative")


def test_a_cell_that_cannot_be_read_is_missing_and_says_so(registry: Path) -> None:
    facts = load(registry).look_up(Identity("A2", "ANY"))
    assert facts.clinical_n is None
    assert facts.missing["clinical_n"] == "not readable in the registry"
    assert facts.missing["age_years"] == "empty in the registry"
    assert facts.molecular_subtype == "luminal A"  # ER 95 %, PR 30 %, HER2 negative, Ki-67 5 %


def test_receptors_without_ki67_give_no_subtype(registry: Path) -> None:
    facts = load(registry).look_up(Identity("A1", "OTHER"))
    assert facts.molecular_subtype is None
    assert facts.missing["molecular_subtype"] == "Ki-67 not known well enough for a molecular subtype"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("patient_id,stage\nA,1\n", "unknown columns: stage"),
        ("age_years\n50\n", "no patient_id or accession_number in rows 1"),
        ("patient_id,issuer\nSECRET,X\nSECRET,X\n", "same patient and exam in rows 1 and 2"),
    ],
)
def test_a_registry_that_is_wrong_is_refused_without_naming_patients(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "registry.csv"
    path.write_text(text)
    with pytest.raises(InputRejected, match=message) as raised:
        load(path)
    assert "SECRET" not in str(raised.value)


def test_json_and_gb18030_registries_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(json.dumps([{"patient_id": "A", "age_years": 60, "clinical_n": None}]))
    assert load(tmp_path / "r.json").look_up(Identity("A")).known() == {"age_years": 60.0}
    (tmp_path / "r.csv").write_bytes("patient_id,age_years\n张三,44\n".encode("gb18030"))
    assert load(tmp_path / "r.csv").look_up(Identity("张三")).age_years == 44
    for bad in (b"{", b'{"a": 1}'):
        (tmp_path / "r.json").write_bytes(bad)
        with pytest.raises(InputRejected):
            load(tmp_path / "r.json")


def test_dicom_goes_before_the_registry_for_age(registry: Path) -> None:
    facts = gather(Identity("A1", "HOSP"), Clinical(registry=registry), dicom_age=50.0)
    assert facts.age_years == 50
    assert facts.sources["age_years"] == "DICOM"
    assert facts.clinical_t == 2


def test_with_nothing_set_up_everything_is_missing_for_that_reason() -> None:
    facts = gather(Identity("A1"), Clinical())
    assert facts.known() == {}
    assert facts.missing["age_years"] == "no age in DICOM; no clinical registry or FHIR server is set up"


def test_an_identity_shows_nothing_of_the_patient() -> None:
    assert "A1" not in repr(Identity("A1", "HOSP", "ACC9", EXAM))


@pytest.mark.parametrize(
    ("age", "born", "exam", "expected"),
    [
        ("060Y", "19700516", date(2026, 5, 15), 55), (None, "19700516", date(2026, 5, 16), 56),
        ("060Y", None, EXAM, 60),
        ("060Y", "197005", EXAM, 60), ("018M", None, EXAM, 1), ("60", None, EXAM, None), ("200Y", None, EXAM, None),
        (None, None, EXAM, None), (None, "20300101", EXAM, None),
    ],
)  # fmt: skip
def test_age_comes_from_the_birth_date_else_from_the_age(
    age: str | None, born: str | None, exam: date, expected: float | None
) -> None:
    assert age_from_dicom(age, born, exam) == expected


@given(st.text(max_size=12) | st.none(), st.text(max_size=12) | st.none())
def test_no_header_text_breaks_the_age(age: str | None, born: str | None) -> None:
    found = age_from_dicom(age, born, EXAM)
    assert found is None or 0 <= found <= 120


@pytest.mark.parametrize(
    ("value", "letter", "expected"),
    [
        (concept("1228929004", "American Joint Committee on Cancer cT2 (qualifier value)"), "T", 2),
        (concept("1229973008"), "N", 1),
        (concept("cT1c", "T1c", "http://cancerstaging.org"), "T", 1),
        (concept("cN1mi", "cN1(mi)", "http://cancerstaging.org"), "N", 1),
        ({"valueCodeableConcept": {"text": "T4d"}}, "T", 4),
        ({"valueString": "cN0"}, "N", 0),
        ({"valueString": "cTX"}, "T", None),
        ({"valueString": "ypT2"}, "T", None),
        ({"valueString": "pN1a"}, "N", None),
        ({"valueString": "T1 or T2"}, "T", None),
        ({"valueString": "N2"}, "T", None),
        ({}, "T", None),
    ],
)
def test_a_stage_is_read_from_code_or_text_or_not_at_all(value: dict, letter: str, expected: int | None) -> None:
    assert stage(observation("1", "21905-5", value), letter) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (quantity(25), 25.0), ({"valueQuantity": {"value": 0.25, "code": "1"}}, 25.0),
        ({"valueQuantity": {"value": 25, "code": "%", "comparator": "<"}}, None),
        ({"valueQuantity": {"value": 25, "unit": "cells"}}, None), (quantity(120), None),
        ({"valueString": "25 %"}, None),
    ],
)  # fmt: skip
def test_only_a_percentage_is_a_percentage(value: dict, expected: float | None) -> None:
    assert percent(observation("1", "85330-9", value)) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (concept("LA6576-8", "Positive", "http://loinc.org"), "positive"), (concept("260385009"), "negative"),
        (concept("LA11842-4", "2+", "http://loinc.org"), "equivocal"),
        ({"valueCodeableConcept": {"text": "3+"}}, "positive"),
        ({"interpretation": [{"coding": [{"code": "NEG"}]}]}, "negative"),
        ({**concept("10828004"), "interpretation": [{"coding": [{"code": "NEG"}]}]}, None),
        ({"valueString": "see report"}, None),
    ],
)  # fmt: skip
def test_a_marker_is_positive_negative_or_not_told(value: dict, expected: str | None) -> None:
    assert answer(observation("1", "85337-4", value)) == expected


def test_the_newest_usable_result_not_later_than_the_exam_counts() -> None:
    facts = read(
        [
            observation("1", "21905-5", {"valueString": "cT1"}, on="2025-12-01"),
            observation("2", "21905-5", {"valueString": "cT2"}, on="2026-01-05T09:30:00+08:00"),
            observation("3", "21905-5", {"valueString": "cT4"}, on="2026-06-01"),
            observation("4", "21905-5", {"valueString": "cT3"}, on="2026-01-06", status="entered-in-error"),
            observation("5", "85330-9", quantity(40), on="2026-07-01"),
            observation("6", "21900-6", {"valueString": "pN1"}, on="2026-01-01"),
        ],
        EXAM,
        30,
    )
    assert facts.known() == {"clinical_t": 2}
    assert facts.missing["ki67_percent"] == "known only after the exam"
    assert facts.missing["clinical_n"] == "FHIR has a pathological stage only"


def test_an_equivocal_her2_stain_is_settled_by_hybridisation_or_not_at_all() -> None:
    stain = observation("1", "85319-2", concept("LA11842-4", "2+", "http://loinc.org"))
    others = [
        observation("2", "85337-4", concept("LA6577-6", "Negative", "http://loinc.org")),
        observation("3", "85339-0", concept("LA6577-6", "Negative", "http://loinc.org")),
        observation("4", "85330-9", quantity(60)),
    ]
    unsettled = read([stain, *others], EXAM, 30)
    assert unsettled.molecular_subtype is None
    assert unsettled.missing["molecular_subtype"].startswith("HER2 not known")
    amplified = observation("5", "85318-4", {"valueCodeableConcept": {"text": "Amplified"}})
    assert read([stain, amplified, *others], EXAM, 30).molecular_subtype == "HER2-positive"


def test_a_receptor_told_as_positive_does_not_say_whether_pr_is_high() -> None:
    assert Receptors(er_positive=True, pr_positive=True, her2="negative").subtype(5.0)[0] is None
    assert Receptors(er_positive=True, pr_positive=True, her2="negative").subtype(40.0)[0] == "luminal B"
    assert Receptors(er_positive=True, pr_percent=60.0, her2="negative").subtype(5.0)[0] == "luminal A"


def test_facts_are_completed_and_reasons_kept() -> None:
    first = ClinicalFacts(age_years=50.0, missing={"clinical_t": "a"}, sources={"age_years": "DICOM"})
    both = first.completed_by(ClinicalFacts(clinical_n=1, missing={"clinical_t": "b"}, sources={"clinical_n": "FHIR"}))
    assert both.known() == {"age_years": 50.0, "clinical_n": 1}
    assert both.missing["clinical_t"] == "a; b"
    assert both.sources == {"age_years": "DICOM", "clinical_n": "FHIR"}
    assert set(all_missing("x").missing) == set(NAMES)


@pytest.mark.parametrize(
    ("specimen", "origin"),
    [
        ({"type": {"text": "Core needle biopsy"}}, "biopsy"),
        ({"type": {"coding": [{"code": "258415003"}]}}, "biopsy"),
        ({"type": {"coding": [{"code": "119376003", "display": "Tissue specimen"}]}}, None),
        ({"type": {"text": "Tissue"}, "collection": {"method": {"text": "Modified radical mastectomy"}}}, "surgery"),
        ({"collection": {"procedure": {"coding": [{"code": "392021009"}]}}}, "surgery"),
        ({"type": {"text": "Excisional biopsy"}}, "surgery"),
        ({"type": {"text": "Lumpectomy"}, "collection": {"method": {"text": "Needle localisation"}}}, "surgery"),
        ({"type": "tissue", "collection": []}, None),
        ({}, None),
    ],
)
def test_how_a_specimen_was_taken_is_read_from_codes_or_words(specimen: dict[str, object], origin: str | None) -> None:
    assert specimens.origin(specimen) == origin


@pytest.mark.parametrize(
    ("words", "origin"),
    [
        ("Sentinel node biopsy", "surgery"),
        ("Wächterlymphknotenbiopsie", "surgery"),
        ("Exzisionsbiopsie", "surgery"),
        ("Tumorektomie rechts", "surgery"),
        ("pièce opératoire", "surgery"),
        ("pieza quirúrgica de mastectomía", "surgery"),
        ("乳腺癌改良根治切除标本", "surgery"),
        ("前哨淋巴结活检", "surgery"),
        ("Ultrasound guided biopsy of axillary node", "biopsy"),
        ("Stanzbiopsie", "biopsy"),
        ("biopsia con aguja gruesa", "biopsy"),
        ("粗针穿刺", "biopsy"),
        ("Gewebe", None),
    ],
)
def test_surgery_is_told_from_a_biopsy_in_other_words_too(words: str, origin: str | None) -> None:
    assert specimens.origin({"type": {"text": words}}) == origin


def test_a_specimen_within_its_result_is_read_there() -> None:
    contained = [{"resourceType": "Specimen", "id": "s", "type": {"text": "Mastectomy"}}]
    result = observation("k", "85330-9", quantity(40), specimen={"reference": "#s"}, contained=contained)
    facts = read([result], EXAM, 30)
    assert facts.missing["ki67_percent"] == "from a specimen of surgery, not of a biopsy"


def test_a_rows_subtype_follows_the_sites_cutoff(tmp_path: Path) -> None:
    path = tmp_path / "registry.csv"
    path.write_text("patient_id,ki67_percent,er_percent,pr_percent,her2\nA1,17,90,40,negative\n")
    assert load(path).look_up(Identity("A1")).molecular_subtype == "luminal A"
    assert load(path, 14).look_up(Identity("A1")).molecular_subtype == "luminal B"
