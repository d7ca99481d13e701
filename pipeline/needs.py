"""What signatures read of an exam, and which of them can answer with what an exam has.

Assembly (is there anything to wait for?) and analysis (who is asked?) both decide by `answerable`. Nothing here loads
the science.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from pipeline.records import ROLES, SEQUENCES, Role, Sequence

Group = tuple[Sequence, Role]
GROUPS: tuple[Group, ...] = tuple((sequence, role) for sequence in SEQUENCES for role in ROLES)
REGION_NAMES: Mapping[Role, str] = MappingProxyType(
    {"tumor": "the tumour ROI", "lymph_nodes": "the axillary lymph node ROI"}
)
SEQUENCE_TITLES: Mapping[Sequence, str] = MappingProxyType({"t1c": "T1+C", "t2": "T2", "adc": "ADC"})


@dataclass(frozen=True, slots=True)
class SignatureNeeds:
    """What one signature reads: regions on sequences, and clinical facts.

    `name`: `name@version`, with the first digits of its SHA-256 where another one in use is called the same.
    `rank`: its place in the written order of those in use; the lowest is asked first.
    """

    name: str
    groups: frozenset[Group]
    clinical: frozenset[str] = frozenset()
    rank: int = 0
    sha256: str = ""

    @property
    def sequences(self) -> frozenset[Sequence]:
        return frozenset(sequence for sequence, _ in self.groups)

    @property
    def roles(self) -> frozenset[Role]:
        return frozenset(role for _, role in self.groups)


@dataclass(frozen=True, slots=True)
class Absence:
    """Why an input is absent or ambiguous: a code for programs and a sentence for people."""

    code: str
    why: str


@dataclass(frozen=True, slots=True)
class Available:
    """What an exam, or one side of it, has.

    `clinical` None: not looked up, so every fact may be known. `absent`: why something else is not there, by the name
    of a sequence (`adc`), a region (`tumor`), a region on a sequence (`adc.tumor`) or a clinical fact.
    """

    groups: frozenset[Group]
    clinical: frozenset[str] | None = None
    absent: Mapping[str, Absence] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        sequences: Iterable[Sequence],
        roles: Iterable[Role],
        clinical: Iterable[str] | None = None,
        absent: Mapping[str, Absence] = MappingProxyType({}),
    ) -> Available:
        """Every one of these regions on every one of these sequences, except those that `absent` names as a group."""
        those = tuple(roles)
        groups = {(sequence, role) for sequence in sequences for role in those if f"{sequence}.{role}" not in absent}
        return cls(frozenset(groups), None if clinical is None else frozenset(clinical), absent)

    def lacking(self, needs: SignatureNeeds) -> tuple[str, ...]:
        """Names of what a signature reads and is not there: sequences, then regions, groups and clinical facts."""
        here, wanted = Available._names(self.groups), Available._names(needs.groups)
        whole = [name for name in wanted if name not in here]
        if not here:
            # No sequence: no region has a group, or the other way round. What is known to be absent is lacking.
            whole = [name for name in whole if name in self.absent] or whole
        groups = [g for g in GROUPS if g in needs.groups - self.groups and not set(g) & set(whole)]
        facts = () if self.clinical is None else sorted(needs.clinical - self.clinical)
        return (*whole, *(".".join(group) for group in groups), *facts)

    def absence(self, name: str) -> Absence:
        """Why this input is not there: of a sequence or region that no group has, what is known of its groups."""
        of_groups = (".".join(group) for group in GROUPS if name in group)
        known = (self.absent[one] for one in (name, *of_groups) if one in self.absent)
        return next(known, None) or _unexplained(name)

    @staticmethod
    def _names(groups: Iterable[Group]) -> tuple[str, ...]:
        those = {name for group in groups for name in group}
        return tuple(name for name in (*SEQUENCES, *ROLES) if name in those)


@dataclass(frozen=True, slots=True)
class Answerable:
    """Which signatures can answer, the one that is asked first; and what the others lack, by signature.

    `reasons`: where none can, why: what the one that comes nearest lacks.
    """

    signatures: tuple[SignatureNeeds, ...]
    lacking: Mapping[str, tuple[str, ...]]
    reasons: tuple[Absence, ...]

    @property
    def first(self) -> SignatureNeeds | None:
        return self.signatures[0] if self.signatures else None


def answerable(in_use: Iterable[SignatureNeeds], available: Available) -> Answerable:
    """The signatures that can answer with what is available, in their written order, or the reasons why none can.

    Nearest is the signature that lacks the fewest inputs; of several, the one that would be asked first.
    """
    ordered = sorted(in_use, key=lambda needs: needs.rank)
    lacking = {needs.name: available.lacking(needs) for needs in ordered}
    able = tuple(needs for needs in ordered if not lacking[needs.name])
    others = {name: names for name, names in lacking.items() if names}
    if able:
        return Answerable(able, others, ())
    if not ordered:
        return Answerable((), {}, (Absence("no-signature", "no signature is in use"),))
    nearest = min(ordered, key=lambda needs: len(lacking[needs.name]))
    return Answerable((), others, tuple(available.absence(name) for name in lacking[nearest.name]))


def _unexplained(name: str) -> Absence:
    """The absence of an input for which nothing else is known."""
    for sequence, title in SEQUENCE_TITLES.items():
        if name == sequence:
            return Absence(f"no-{sequence}", f"the exam has no series that could be {title}")
    for role, region in REGION_NAMES.items():
        if name == role:
            return Absence("roi-missing", f"{region} is missing")
    sequence_of, _, role_of = name.partition(".")
    if role_of:
        return Absence("roi-outside", f"the {role_of} region is not on the images of {sequence_of}")
    return Absence("missing-clinical", f"{name} is not known")
