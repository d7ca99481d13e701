"""What an answer rests on: the signatures in use, and the objects that each of their inputs is read from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypedDict

from pipeline.needs import GROUPS, Group, SignatureNeeds
from pipeline.records import Role

# (SOP Instance UID, digest) of an object.
Pair = tuple[str, str]


class SideAnswer(TypedDict):
    """The signature that answered for one side, and the groups that it reads, as `t1c.tumor`."""

    signature: str
    groups: list[str]


class RegionOrigin(TypedDict):
    """Who made a region (an origin of `pipeline.records`), and who confirmed one that software made."""

    origin: str
    confirmed_by: str | None


class RecordedAnswer(TypedDict):
    """The answer of a revision, as the ledger keeps it. `sides`: by `L`, `R`, or empty for the whole exam; until the
    analysis is done, what was `expected`.

    `reads`: pairs by name of sequence or region; `available`: the groups that were there; `in_use`: the signatures that
    were in use; `redo`: how often an operator had asked for a new revision.
    """

    expected: SideAnswer
    sides: dict[str, SideAnswer]
    reads: dict[str, list[list[str]]]
    regions: dict[str, RegionOrigin]
    available: list[str]
    in_use: list[str]
    redo: int


@dataclass(frozen=True, slots=True)
class InUse:
    """The signatures that may answer. `trouble`: why there are none, where they could not be read; `code`: its kind.

    `phase`: the one of T1+C that they were trained on; None: that of the settings.
    """

    signatures: tuple[SignatureNeeds, ...]
    trouble: str = ""
    code: str = ""
    phase: str | None = None


# What axrad ships with reads everything.
EVERYTHING = InUse((SignatureNeeds("demonstration", frozenset(GROUPS)),))


@dataclass(frozen=True, slots=True)
class Basis:
    """What an answer would rest on now.

    `asked`: the signature that would be asked first; None where none can answer. `reads`: by name of sequence or
    region, what it is read from, candidates that only pixels can decide between included. `ids`: of every instance
    that counts.
    """

    in_use: tuple[SignatureNeeds, ...]
    asked: SignatureNeeds | None
    available: frozenset[Group]
    reads: Mapping[str, frozenset[Pair]]
    ids: Mapping[Pair, int]
    regions: Mapping[Role, RegionOrigin] = field(default_factory=lambda: MappingProxyType({}))

    def of(self, groups: Iterable[Group]) -> frozenset[Pair]:
        """All that these groups are read from."""
        names = {name for group in groups for name in group}
        return frozenset(pair for name in names for pair in self.reads.get(name, ()))


def side_answer(needs: SignatureNeeds) -> SideAnswer:
    """That this signature answers, as the ledger keeps it."""
    return {"signature": needs.name, "groups": sorted(".".join(group) for group in needs.groups)}


def expected_answer(basis: Basis, redo: int) -> RecordedAnswer | None:
    """The answer that is expected of an analysis now; which signature answers is known when it is done."""
    if basis.asked is None:
        return None
    return {
        "expected": side_answer(basis.asked),
        "sides": {"": side_answer(basis.asked)},
        "reads": {name: [list(pair) for pair in sorted(pairs)] for name, pairs in sorted(basis.reads.items())},
        "regions": dict(sorted(basis.regions.items())),
        "available": sorted(".".join(group) for group in basis.available),
        "in_use": [needs.name for needs in basis.in_use],
        "redo": redo,
    }


def groups_of(names: Iterable[str]) -> frozenset[Group]:
    """Groups from their names."""
    wanted = set(names)
    return frozenset(group for group in GROUPS if ".".join(group) in wanted)
