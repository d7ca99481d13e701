"""When a new revision follows another: something that its answer read was replaced, withdrawn or rejected, or something
that came since makes an answer of higher rank possible. Nothing else makes one.

Rank: all regions drawn or confirmed before any preliminary one, then the written order of the signatures in use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from daemon.assembly.answers import Basis, Pair, RecordedAnswer, RegionOrigin, SideAnswer, groups_of
from pipeline.needs import Available, SignatureNeeds, answerable
from pipeline.records import PROPOSED, Role

# Behind every place in a written order.
LAST = 10**9
REPLACED = "something that the answer read was replaced or withdrawn"
CHANGED = "the answer reads other objects now"
REGION = "a region that the answer read was confirmed or rejected"
HIGHER = "a signature of higher rank can answer now"
STAYS = "newer objects leave open which ones the report would be made of now; the report stays"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`new`: why a new revision follows; `flagged`: what an operator should know where none does."""

    new: str = ""
    flagged: str = ""


def compare(answer: RecordedAnswer, judged_then: frozenset[int], basis: Basis, redo: int) -> Outcome:
    """Whether a new revision follows one with this answer.

    Args:
        judged_then: ids of the instances that were there when that revision was made.
        redo: how often an operator has asked for a new revision.
    """
    if redo != answer["redo"]:
        return Outcome("asked for by an operator")
    outcomes = [_of_side(side, answer, judged_then, basis) for side in answer["sides"].values()]
    new = next((o.new for o in outcomes if o.new), "")
    return Outcome(new, "" if new else next((o.flagged for o in outcomes if o.flagged), ""))


def _of_side(side: SideAnswer, answer: RecordedAnswer, judged_then: frozenset[int], basis: Basis) -> Outcome:
    groups = groups_of(side["groups"])
    then = {name: _pairs(answer, name) for group in groups for name in group}
    flagged = ""
    if any(pairs != basis.reads.get(name, frozenset()) for name, pairs in then.items()):
        if any(pair not in basis.ids for pairs in then.values() for pair in pairs):
            return Outcome(REPLACED)
        if all(basis.reads.get(name) for name, pairs in then.items() if pairs):
            return Outcome(CHANGED)
        # Nothing was withdrawn, and an input cannot be told any more: several objects may be it.
        flagged = STAYS
    if any(answer["regions"].get(role) != basis.regions.get(role) for _, role in groups):
        return Outcome(flagged=flagged) if flagged else Outcome(REGION)
    if _higher_is_possible(side, answer, judged_then, basis):
        return Outcome(HIGHER)
    return Outcome(flagged=flagged)


def _higher_is_possible(side: SideAnswer, answer: RecordedAnswer, judged_then: frozenset[int], basis: Basis) -> bool:
    """Whether something that came since makes an answer of higher rank possible; activation alone does not."""
    best = basis.asked
    if best is None or _rank(best, basis.regions) >= _rank_then(side, answer, basis):
        return False
    came_since = any(basis.ids.get(pair) not in judged_then for pair in basis.of(best.groups))
    confirmed = any(answer["regions"].get(role) != basis.regions.get(role) for role in best.roles)
    was_possible = best.groups <= groups_of(answer["available"]) and best.name not in answer["in_use"]
    return (came_since or confirmed) and not was_possible


def _rank(needs: SignatureNeeds, regions: Mapping[Role, RegionOrigin]) -> tuple[bool, int]:
    return any(is_preliminary(regions.get(role)) for role in needs.roles), needs.rank


def _rank_then(side: SideAnswer, answer: RecordedAnswer, basis: Basis) -> tuple[bool, int]:
    """The rank of an answer in today's written order.

    An answer of a signature that is not in use any more has the rank of the one that would have answered instead.
    """
    groups = groups_of(side["groups"])
    preliminary = any(is_preliminary(answer["regions"].get(role)) for _, role in groups)
    by_name = {needs.name: needs for needs in basis.in_use}
    instead = answerable(basis.in_use, Available(groups_of(answer["available"]))).first
    needs = by_name.get(side["signature"], instead)
    return preliminary, LAST if needs is None else needs.rank


def is_preliminary(region: RegionOrigin | None) -> bool:
    """Whether axrad proposed the region and no reader has confirmed it."""
    return region is not None and region["origin"] in PROPOSED and region["confirmed_by"] is None


def _pairs(answer: RecordedAnswer, name: str) -> frozenset[Pair]:
    return frozenset((uid, digest) for uid, digest in answer["reads"].get(name, ()))
