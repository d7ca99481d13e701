"""Which ROI objects count, and what they are: from their headers, by the rules that read their voxels later."""

from __future__ import annotations

from collections.abc import Sequence

from daemon.assembly.records import Stored
from pipeline.catalog import InstanceFacts, SegmentFacts
from pipeline.roi.describe import of_facts
from pipeline.roi.edited_states import drawn_at, is_bare
from pipeline.roi.roles import Recognised, role_of
from pipeline.roi.rules import Rules

RoiName = tuple[object, ...]


def newest_rois(stored: Sequence[Stored]) -> list[Stored]:
    """Everything but ROI objects all of whose ROIs their author has drawn again, in one newer object or several.

    A ROI is identified by its author and its name; the newer object is the one with the later content date and time,
    then the one that arrived later. Several objects with different names (a SEG per lymph node) count side by side.
    An object without codes (an edit in a viewer) does not replace an earlier one with codes, which says what the ROI
    is. An object without any region, or whose file cannot be read, replaces nothing and counts only if there is no
    other.
    """
    rois = sorted((s for s in stored if s.facts.is_roi), key=lambda s: (drawn_at(s.facts), s.received_at, s.id))
    # ROIs drawn later, and whether they have codes: without codes the earlier object is needed to know what they are.
    drawn_since: dict[RoiName, bool] = {}
    counting: list[Stored] = []
    for item in reversed([item for item in rois if is_usable(item)] or rois):
        names = {_roi_name(item.facts, s): not is_bare(of_facts(item.facts, s)) for s in item.facts.segments}
        if not names or any(t not in drawn_since or (coded and not drawn_since[t]) for t, coded in names.items()):
            counting.append(item)
        drawn_since |= {t: coded or drawn_since.get(t, False) for t, coded in names.items()}
    return [s for s in stored if not s.facts.is_roi] + counting[::-1]


def is_usable(roi: Stored) -> bool:
    """Whether a ROI object holds a region, judging by its header."""
    return bool(roi.facts.segments) and "no_region" not in roi.facts.tags and not roi.unreadable


def unreadable_rois(stored: Sequence[Stored]) -> str:
    """A sentence on ROI objects that are left out because they hold no region; empty where there are none."""
    rois = [s for s in stored if s.facts.is_roi]
    useless = [s for s in rois if not is_usable(s)]
    if not useless or len(useless) == len(rois):
        return ""
    return f"{len(useless)} ROI objects hold no region that can be read and count for nothing"


def recognise(roi: InstanceFacts, segment: SegmentFacts, rules: Rules) -> Recognised:
    """The role of a segment, from its header alone."""
    return role_of(of_facts(roi, segment), rules)


def _roi_name(roi: InstanceFacts, segment: SegmentFacts) -> RoiName:
    name = " ".join(segment.label.casefold().split())
    return (roi.tags.get("author_key"), name or segment.property_type)
