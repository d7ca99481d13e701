"""FHIR R4 Observations (mCODE: TNM categories, tumor marker tests) as clinical facts.

Codes: LOINC as in mCODE STU4's staging and tumor marker value sets; answers by LOINC, SNOMED CT (AJCC categories) or,
where neither is given, by their text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Any, Final  # Any: JSON from outside, of any shape until it is looked at

from daemon.clinical import specimens
from daemon.clinical.facts import ClinicalFacts, Her2, Name, Receptors, facts_from, parse_date
from pipeline.signature.subtype import KI67_HIGH_PERCENT

Json = Mapping[str, Any]
LOINC: Final = "http://loinc.org"
CODES: Final[Mapping[str, tuple[str, ...]]] = {
    "clinical_t": ("21905-5",),
    "clinical_n": ("21906-3",),
    "ki67": ("85330-9", "29593-1"),
    "er_percent": ("85329-1", "14228-1"),
    "er": ("85337-4", "40556-3", "16112-5"),
    "pr_percent": ("85325-9", "14230-7"),
    "pr": ("85339-0", "40557-1", "16113-3"),
    "her2": ("48676-1",),
    "her2_ihc": ("85319-2", "18474-7", "72383-3"),
    "her2_ish": ("85318-4", "31150-6"),
}
# What is found in tissue: the rest is told by clinicians.
MARKERS: Final = tuple(kind for kind in CODES if kind not in ("clinical_t", "clinical_n"))
_KINDS: Final = {code: kind for kind, codes in CODES.items() for code in codes}
_PATHOLOGICAL: Final = {"21899-0": "clinical_t", "21900-6": "clinical_n"}
SEARCHED: Final = (*_KINDS, *_PATHOLOGICAL)
_STAGES: Final = {
    "1228882005": 0, "1228889001": 1, "1228929004": 2, "1228938002": 3, "1228944003": 4,
    "1229967007": 0, "1229973008": 1, "1229978004": 2, "1229984001": 3,
}  # SNOMED CT: AJCC cT0..cT4, cN0..cN3  # fmt: skip
_STAGE: Final = re.compile(r"\bc?([TN])\s*([0-4])(?:mi|is|[a-d])?\b(?!\d)", re.IGNORECASE)
_ANSWERS: Final = {
    "LA6576-8": "positive", "10828004": "positive", "POS": "positive", "LA11843-2": "positive",
    "LA6577-6": "negative", "260385009": "negative", "NEG": "negative", "LA11841-6": "negative",
    "LA11842-4": "equivocal", "42425007": "equivocal", "E": "equivocal",
}  # fmt: skip
_WORDS: Final = {"positive": "positive", "negative": "negative", "equivocal": "equivocal", "3+": "positive",
                 "2+": "equivocal", "1+": "negative", "0": "negative", "amplified": "positive",
                 "not amplified": "negative"}  # fmt: skip
_USABLE: Final = ("final", "amended", "corrected")


def read(
    observations: Iterable[Json],
    exam_date: date | None,
    max_days_after: int,
    known_specimens: Mapping[str, Json] | None = None,
    ki67_high_percent: float = KI67_HIGH_PERCENT,
) -> ClinicalFacts:
    """The newest usable Observation of each kind, no later than `max_days_after` days after the exam.

    What is only known later (surgical pathology, say) was not known when the images were read, and is not used.
    Of the tumour's markers only what comes from a biopsy counts, or from a specimen that nobody names
    (`known_specimens`: those that are named, by id). Preliminary, cancelled and entered-in-error results are not used.
    Without an exam date every date is accepted.
    """
    last = None if exam_date is None else exam_date + timedelta(days=max_days_after)
    newest: dict[str, Json] = {}
    why: dict[str, str] = {}
    for one in sorted(observations, key=_when):
        kind = _kind(one)
        if kind is None:
            for code in _codes(one, "code"):
                if code in _PATHOLOGICAL:
                    why.setdefault(_PATHOLOGICAL[code], "FHIR has a pathological stage only")
        elif one.get("status") not in _USABLE:
            why.setdefault(kind, "the FHIR result is not final")
        elif last is not None and (when := parse_date(_when(one))) is not None and when > last:
            why.setdefault(kind, "known only after the exam")
        elif last is not None and when is None:
            why.setdefault(kind, "the FHIR result has no date")
        elif kind in MARKERS and (reason := _not_from_biopsy(one, known_specimens or {})):
            why.setdefault(kind, reason)
        else:
            newest[kind] = one
    return _facts(newest, why, ki67_high_percent)


def _not_from_biopsy(observation: Json, known: Mapping[str, Json]) -> str:
    """Why a marker's specimen forbids its use; "" where nothing does."""
    if specimens.reference_of(observation) is None:
        return ""
    specimen = specimens.found(observation, known)
    if specimen is None:
        return "the specimen that the FHIR result names cannot be read"
    return "from a specimen of surgery, not of a biopsy" if specimens.origin(specimen) == "surgery" else ""


