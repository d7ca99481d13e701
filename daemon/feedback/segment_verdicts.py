"""What a reader's report says of each segment of one segmentation of ours (assessments as IHE AIRA has them).

A verdict is about what its own content item refers to, else about what the container refers to that it stands in, else
about what that one's container does. Where no container refers to anything, it is about the only result among the
objects that the report lists. A verdict that may be about something else as well is unclear.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydicom.dataset import Dataset

from daemon.feedback.assessment import SIDES, Verdict, code_of, is_not_understood, items_of, verdict_of
from pipeline.catalog import MR_CLASSES
from pipeline.records import Side

TRACKING_UID = ("112040", "DCM")
LISTS = ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence", "ReferencedSOPSequence")


@dataclass(frozen=True, slots=True)
class Reference:
    """An object, and segments of it (none: all of it), or what is tracked under a UID."""

    sop_uid: str = ""
    numbers: frozenset[int] = frozenset()
    tracking_uid: str = ""


@dataclass(frozen=True, slots=True)
class OurSegment:
    tracking_uid: str
    side: Side | None


def verdicts_on(report: Dataset, sop_uid: str, segments: Mapping[int, OurSegment]) -> dict[int, Verdict]:
    """The verdict on each segment, by its number, of those that the report says something of.

    Two verdicts that differ on one segment are unclear, and so is an answer that is not understood, where nothing else
    is said of the segment.
    """
    seen: dict[int, set[Verdict]] = {}
    not_understood: dict[int, set[Verdict]] = {}
    listed = tuple(_listed(report))
    for scope, side, verdict in _verdicts(report, (), "", 0):
        about = scope or listed
        ours = [r for r in about if _is_ours(r, sop_uid, segments)]
        if not ours:
            continue
        clear: Verdict = verdict if verdict is not None and len(ours) == len(about) else "unclear"
        for number in _numbers(ours, side, segments):
            (seen if verdict is not None else not_understood).setdefault(number, set()).add(clear)
    of_each = not_understood | seen
    return {number: next(iter(those)) if len(those) == 1 else "unclear" for number, those in sorted(of_each.items())}


def _is_ours(reference: Reference, sop_uid: str, segments: Mapping[int, OurSegment]) -> bool:
    tracked = {segment.tracking_uid for segment in segments.values()} - {""}
    return reference.sop_uid == sop_uid or reference.tracking_uid in tracked


def _numbers(ours: list[Reference], side: str, segments: Mapping[int, OurSegment]) -> set[int]:
    """The narrowest that is said: tracked, by number, by side, or all."""
    tracked = {r.tracking_uid for r in ours if r.tracking_uid}
    named = {n for n, segment in segments.items() if segment.tracking_uid in tracked}
    named |= {n for r in ours for n in r.numbers if n in segments}
    if named or any(r.numbers for r in ours):
        return named
    return {n for n, segment in segments.items() if not side or segment.side in (side, None)}


def _verdicts(
    item: Dataset, scope: tuple[Reference, ...], side: str, depth: int
) -> Iterator[tuple[tuple[Reference, ...], str, Verdict | None]]:
    """Depth first; what an item refers to, and a laterality among its children, hold for it and all below it. None: an
    answer that is not understood.
    """
    children = list(items_of(item.get("ContentSequence"), depth))
    referred = [*(_of_item(item) if depth else ()), *(r for child in children for r in _of_item(child))]
    scope = tuple(dict.fromkeys(referred)) or scope
    side = next((s for child in children if (s := SIDES.get(code_of(child, "ConceptCodeSequence")))), side)
    verdict = verdict_of(item)
    if verdict is not None or is_not_understood(item):
        yield scope, side, verdict
    for child in children:
        yield from _verdicts(child, scope, side, depth + 1)


def _of_item(item: Dataset) -> Iterator[Reference]:
    """What one content item refers to: a result, not the images that it was made from."""
    if item.get("ValueType") == "UIDREF" and code_of(item, "ConceptNameCodeSequence") == TRACKING_UID:
        yield Reference(tracking_uid=str(item.get("UID") or ""))
    if item.get("ValueType") in ("IMAGE", "COMPOSITE"):
        yield from _of_sequence(item.get("ReferencedSOPSequence"), 0)


def _listed(report: Dataset) -> Iterator[Reference]:
    for keyword in LISTS:
        yield from dict.fromkeys(_of_sequence(report.get(keyword), 0))


def _of_sequence(sequence: object, depth: int) -> Iterator[Reference]:
    for named in items_of(sequence, depth):
        uid = str(named.get("ReferencedSOPInstanceUID") or "")
        if uid and str(named.get("ReferencedSOPClassUID") or "") not in MR_CLASSES:
            numbers = named.get("ReferencedSegmentNumber")
            several = numbers if isinstance(numbers, (list, tuple)) or hasattr(numbers, "append") else [numbers]
            yield Reference(uid, frozenset(int(n) for n in several if n is not None))
        for keyword in ("ReferencedSeriesSequence", "ReferencedSOPSequence"):
            yield from _of_sequence(named.get(keyword), depth + 1)
