"""From SEG and RTSTRUCT objects to the two regions that the signature reads, or the reason why not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from scipy import ndimage

from config.schema import RoiSettings
from pipeline.align.resample import Bools
from pipeline.catalog import Bring, InstanceFacts, all_here
from pipeline.errors import ExamRejected, GeometryRejected, NotDicom, PixelsRejected, RoiRejected
from pipeline.geometry import box_of
from pipeline.records import ROLES, LeftOut, Mask, Roi, Role, Segment, Side, Volume
from pipeline.roi.describe import Description, of_facts
from pipeline.roi.edited_states import Drawn, drawn_at, earlier_states, latest, overlap
from pipeline.roi.nodes import nodes_of
from pipeline.roi.objects import RoiObject, check_shared_space, draw_on, image_uids, open_object, segment_of
from pipeline.roi.readers_word import readers_first, with_word_of_readers
from pipeline.roi.roles import Recognised, role_of, side_of
from pipeline.roi.rules import Rules, load_rules
from pipeline.roi.sides import side_by_position
from pipeline.roi.source_images import Named, source_frames
from pipeline.volumes.frames import Frame

# Codes of errors that say where a region lies, not that it cannot be read.
WRONG_PLACE = ("roi-outside", "roi-fills-image")
# No lesion fills half of an image; a mask in which 0 stands for the lesion does.
MOST_OF_IMAGE = 0.5
NEIGHBOURS = np.ones((3, 3, 3), bool)

Failed = tuple[InstanceFacts, ExamRejected]


@dataclass(frozen=True, slots=True)
class Reading:
    """The regions of an exam, and the segments and objects that join none."""

    rois: tuple[Roi, ...]
    left_out: tuple[LeftOut, ...]


def read(
    rois: Sequence[InstanceFacts],
    t1c: Volume,
    settings: RoiSettings,
    other_grids: Mapping[str, Volume] = MappingProxyType({}),
    images: Iterable[InstanceFacts] = (),
) -> tuple[Roi, ...]:
    """The tumour and the lymph nodes drawn in `rois`, on the grid of `t1c`; one Roi per role and side.

    `other_grids` (by series) are volumes known to share the space of `t1c`: an object drawn on one of them without
    a frame of reference of its own is placed through it. `images` are those of the exam: where a segmentation
    contradicts the ones that it names, its segments say so.

    Raises NotDicom, GeometryRejected (another frame of reference), RoiRejected (nothing recognised, ambiguous, empty,
    outside the image, most of it), PixelsRejected.
    """
    return read_all(rois, t1c, settings, other_grids, images).rois


def read_all(
    rois: Sequence[InstanceFacts],
    t1c: Volume,
    settings: RoiSettings,
    other_grids: Mapping[str, Volume] = MappingProxyType({}),
    images: Iterable[InstanceFacts] = (),
    proposals: Sequence[InstanceFacts] = (),
    bring: Bring = all_here,
) -> Reading:
    """As `read`, with what was left out.

    `proposals`: what we proposed for the exam. A reader's segment with the voxels of one is that proposal, accepted.
    `bring`: asked for the images that an object names as its source.

    An object that cannot be read is left out where others draw all the regions that it names; else its error is raised.
    """
    rules = load_rules(settings.rules)
    present = [i for i in rois if i.path is not None and not i.ours]
    if not present and any(i.ours for i in rois):
        raise RoiRejected("the only segmentations are those that axrad wrote; they count for no region", code="no-roi")
    if not present:
        raise RoiRejected("the exam holds no segmentation or structure set", code="no-roi")
    opened, failed = _open(present)
    judged = _recognised([d for o in opened for d in o.segments], rules)
    by_path = {i.path: i for i in present}
    earlier = earlier_states(judged, {o.uid: drawn_at(by_path[o.content.path]) for o in opened}, rules)
    chosen = {d: r for d, r in judged.items() if r.role or d in earlier}
    if opened and not chosen:
        judgements = "; ".join(f"{d.name}: {r.why}" for d, r in judged.items())
        raise RoiRejected(f"no segment is recognised as tumour or lymph node: {judgements}", code="roi-not-recognised")
    places = source_frames(images, {n for o in opened for n in o.named}, bring)
    drawn: list[Drawn] = []
    elsewhere: list[Description] = []
    for each in opened:
        mine = [d for d in each.segments if d in chosen]
        if not mine:
            continue
        _check_space(each, t1c, other_grids)
        away = [d for d in mine if each.elsewhere(d.number, t1c.geometry.frame_of_reference_uid)]
        elsewhere += away
        mine = [d for d in mine if d not in away]
        try:
            drawn += [Drawn(s, chosen[d], d) for d, s in _draw(each, mine, t1c, settings, rules, places)]
        except (NotDicom, PixelsRejected, RoiRejected) as error:
            if error.code in WRONG_PLACE:
                raise
            failed.append((by_path[each.content.path], error))
    drawn = with_word_of_readers(drawn, [p for f in proposals for p in proposed_segments(f, t1c, settings, rules)])
    drawn, outdone = readers_first(drawn)
    counting, replaced = latest(drawn, earlier, {o.uid: by_path[o.content.path].tags.get("author_key") for o in opened})
    _check_covered(failed, counting, rules)
    _check_not_missed(elsewhere, counting, chosen)
    left_out = [_left_out(d, r.why) for d, r in judged.items() if d not in chosen]
    left_out += [_left_out(d, why) for d, why in (*replaced, *outdone)]
    left_out += [_left_out(d.described, "it is empty") for d in counting if not d.segment.mask.voxels]
    left_out += [_left_out(d, "it lies in another frame of reference than the images") for d in elsewhere]
    left_out += [LeftOut(i.ref.sop_instance_uid, None, "", f"cannot be read: {e.message}") for i, e in failed]
    by_role = {role: [(d.segment, d.recognised) for d in counting if d.recognised.role == role] for role in ROLES}
    regions = tuple(roi for role in ROLES for roi in _rois(role, by_role[role], settings))
    return Reading(regions, tuple(left_out))


def proposed_segments(proposal: InstanceFacts, t1c: Volume, settings: RoiSettings, rules: Rules) -> list[Drawn]:
    """The segments of a proposal of ours on the grid; none where it lies elsewhere or its file is gone."""
    if proposal.path is None:
        return []
    try:
        opened = open_object(proposal.path)
        check_shared_space(opened, t1c.series_uid, t1c.geometry, image_uids(t1c))
        return [Drawn(s, role_of(d, rules), d) for d, s in _draw(opened, opened.segments, t1c, settings, rules, {})]
    except ExamRejected:
        return []


def _open(present: Sequence[InstanceFacts]) -> tuple[list[RoiObject], list[Failed]]:
    opened: list[RoiObject] = []
    failed: list[Failed] = []
    for facts in present:
        assert facts.path is not None
        try:
            opened.append(open_object(facts.path))
        except (NotDicom, GeometryRejected, RoiRejected) as error:
            failed.append((facts, error))
    return opened, failed


def _draw(
    each: RoiObject,
    mine: Sequence[Description],
    t1c: Volume,
    settings: RoiSettings,
    rules: Rules,
    places: Mapping[Named, Frame],
) -> Iterator[tuple[Description, Segment]]:
    """The segments of one object on the grid of T1+C. Raises RoiRejected, PixelsRejected."""
    numbers, least = [d.number for d in mine], settings.fractional_threshold
    canvases = draw_on(each, t1c.geometry, numbers, least, image_uids(t1c), places)
    for described in mine:
        canvas = canvases[described.number]
        if canvas.drawn and canvas.outside > (1 - settings.min_inside) * canvas.drawn:
            raise RoiRejected(
                f"{described.name}: {canvas.outside} of {canvas.drawn} pixels lie outside series {t1c.series_uid}",
                code="roi-outside",
                uid=each.uid,
            )
        segment = segment_of(described, canvas, rules, each.laterality)
        share = segment.mask.voxels / segment.mask.voxels_zyx.size
        if share > MOST_OF_IMAGE:
            raise RoiRejected(
                f"{described.name} covers {share:.0%} of series {t1c.series_uid}: an inverse mask?",
                code="roi-fills-image",
                uid=each.uid,
            )
        yield described, segment


def _check_covered(failed: Sequence[Failed], drawn: Sequence[Drawn], rules: Rules) -> None:
    """Raise the error of an object that names a region, by role and side, which no other object draws."""
    present = {(d.recognised.role, d.segment.laterality) for d in drawn if d.segment.mask.voxels}
    for facts, error in failed:
        described = [of_facts(facts, segment) for segment in facts.segments]
        wanted = {(role_of(d, rules).role, side_of(d, rules)[0]) for d in described}
        named = {(role, side) for role, side in wanted if role is not None}
        if not present or any(not _covers(present, role, side) for role, side in named):
            raise error


def _check_not_missed(
    elsewhere: Sequence[Description], drawn: Sequence[Drawn], chosen: Mapping[Description, Recognised]
) -> None:
    """Raise GeometryRejected where a region of a role lies in another frame of reference, and none on the images."""
    present = {d.recognised.role for d in drawn if d.segment.mask.voxels}
    for described in elsewhere:
        if chosen[described].role not in present:
            raise GeometryRejected(
                f"{described.name} lies in another frame of reference than the images",
                code="other-frame-of-reference",
                uid=described.source.sop_instance_uid,
            )


def _covers(present: set[tuple[Role | None, Side | None]], role: Role | None, side: Side | None) -> bool:
    """Whether a region of this role is drawn on this side, or where either does not tell its side."""
    return any(r == role and (side is None or s is None or s == side) for r, s in present)


def _left_out(described: Description, why: str) -> LeftOut:
    return LeftOut(described.source.sop_instance_uid, described.number, described.label, why)


def _recognised(segments: Sequence[Description], rules: Rules) -> dict[Description, Recognised]:
    """What every segment is. Raises RoiRejected where nobody can tell."""
    judged = {d: role_of(d, rules) for d in segments}
    unclear = [f"{d.name}: {r.why}" for d, r in judged.items() if r.unclear]
    unclear += [f"{d.name}: left and right" for d, r in judged.items() if r.role and side_of(d, rules)[1]]
    if unclear:
        raise RoiRejected(f"what a segment is cannot be told: {'; '.join(unclear)}", code="roi-ambiguous")
    return judged


def _check_space(opened: RoiObject, t1c: Volume, others: Mapping[str, Volume]) -> None:
    """The object must share the space of T1+C, or of a volume that does."""
    theirs = opened.content.frame_of_reference_uid
    for other in others.values():
        if other.geometry.frame_of_reference_uid != t1c.geometry.frame_of_reference_uid:
            continue
        if theirs is None and opened.content.sources & image_uids(other):
            return
    check_shared_space(opened, t1c.series_uid, t1c.geometry, image_uids(t1c))


def _rois(role: Role, drawn: list[tuple[Segment, Recognised]], settings: RoiSettings) -> list[Roi]:
    if not drawn:
        return []
    full = [(_with_side(s), r) for s, r in drawn if s.mask.voxels]
    if not full:
        names = ", ".join(f"{s.number} ({s.label})" for s, _ in drawn)
        raise RoiRejected(
            f"the {role} segment {names} of {drawn[0][0].source.sop_instance_uid} is empty", code="roi-empty"
        )
    segments = [s for s, _ in full]
    _check_no_rivals(role, segments)
    sides = {s.laterality for s in segments}
    if None in sides and len(sides) > 1:
        untold = ", ".join(f"{s.number} ({s.label})" for s in segments if s.laterality is None)
        raise RoiRejected(f"{role}: no side is told for segment {untold}, but for others", code="roi-ambiguous")
    why = "; ".join(dict.fromkeys(r.why for _, r in full))
    return [
        _roi(role, side, [s for s in segments if s.laterality == side], why, settings)
        for side in sorted(sides, key=str)
    ]


def _with_side(segment: Segment) -> Segment:
    if segment.laterality is not None:
        return segment
    return replace(segment, laterality=side_by_position(segment))


def _check_no_rivals(role: Role, segments: list[Segment]) -> None:
    """Overlapping segments of different objects are two opinions on one thing; nobody said which one counts."""
    for n, one in enumerate(segments):
        for other in segments[n + 1 :]:
            if one.source == other.source:
                continue
            if overlap(one, other):
                raise RoiRejected(
                    f"two objects draw the same {role}: segment {one.number} of {one.source.sop_instance_uid} and "
                    f"segment {other.number} of {other.source.sop_instance_uid}; send the one that counts",
                    code="roi-ambiguous",
                )


def _roi(role: Role, side: Side | None, segments: list[Segment], why: str, settings: RoiSettings) -> Roi:
    grid = segments[0].mask.geometry
    parts = [s.mask.voxels_zyx for s in segments]
    if role == "tumor" and settings.tumors == "largest":
        segments, parts, why = _largest(segments, parts, why)
    union = Mask(parts[0] if len(parts) == 1 else _union(parts), grid)
    notes = [f"segment {s.number}: {n}" for s in segments for n in s.notes]
    reason = "; ".join([why, *notes])
    if role == "lymph_nodes":
        nodes, numbers = nodes_of(segments, union)
        return Roi(role, side, Mask(union.voxels_zyx, grid, numbers), tuple(segments), len(nodes), reason, nodes)
    lesions = len(parts) if len(parts) > 1 else int(ndimage.label(_inner(parts[0]), NEIGHBOURS)[1])
    return Roi(role, side, union, tuple(segments), lesions, reason)


def _union(parts: list[Bools]) -> Bools:
    """In place on one copy: masks are as large as the image."""
    whole = parts[0].copy()
    for part in parts[1:]:
        whole |= part
    return whole


def _inner(mask: Bools) -> Bools:
    """The part of a mask that holds all of it."""
    box = box_of(mask)
    return mask if box is None else mask[box]


def _largest(segments: list[Segment], parts: list[Bools], why: str) -> tuple[list[Segment], list[Bools], str]:
    """Only the largest lesion: the largest segment, or of a single one its largest connected part."""
    if len(parts) > 1:
        best = max(range(len(parts)), key=lambda n: segments[n].mask.voxels)
        return [segments[best]], [parts[best]], f"{why}; the largest of {len(parts)} lesions"
    labels, count = ndimage.label(parts[0], NEIGHBOURS)
    if count < 2:
        return segments, parts, why
    sizes = np.bincount(labels.ravel())[1:]
    return segments, [labels == 1 + int(sizes.argmax())], f"{why}; the largest of {count} lesions"
