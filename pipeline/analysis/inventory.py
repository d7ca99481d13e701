"""What an exam has for signatures to read, and why the rest is not there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pipeline.errors import ExamRejected, RoiRejected, SequenceRejected
from pipeline.needs import REGION_NAMES, Absence, Available, SignatureNeeds, answerable
from pipeline.records import ROLES, SEQUENCES, Role, Sequence, Side
from pipeline.result import Clinical

# Codes of errors that say that a sequence does not show a region, or that nothing relates the two: an absence. Every
# other error is of something that is there, and whatever signature reads it abstains.
ABSENCES = ("roi-outside", "other-frame-of-reference")


@dataclass
class Inventory:
    """Filled step by step.

    `absent`: sequences without a series. `faulty`: sequences whose series cannot be read. `regions`: what of regions
    could not be carried onto a sequence, by the code of the error either absent or faulty there.
    """

    absent: dict[Sequence, Absence] = field(default_factory=dict)
    faulty: dict[Sequence, ExamRejected] = field(default_factory=dict)
    regions: dict[tuple[Sequence, Role, Side | None], ExamRejected] = field(default_factory=dict)

    def available(self, side: Side | None, roles: Iterable[Role], clinical: Clinical | None = None) -> Available:
        """What one side with these regions has. What is faulty counts: the signature that reads it is asked first."""
        there = tuple(roles)
        absent: dict[str, Absence] = dict(self.absent.items())
        absent |= {role: Absence("roi-missing", f"{REGION_NAMES[role]} is missing") for role in set(ROLES) - set(there)}
        for (sequence, role, where), error in self.regions.items():
            if where == side and error.code in ABSENCES:
                absent[f"{sequence}.{role}"] = Absence(error.code, error.message)
        sequences = [name for name in SEQUENCES if name not in self.absent]
        if clinical is None:
            return Available.of(sequences, there, absent=absent)
        absent |= {name: Absence("missing-clinical", f"{name}: {why}") for name, why in clinical.missing.items()}
        return Available.of(sequences, there, clinical.known, absent)

    def fault(self, needs: SignatureNeeds, side: Side | None) -> ExamRejected | None:
        """Why what a signature reads of this side is there and cannot be read."""
        for sequence in SEQUENCES:
            if sequence in self.faulty and sequence in needs.sequences:
                return self.faulty[sequence]
            for role in ROLES:
                error = self.regions.get((sequence, role, side))
                if error is not None and error.code not in ABSENCES and (sequence, role) in needs.groups:
                    return error
        return None

    def stop(self, in_use: Iterable[SignatureNeeds], side: Side | None, roles: Iterable[Role]) -> ExamRejected | None:
        """Why nobody can answer on this side with these regions, clinical facts apart; None: somebody can."""
        answer = answerable(in_use, self.available(side, roles))
        return rejection(answer.reasons) if answer.first is None else self.fault(answer.first, side)

    def sentences(self, side: Side | None, roles: Iterable[Role], clinical: Mapping[str, str]) -> dict[str, str]:
        """`absent` of the result: why inputs could not be read, by their names."""
        there = tuple(roles)
        return dict(self._sentences(side, there)) | {name: clinical[name] for name in sorted(clinical)}

    def _sentences(self, side: Side | None, there: tuple[Role, ...]) -> Iterator[tuple[str, str]]:
        for sequence in SEQUENCES:
            if sequence in self.absent:
                yield sequence, self.absent[sequence].why
            elif sequence in self.faulty:
                yield sequence, self.faulty[sequence].message
        for role in ROLES:
            if role not in there:
                yield role, f"{REGION_NAMES[role]} is missing"
        for sequence in SEQUENCES:
            for role in ROLES:
                error = self.regions.get((sequence, role, side))
                if error is not None:
                    yield f"{sequence}.{role}", error.message


def rejection(reasons: Iterable[Absence]) -> ExamRejected:
    """What is absent, as the error that ends an evaluation. It has the code of the first."""
    those = tuple(reasons)
    kind = RoiRejected if those[0].code.startswith("roi") else SequenceRejected
    return kind("; ".join(dict.fromkeys(one.why for one in those)), code=those[0].code)