def _facts(newest: Mapping[str, Json], why: Mapping[str, str], ki67_high_percent: float) -> ClinicalFacts:
    values: dict[Name, object] = {}
    missing: dict[str, str] = {}
    kinds: tuple[tuple[Name, str], ...] = (("clinical_t", "T"), ("clinical_n", "N"))
    for name, letter in kinds:
        values[name] = stage(newest[name], letter) if name in newest else None
        missing[name] = why.get(name, "the FHIR stage cannot be read" if name in newest else "not in FHIR")
    values["ki67_percent"] = percent(newest["ki67"]) if "ki67" in newest else None
    missing["ki67_percent"] = why.get("ki67", "the FHIR value is no percentage" if "ki67" in newest else "not in FHIR")
    receptors = Receptors(
        _percent_of(newest, "er_percent", "er"),
        _percent_of(newest, "pr_percent", "pr"),
        _positive(newest, "er"),
        _positive(newest, "pr"),
        _her2(newest),
        ki67_high_percent,
    )
    subtype, lacking = receptors.subtype(values["ki67_percent"])  # type: ignore[arg-type]
    values["molecular_subtype"], missing["molecular_subtype"] = subtype, lacking
    return facts_from(values, missing, "FHIR", "not in FHIR")


def _percent_of(newest: Mapping[str, Json], *kinds: str) -> float | None:
    return next((p for kind in kinds if kind in newest and (p := percent(newest[kind])) is not None), None)


def _positive(newest: Mapping[str, Json], kind: str) -> bool | None:
    result = answer(newest[kind]) if kind in newest else None
    return None if result in (None, "equivocal") else result == "positive"


def _her2(newest: Mapping[str, Json]) -> Her2 | None:
    """The laboratory's interpretation, else in-situ hybridisation, else immunohistochemistry unless equivocal."""
    for kind in ("her2", "her2_ish", "her2_ihc"):
        result = answer(newest[kind]) if kind in newest else None
        if result == "positive":
            return "positive"
        if result == "negative":
            return "negative"
    return None


def stage(observation: Json, letter: str) -> int | None:
    """Stage 0..4 of a T or N category; None for X, for post-therapy categories, and what cannot be read."""
    codings = observation.get("valueCodeableConcept", {}).get("coding", [])
    stages = {_STAGES[c["code"]] for c in codings if c.get("code") in _STAGES}
    for text in _texts(observation):
        if re.search(r"\by[cp]", text) or re.search(r"\bp[TN]", text):
            return None
        stages |= {int(m[2]) for m in _STAGE.finditer(text) if m[1].upper() == letter}
    return stages.pop() if len(stages) == 1 else None


def percent(observation: Json) -> float | None:
    """A quantity in percent (UCUM `%`, or a fraction `1`); None for anything else, and for "less than" values."""
    quantity = observation.get("valueQuantity")
    if not isinstance(quantity, Mapping) or quantity.get("comparator"):
        return None
    unit = quantity.get("code") or quantity.get("unit")
    value = quantity.get("value")
    if unit not in ("%", "{%}", "1") or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    number = float(value) * (100.0 if unit == "1" else 1.0)
    return number if 0 <= number <= 100 else None


def answer(observation: Json) -> str | None:
    """positive, negative or equivocal, by code, interpretation or text; None where they do not agree or do not say."""
    codes = [*_codes(observation, "valueCodeableConcept")]
    for interpretation in observation.get("interpretation", []):
        codes += [c.get("code") for c in interpretation.get("coding", [])]
    results = {_ANSWERS[c] for c in codes if c in _ANSWERS}
    if not results:
        results = {_WORDS[t] for text in _texts(observation) if (t := text.strip().lower()) in _WORDS}
    return results.pop() if len(results) == 1 else None


def _kind(observation: Json) -> str | None:
    return next((_KINDS[c] for c in _codes(observation, "code") if c in _KINDS), None)


def _codes(observation: Json, element: str) -> list[str]:
    return [c.get("code", "") for c in observation.get(element, {}).get("coding", [])]


def _texts(observation: Json) -> list[str]:
    """Whatever the value says in words: display and text of its concept, or a string."""
    concept = observation.get("valueCodeableConcept", {})
    texts = [t for c in concept.get("coding", []) for t in (c.get("display"), c.get("code"))]
    return [t for t in (*texts, concept.get("text"), observation.get("valueString")) if isinstance(t, str)]


def _when(observation: Json) -> str:
    period = observation.get("effectivePeriod", {})
    dates = (observation.get("effectiveDateTime"), observation.get("effectiveInstant"), period.get("start"),
            observation.get("issued"))  # fmt: skip
    return str(next((t for t in dates if t), ""))
