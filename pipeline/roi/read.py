"""From SEG and RTSTRUCT objects to the two regions that the signature reads, or the reason why not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np
from scipy import ndimage

from config.schema import RoiSettings
from pipeline.align.resample import Bools
from pipeline.catalog import InstanceFacts
from pipeline.errors import RoiRejected
from pipeline.geometry import box_of
from pipeline.records import ROLES, Mask, Roi, Role, Segment, Side, Volume
from pipeline.roi.describe import Description
from pipeline.roi.objects import RoiObject, check_shared_space, draw_on, image_uids, open_object, segment_of
from pipeline.roi.roles import Recognised, role_of, side_of
from pipeline.roi.rules import Rules, load_rules
from pipeline.roi.sides import side_by_position
from pipeline.roi.sources import source_frames

# Two segments of different objects that share this part of the smaller are two drawings of one thing.
SAME_LESION = 0.5
# No lesion fills half of an image; a mask in which 0 stands for the lesion does.
MOST_OF_IMAGE = 0.5
NEIGHBOURS = np.ones((3, 3, 3), bool)


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
    rules = load_rules(settings.rules)
    opened = [open_object(i.path) for i in rois if i.path is not None]
    if not opened:
        raise RoiRejected("the exam holds no segmentation or structure set", code="no-roi")
    chosen = _recognised([d for o in opened for d in o.segments], rules)
    places = source_frames(images, {n for o in opened for n in o.named})
    drawn: dict[Role, list[tuple[Segment, Recognised]]] = {role: [] for role in ROLES}
    for each in opened:
        mine = [d for d in each.segments if d in chosen]
        if not mine:
            continue
        _check_space(each, t1c, other_grids)
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
            role = chosen[described].role
            assert role is not None
            drawn[role].append((segment, chosen[described]))
    return tuple(roi for role in ROLES for roi in _rois(role, drawn[role], settings))


def _recognised(segments: Sequence[Description], rules: Rules) -> dict[Description, Recognised]:
    judged = {d: role_of(d, rules) for d in segments}
    unclear = [f"{d.name}: {r.why}" for d, r in judged.items() if r.unclear]
    unclear += [f"{d.name}: left and right" for d, r in judged.items() if r.role and side_of(d, rules)[1]]
    if unclear:
        raise RoiRejected(f"what a segment is cannot be told: {'; '.join(unclear)}", code="roi-ambiguous")
    chosen = {d: r for d, r in judged.items() if r.role}
    if not chosen:
        said = "; ".join(f"{d.name}: {r.why}" for d, r in judged.items())
        raise RoiRejected(f"no segment is recognised as tumour or lymph node: {said}", code="roi-not-recognised")
    return chosen


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
            shared = int(np.count_nonzero(one.mask.voxels_zyx & other.mask.voxels_zyx))
            if shared > SAME_LESION * min(one.mask.voxels, other.mask.voxels):
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
    nodes = len(parts) if len(parts) > 1 else int(ndimage.label(_inner(parts[0]), NEIGHBOURS)[1])
    union = parts[0] if len(parts) == 1 else _union(parts)
    notes = [f"segment {s.number}: {n}" for s in segments for n in s.notes]
    return Roi(role, side, Mask(union, grid), tuple(segments), nodes, "; ".join([why, *notes]))


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
