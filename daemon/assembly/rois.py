"""Which ROI objects count, and what they are: from their headers, by the rules that read their voxels later."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from daemon.assembly.records import Stored
from pipeline.catalog import InstanceFacts, SegmentFacts
from pipeline.roi.describe import Description
from pipeline.roi.roles import Recognised, role_of
from pipeline.roi.rules import Rules

Thing = tuple[object, ...]


def newest_rois(stored: Sequence[Stored]) -> list[Stored]:
    """Everything but ROI objects all of whose ROIs their author has drawn again, in one newer object or several.

    A ROI is told by its author and its name; the newer object is the one with the later content date and time, then
    the one that arrived later. Several objects with different names (a SEG per lymph node) stand side by side. An
    object without any region, or whose file cannot be read, replaces nothing and counts only where it is all there is.
    """
    rois = sorted((s for s in stored if s.facts.is_roi), key=lambda s: (_drawn_at(s.facts), s.received_at, s.id))
    drawn_since: set[Thing] = set()
    counting: list[Stored] = []
    for item in reversed([item for item in rois if is_usable(item)] or rois):
        mine = {_thing(item.facts, segment) for segment in item.facts.segments}
        if not mine or mine - drawn_since:
            counting.append(item)
        drawn_since |= mine
    return [s for s in stored if not s.facts.is_roi] + counting[::-1]


def is_usable(roi: Stored) -> bool:
    """Whether there is anything to read in a ROI object, as far as its header tells."""
    return bool(roi.facts.segments) and "no_region" not in roi.facts.tags and not roi.unreadable


def left_out(stored: Sequence[Stored]) -> str:
    """A sentence on ROI objects that count for nothing beside others; empty where there are none."""
    rois = [s for s in stored if s.facts.is_roi]
    useless = [s for s in rois if not is_usable(s)]
    if not useless or len(useless) == len(rois):
        return ""
    return f"{len(useless)} ROI objects hold no region that can be read and count for nothing"


def recognise(roi: InstanceFacts, segment: SegmentFacts, rules: Rules) -> Recognised:
    """What a segment is, from its header alone."""
    described = Description(
        path=roi.path or Path(),
        source=roi.ref,
        number=segment.number,
        label=segment.label,
        category=segment.property_category,
        type=segment.property_type,
        anatomies=(segment.anatomy,) if segment.anatomy else (),
    )
    return role_of(described, rules)


def _thing(roi: InstanceFacts, segment: SegmentFacts) -> Thing:
    name = " ".join(segment.label.casefold().split())
    return (roi.tags.get("author_key"), name or segment.property_type)


def _drawn_at(facts: InstanceFacts) -> str:
    """Content date and time; a structure set has its own."""
    for date, time in (("ContentDate", "ContentTime"), ("StructureSetDate", "StructureSetTime")):
        if facts.tags.get(date):
            return f"{facts.tags[date]}{facts.tags.get(time) or ''}"
    return ""
