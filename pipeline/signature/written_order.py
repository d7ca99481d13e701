"""Which signatures are in use, and the order in which they are asked.

The order is written down, never computed from a digest: the members of a family follow each other as its author wrote
them, and what is activated goes before the first one that reads less. Pure functions on one record; nothing is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.signature import names


@dataclass(frozen=True)
class Listed:
    """A signature by its SHA-256, and what it reads: `{sequence}.{roi}` groups and clinical columns."""

    sha256: str
    inputs: frozenset[str]

    @property
    def key(self) -> str:
        """Its inputs as text: one signature is active for each."""
        return inputs_key(self.inputs)

    @property
    def breadth(self) -> tuple[int, int]:
        """How many groups it reads, then how many clinical columns."""
        clinical = self.inputs & frozenset(names.CLINICAL)
        return len(self.inputs - clinical), len(clinical)


@dataclass(frozen=True)
class FamilyInUse:
    """A family whose members were activated together; `members`: SHA-256 of those still active, in written order."""

    name: str
    version: str
    members: tuple[str, ...]

    @property
    def title(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass(frozen=True)
class InUse:
    """`active`: SHA-256 by inputs; `order`: the same in the order in which they are asked; `shadow`: never reported."""

    active: Mapping[str, str]
    shadow: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    families: tuple[FamilyInUse, ...] = ()


NOTHING_IN_USE = InUse({})


def inputs_key(inputs: frozenset[str]) -> str:
    """A set of inputs as text."""
    return "+".join(sorted(inputs))


def completed(state: InUse, listed: Mapping[str, Listed]) -> InUse:
    """The state with every active signature in the order, as one that an earlier version wrote has none.

    `listed` has every active signature. Those without a place go before the first that reads less, in the order of
    their inputs' text.
    """
    active = set(state.active.values())
    order = [sha256 for sha256 in dict.fromkeys(state.order) if sha256 in active]
    for _, sha256 in sorted(state.active.items()):
        if sha256 not in order:
            order.insert(_place(order, listed[sha256], listed), sha256)
    return _consistent(replace(state, order=tuple(order)))


def activated(state: InUse, members: Sequence[Listed], listed: Mapping[str, Listed], family: str = "") -> InUse:
    """The state with these signatures active, in this order, as the family `name@version` or (none) each its own.

    A signature that was active for the same inputs is replaced; so is every member of a family of the same name. One
    signature alone takes the place of the one it replaces.
    """
    name, _, version = family.partition("@")
    former = {sha for f in state.families if family and f.name == name for sha in f.members}
    replaced = {state.active[m.key] for m in members if m.key in state.active} | former
    new = [m.sha256 for m in members]
    place = state.order.index(state.active[members[0].key]) if not family and members[0].key in state.active else None
    remaining = [sha for sha in state.order if sha not in replaced and sha not in new]
    if place is None:
        place = _place(remaining, members[0], listed)
    order = (*remaining[:place], *new, *remaining[place:])
    active = {key: sha for key, sha in state.active.items() if sha in remaining} | {m.key: m.sha256 for m in members}
    families = tuple(replace(f, members=tuple(s for s in f.members if s not in new)) for f in state.families)
    if family:
        families = (*families, FamilyInUse(name, version, tuple(new)))
    shadow = tuple(s for s in state.shadow if s not in new)
    return _consistent(InUse(active, shadow, order, families))


def deactivated(state: InUse, sha256: str) -> InUse:
    """The state without this signature among the active ones."""
    active = {key: sha for key, sha in state.active.items() if sha != sha256}
    return _consistent(replace(state, active=active))


def _place(order: Sequence[str], new: Listed, listed: Mapping[str, Listed]) -> int:
    """Before the first one that reads less; else last."""
    return next((i for i, sha in enumerate(order) if listed[sha].breadth < new.breadth), len(order))


def _consistent(state: InUse) -> InUse:
    """Order and families without what is no longer active."""
    active = set(state.active.values())
    families = (replace(f, members=_among(f.members, active)) for f in state.families)
    return replace(state, order=_among(state.order, active), families=tuple(f for f in families if f.members))


def _among(some: Iterable[str], active: set[str]) -> tuple[str, ...]:
    return tuple(sha256 for sha256 in some if sha256 in active)
