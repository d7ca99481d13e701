"""A segmentation that somebody edited, found again as the later state of the one that it was made from.

Viewers that save an edited SEG (OHIF) drop codes, laterality and tracking, and name no predecessor. What stays are
labels and most of the voxels. A segment is the later state of another if its object is the later one, its label is the
same, nothing codes it, and the two share most of the smaller.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.catalog import InstanceFacts
from pipeline.records import Segment
from pipeline.roi.describe import Description
from pipeline.roi.roles import Recognised, role_of
from pipeline.roi.rules import Rules, load_rules

# Two segments of different objects that share this part of the smaller are two drawings of one thing.
SAME_LESION = 0.5


@dataclass(frozen=True, slots=True)
class Drawn:
    """A segment on the grid, what it was recognised as, and what its maker says of it."""

    segment: Segment
    recognised: Recognised
    described: Description


def overlap(one: Segment, other: Segment) -> bool:
    """Whether two segments are two drawings of one thing."""
    shared = int(np.count_nonzero(one.mask.voxels_zyx & other.mask.voxels_zyx))
    return shared > SAME_LESION * min(one.mask.voxels, other.mask.voxels)


def is_bare(segment: Description, rules: Rules | None = None) -> bool:
    """Whether no code says what a segment is or where, and nothing tracks it."""
    if segment.tracking_uid or segment.anatomies or segment.modifiers:
        return False
    nameless = replace(segment, label="", text="", tracking_id=None)
    recognised = role_of(nameless, rules or load_rules())
    return recognised.role is None and not recognised.why.startswith("coded")


def drawn_at(facts: InstanceFacts) -> str:
    """Content date and time; a structure set has its own. Empty where it does not say."""
    for date, time in (("ContentDate", "ContentTime"), ("StructureSetDate", "StructureSetTime")):
        if facts.tags.get(date):
            return f"{facts.tags[date]}{facts.tags.get(time) or ''}"
    return ""


def earlier_states(
    judged: Mapping[Description, Recognised], dates: Mapping[str, str], rules: Rules
) -> dict[Description, Description]:
    """Per bare segment of a later object the segment of an earlier one that has its label, a role, and codes."""
    earlier: dict[Description, Description] = {}
    known = [d for d, r in judged.items() if r.role and not is_bare(d, rules)]
    for segment in judged:
        if not is_bare(segment, rules) or not _name(segment):
            continue
        mine = dates.get(segment.source.sop_instance_uid, "")
        same = [k for k in known if k.source != segment.source and _name(k) == _name(segment)]
        same = [k for k in same if dates.get(k.source.sop_instance_uid, "") < mine]
        if same:
            earlier[segment] = max(same, key=lambda k: dates.get(k.source.sop_instance_uid, ""))
    return earlier


def _name(segment: Description) -> str:
    return " ".join(segment.label.casefold().split())


def latest(
    drawn: Sequence[Drawn], earlier: Mapping[Description, Description], authors: Mapping[str, object]
) -> tuple[list[Drawn], list[tuple[Description, str]]]:
    """The states that count: side, role and tracking of an earlier one pass to the later one, which replaces it.

    And the segments that are left out, with the reason. `authors` by SOP Instance UID: where the two share too little,
    the same author has drawn it anew, and it inherits nothing; another author has drawn something else.
    """
    by_description = {d.described: d for d in drawn}
    replaced: dict[Description, str] = {}
    counting: list[Drawn] = []
    for item in drawn:
        before = by_description.get(earlier[item.described]) if item.described in earlier else None
        if before is None or not item.segment.mask.voxels:
            counting.append(item)
            continue
        same = overlap(item.segment, before.segment)
        if same or _author(item, authors) == _author(before, authors):
            replaced[before.described] = f"drawn again as {item.described.name}"
        counting.append(_inherited(item, before) if same else item)
    left_out = list(replaced.items())
    left_out += [(d.described, d.recognised.why) for d in counting if d.recognised.role is None]
    return [d for d in counting if d.described not in replaced and d.recognised.role is not None], left_out


def _author(item: Drawn, authors: Mapping[str, object]) -> object:
    return authors.get(item.segment.source.sop_instance_uid)


def _inherited(item: Drawn, before: Drawn) -> Drawn:
    old, new = before.segment, item.segment
    origin = f"a later state of segment {old.number} of {old.source.sop_instance_uid}: role, side, tracking are from it"
    segment = replace(
        new,
        property_type=old.property_type,
        anatomy=old.anatomy,
        laterality=new.laterality or old.laterality,
        tracking_id=old.tracking_id,
        tracking_uid=old.tracking_uid,
        notes=(*new.notes, origin),
    )
    return Drawn(segment, before.recognised, item.described)
