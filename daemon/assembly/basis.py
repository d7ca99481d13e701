"""From a matched exam to the objects that an analysis, and each answer, would be read from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from daemon.assembly.answers import Basis, Pair, RegionOrigin
from daemon.assembly.records import Stored
from daemon.assembly.rois import recognise
from pipeline.catalog import ACCEPTED, Exam, InstanceFacts, SegmentFacts, Selection
from pipeline.needs import Available, SignatureNeeds
from pipeline.records import ORIGINS, ROLES, SEQUENCES, Origin, Role, Side
from pipeline.records import Sequence as SequenceName
from pipeline.roi.describe import of_facts
from pipeline.roi.roles import side_of
from pipeline.roi.rules import Rules
from pipeline.sequences import Match
from pipeline.sequences.records import T1C_LABELS

Uids = frozenset[str]


def images_by_sequence(exam: Exam, matched: Match, phase: str) -> dict[SequenceName, Uids]:
    """SOP Instance UIDs of the images that each sequence is read from, or chosen from by its pixels or by the place of
    the regions.
    """
    images: dict[SequenceName, Uids] = {}
    for name in SEQUENCES:
        chosen = [matched.chosen[name]] if name in matched.chosen else []
        images[name] = frozenset(u for s in (*chosen, *matched.contenders.get(name, ())) for u in selected_uids(s))
    if phase == "peak" and "t1c" not in exam.choices:
        candidates = {label.series_uid for label in matched.labels if label.label in T1C_LABELS}
        images["t1c"] |= {
            i.ref.sop_instance_uid for s in exam.series if s.series_uid in candidates for i in s.instances
        }
    return images


def all_inputs(exam: Exam, images: Mapping[SequenceName, Uids]) -> Uids:
    """SOP Instance UIDs of everything that the analysis will read."""
    return frozenset().union(*images.values(), (r.ref.sop_instance_uid for r in (*exam.rois, *exam.registrations)))


def selected_uids(selection: Selection) -> set[str]:
    """SOP Instance UIDs of every slice that a selection reads."""
    groups = [selection.frames, *selection.frames_by_b.values()]
    groups += [frames for repeats in selection.repeats_by_b.values() for frames in repeats]
    return {frame.instance.ref.sop_instance_uid for frames in groups for frame in frames}


def basis_of(
    exam: Exam,
    images: Mapping[SequenceName, Uids],
    available: Available,
    asked: SignatureNeeds | None,
    in_use: Sequence[SignatureNeeds],
    counting: Sequence[Stored],
    rules: Rules,
) -> Basis:
    """What an answer would rest on.

    A sequence that the regions were not drawn on is read through the images that they were drawn on, and through
    registrations.
    """
    pairs = {s.facts.ref.sop_instance_uid: (s.facts.ref.sop_instance_uid, s.digest) for s in counting}
    drawn_on = _drawn_on(exam, images)
    ways = {r.ref.sop_instance_uid for r in exam.registrations}
    ways |= {uid for name in drawn_on for uid in images[name]}
    reads: dict[str, frozenset[Pair]] = {}
    for name, uids in images.items():
        if uids:
            read = uids if name in drawn_on else uids | ways
            reads[name] = frozenset(pairs[uid] for uid in read)
    for role in ROLES:
        objects = [roi for roi in exam.rois if any(True for _ in _holding(exam, roi, role, rules))]
        if objects:
            reads[role] = frozenset(pairs[roi.ref.sop_instance_uid] for roi in objects)
    regions = {role: region_origin(exam, role, rules) for role in ROLES if role in reads}
    ids = {(s.facts.ref.sop_instance_uid, s.digest): s.id for s in counting}
    return Basis(tuple(in_use), asked, available.groups, reads, ids, regions)


def _drawn_on(exam: Exam, images: Mapping[SequenceName, Uids]) -> set[SequenceName]:
    """The sequences whose images the regions refer to; T1+C where they refer to none of them."""
    referred = {reference.sop_instance_uid for roi in exam.rois for reference in roi.references}
    return {name for name, uids in images.items() if uids & referred} or {"t1c"}


def region_origin(exam: Exam, role: Role, rules: Rules) -> RegionOrigin:
    """Who made a region, by what the objects say that may hold it: of several, what a reader had the least part in."""
    origins: list[Origin] = []
    confirmed = True
    for roi in exam.rois:
        accepted = next((o for o in ORIGINS if o == roi.tags.get(ACCEPTED)), None)
        for segment in _holding(exam, roi, role, rules):
            origins.append(accepted or of_facts(roi, segment).origin)
            confirmed &= not roi.unconfirmed and (accepted is not None or origins[-1] == "drawn")
    origin = max(origins, key=ORIGINS.index, default="drawn")
    return {"origin": origin, "confirmed_by": "an operator" if confirmed and origin != "drawn" else None}


def _holding(exam: Exam, roi: InstanceFacts, role: Role, rules: Rules) -> Iterator[SegmentFacts]:
    """The segments that may be this region. One that nobody stands for is not, where a reader drew its side."""
    drawn = {side for other in exam.rois if not other.unconfirmed for side in _sides(other, role, rules)}
    for segment in roi.segments:
        recognised = recognise(roi, segment, rules)
        if recognised.role != role and not recognised.unclear:
            continue
        side = side_of(of_facts(roi, segment), rules)[0]
        if not (roi.unconfirmed and drawn and (side is None or drawn & {side, None})):
            yield segment


def _sides(roi: InstanceFacts, role: Role, rules: Rules) -> Iterator[Side | None]:
    for segment in roi.segments:
        if recognise(roi, segment, rules).role == role:
            yield side_of(of_facts(roi, segment), rules)[0]
