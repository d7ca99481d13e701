"""The patient of an exam: digests of Patient ID, with and without its issuer, never the id itself."""

from __future__ import annotations

from collections.abc import Iterable

from daemon.assembly.records import ANY_IDENTITY, Answer, Arrived, Stored
from pipeline.catalog import InstanceFacts, patient_key

NOBODY = patient_key("", "")
DIFFERS_FROM_PACS = "identity-differs-from-pacs"
# A patient: the digest of the id alone, and the one with its issuer where the object names an issuer.
Person = tuple[str, str | None]


def identity_objection(exam: Arrived, stored: Iterable[Stored]) -> tuple[str, str] | None:
    """Code and noun phrase if an operator has to look at the identities of this exam first."""
    people, keys = _people(stored)
    mentioned = keys | {a.patient_key for a in exam.answers if a.patient_key}
    if ANY_IDENTITY in exam.accepted or mentioned <= exam.accepted:
        return None
    if not keys <= exam.accepted and _count(people) > 1:
        return "identity-changes", f"objects of {_count(people)} different patients in one study"
    for answer in exam.answers:
        theirs = person_in(answer)
        if theirs is not None and not all(is_same_person(theirs, person) for person in people):
            phrase = f"another Patient ID in {answer.pacs} than in the objects that arrived"
            return DIFFERS_FROM_PACS, phrase
    return None


def identity_keys(exam: Arrived) -> frozenset[str]:
    """All identities in this exam, which an operator accepts together."""
    _, keys = _people(exam.stored)
    return frozenset(keys | {a.patient_key for a in exam.answers if a.patient_key})


def _people(stored: Iterable[Stored]) -> tuple[set[Person], set[str]]:
    """The patients that images, ROIs and measurements name. What has no Patient ID takes the patient of its images."""
    people: set[Person] = set()
    keys: set[str] = set()
    for facts in (s.facts for s in stored):
        if facts.is_image or ((facts.is_roi or facts.measures) and facts.patient_key != NOBODY):
            people.add(person_of(facts))
            keys.add(facts.patient_key)
    return people, keys


def person_of(facts: InstanceFacts) -> Person:
    alone = facts.tags.get("patient_id_key")
    return (str(alone), facts.patient_key) if alone else (facts.patient_key, None)


def person_in(answer: Answer) -> Person | None:
    if answer.patient_key is None:
        return None
    if answer.patient_id_key in (None, answer.patient_key):
        return answer.patient_key, None
    return str(answer.patient_id_key), answer.patient_key


def is_same_person(one: Person, other: Person) -> bool:
    """Whether the ids are the same and do not come from two issuers."""
    return one[0] == other[0] and (one[1] is None or other[1] is None or one[1] == other[1])


def _count(people: set[Person]) -> int:
    issuers: dict[str, set[str]] = {}
    for alone, full in people:
        issuers.setdefault(alone, set()).update({full} if full else ())
    return sum(max(1, len(full)) for full in issuers.values())
