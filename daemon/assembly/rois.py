"""Which ROI objects count, and what they are: from their headers, by the rules that read their voxels later."""

from __future__ import annotations

from collections.abc import Sequence

from daemon.assembly.records import Stored
from pipeline.catalog import InstanceFacts, SegmentFacts
from pipeline.roi.describe import of_facts
from pipeline.roi.edited_states import drawn_at, is_bare
from pipeline.roi.roles import Recognised, role_of
from pipeline.roi.rules import Rules

Thing = tuple[object, ...]


def newest_rois(stored: Sequence[Stored]) -> list[Stored]:
    """Everything but ROI objects all of whose ROIs their author has drawn again, in one newer object or several.

    A ROI is told by its author and its name; the newer object is the one with the later content date and time, then
    the one that arrived later. Several objects with different names (a SEG per lymph node) stand side by side. An
    object without codes (an edit in a viewer) leaves an earlier one with codes standing: it says what the newer one is.
    An object without any region, or whose file cannot be read, replaces nothing and counts only where it is all there
    is.
    """
    rois = sorted((s for s in stored if s.facts.is_roi), key=lambda s: (drawn_at(s.facts), s.received_at, s.id))
    # What was drawn since, and whether that says by codes what it is: where not, the earlier state is needed to know.
    drawn_since: dict[Thing, bool] = {}
    counting: list[Stored] = []
    for item in reversed([item for item in rois if is_usable(item)] or rois):
        mine = {_thing(item.facts, s): not is_bare(of_facts(item.facts, s)) for s in item.facts.segments}
        if not mine or any(t not in drawn_since or (coded and not drawn_since[t]) for t, coded in mine.items()):
            counting.append(item)
        drawn_since |= {t: coded or drawn_since.get(t, False) for t, coded in mine.items()}
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
    return role_of(of_facts(roi, segment), rules)


def _thing(roi: InstanceFacts, segment: SegmentFacts) -> Thing:
    name = " ".join(segment.label.casefold().split())
    return (roi.tags.get("author_key"), name or segment.property_type)
