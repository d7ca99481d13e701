"""A corrected patient: an archive sends objects again, the same in all but the Patient ID.

The identity of a report changes only by a decision: an operator's, or an archive's answer where the settings trust it.
Until then the first identity counts, and the correction is shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from daemon.assembly.identity import Person, is_same_person, person_in, person_of
from daemon.assembly.records import ANY_IDENTITY, Arrived, Stored

CODE = "patient-corrected"


@dataclass(frozen=True, slots=True)
class Correction:
    """`key`: the newest identity, `person` with and without its issuer; `before`: those that the same objects had.

    `count`: objects that came under both.
    """

    key: str
    person: Person
    before: frozenset[str]
    count: int

    @property
    def phrase(self) -> str:
        return f"{self.count} objects that came again under another Patient ID"


def correction_of(stored: Iterable[Stored]) -> Correction | None:
    """The correction, if all objects that were sent again agree on one new identity."""
    by_uid: dict[str, list[Stored]] = {}
    for item in sorted(stored, key=lambda s: (s.received_at, s.id)):
        if item.facts.is_image or item.facts.is_roi:
            by_uid.setdefault(item.facts.ref.sop_instance_uid, []).append(item)
    changed = [[i.facts for i in items] for items in by_uid.values()]
    changed = [facts for facts in changed if facts[-1].patient_key != facts[0].patient_key]
    newest = {facts[-1].patient_key for facts in changed}
    if len(newest) != 1:
        return None
    key = newest.pop()
    before = frozenset(f.patient_key for facts in changed for f in facts) - {key}
    return Correction(key, person_of(changed[0][-1]), before, len(changed))


def is_open(correction: Correction, exam: Arrived) -> bool:
    """Whether the correction is still to be decided on."""
    return correction.key != exam.identity and not exam.accepted & {correction.key, ANY_IDENTITY}


def is_confirmed(correction: Correction, exam: Arrived) -> bool:
    """Whether archives that were asked since then know the exam, and all of them under the new identity."""
    answers = [a for a in exam.answers if a.asked_at >= exam.last_arrival_at]
    people = [person for a in answers if (person := person_in(a)) is not None]
    return bool(people) and all(is_same_person(person, correction.person) for person in people)


def with_accepted_identity(exam: Arrived, stored: Iterable[Stored], correction: Correction) -> Arrived:
    """The exam under its new identity. ROIs that still have the old one belong to it once all images have the new."""
    images = {s.facts.patient_key for s in stored if s.facts.is_image}
    if images != {correction.key}:
        return exam
    return replace(exam, accepted=exam.accepted | correction.before | {correction.key})
