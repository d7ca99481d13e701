"""What is known of a patient beside the images, and why the rest is not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Final, Literal

from pipeline.signature.subtype import KI67_HIGH_PERCENT, RECEPTOR_PERCENT, molecular_subtype

Name = Literal["age_years", "clinical_t", "clinical_n", "ki67_percent", "molecular_subtype"]
NAMES: Final[tuple[Name, ...]] = ("age_years", "clinical_t", "clinical_n", "ki67_percent", "molecular_subtype")
Her2 = Literal["positive", "negative"]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who and which exam is asked about, as the images say. Never logged."""

    patient_id: str = field(repr=False)
    issuer: str = field(default="", repr=False)
    accession_number: str = field(default="", repr=False)
    exam_date: date | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ClinicalFacts:
    """The five variables of a multiomic signature; None where it is not known.

    `clinical_t` and `clinical_n`: stage 0..4. `missing`: a reason for every None. `sources`: where each value is
    from ("DICOM", "registry", "FHIR").
    """

    age_years: float | None = None
    clinical_t: int | None = None
    clinical_n: int | None = None
    ki67_percent: float | None = None
    molecular_subtype: str | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)

    def known(self) -> dict[str, object]:
        """The variables that are known, by name: what a prediction takes."""
        return {name: value for name in NAMES if (value := getattr(self, name)) is not None}

    def completed_by(self, other: ClinicalFacts) -> ClinicalFacts:
        """These facts, with what they lack taken from `other`; the reasons of both where neither knows."""
        values: dict[str, object] = {}
        sources, missing = dict(self.sources), {}
        for name in NAMES:
            mine, theirs = getattr(self, name), getattr(other, name)
            values[name] = theirs if mine is None else mine
            if mine is None and theirs is not None:
                sources[name] = other.sources[name]
            elif mine is None:
                why = [reason for reason in (self.missing.get(name), other.missing.get(name)) if reason]
                missing[name] = "; ".join(dict.fromkeys(why)) or "not told"
        return replace(self, **values, sources=sources, missing=missing)  # type: ignore[arg-type]


def all_missing(why: str) -> ClinicalFacts:
    """Nothing is known, for one reason."""
    return ClinicalFacts(missing=dict.fromkeys(NAMES, why))


def facts_from(values: Mapping[Name, object], missing: Mapping[str, str], source: str, default: str) -> ClinicalFacts:
    """Facts of one source; what is in neither `values` nor `missing` is missing for the reason `default`."""
    known = {name: value for name, value in values.items() if value is not None}
    why = {name: missing.get(name, default) for name in NAMES if name not in known}
    return ClinicalFacts(**known, missing=why, sources=dict.fromkeys(known, source))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Receptors:
    """Receptor status as told: percent of stained nuclei where known, else positive or negative."""

    er_percent: float | None = None
    pr_percent: float | None = None
    er_positive: bool | None = None
    pr_positive: bool | None = None
    her2: Her2 | None = None
    ki67_high_percent: float = KI67_HIGH_PERCENT

    def subtype(self, ki67_percent: float | None) -> tuple[str | None, str]:
        """The subtype by St Gallen 2013, or None and why.

        A receptor told as positive stands for at least 1 %; whether PR is high cannot be known from that, so it
        counts for ER alone.
        """
        er = self.er_percent
        if er is None and self.er_positive is not None:
            er = RECEPTOR_PERCENT if self.er_positive else 0.0
        pr = self.pr_percent
        if pr is None and self.pr_positive is False:
            pr = 0.0
        subtype = molecular_subtype(er, pr, self.her2, ki67_percent, self.ki67_high_percent)
        if subtype != "unclassified":
            return subtype, ""
        receptors = {"ER": er, "PR": pr, "HER2": self.her2, "Ki-67": ki67_percent}
        lacking = [name for name, value in receptors.items() if value is None]
        if lacking:
            return None, f"{', '.join(lacking)} not known well enough for a molecular subtype"
        return None, "the rules for the molecular subtype do not cover these receptors"


def age_from_dicom(patient_age: str | None, birth_date: str | None, exam_date: date | None) -> float | None:
    """Age in years on the day of the exam, from Patient's Birth Date (DA) or else Patient's Age (AS, PS3.5 6.2).

    None where neither can be read, or the result is outside 0..120.
    """
    age: float | None = None
    born = parse_date(birth_date)
    if born is not None and exam_date is not None:
        age = float(exam_date.year - born.year - ((exam_date.month, exam_date.day) < (born.month, born.day)))
    elif patient_age and len(patient_age) == 4 and patient_age[:3].isdigit():
        per_year = {"Y": 1.0, "M": 12.0, "W": 365.25 / 7, "D": 365.25}.get(patient_age[3])
        age = None if per_year is None else float(int(int(patient_age[:3]) / per_year))
    return age if age is not None and 0 <= age <= 120 else None


def parse_date(text: str | None) -> date | None:
    """A DICOM DA or the date part of an ISO 8601 date or time; None for a partial or impossible one."""
    digits = (text or "").strip()[:10].replace("-", "")[:8]
    if len(digits) != 8 or not digits.isdigit():
        return None
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return None
