"""ROIs of one object written as NRRD masks on the grid of an image series: what `axrad roi` does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any  # Any: values of JSON

import numpy as np
import SimpleITK

from config.schema import RoiSettings
from pipeline.errors import GeometryRejected, InputRejected, RoiRejected
from pipeline.geometry import Geometry
from pipeline.records import ROLES, Mask, Segment
from pipeline.roi.canvas import ON_GRID, Canvas
from pipeline.roi.objects import RoiObject, check_shared_space, draw_on, lies_on, open_object, segment_of
from pipeline.roi.roles import Recognised, role_of
from pipeline.roi.rules import load_rules
from pipeline.roi.segmentation import Segmentation
from pipeline.roi.source_images import Named, by_name
from pipeline.volumes import Frame, Stack, stacks_of


def export(seg: Path, images: Path | None, out: Path, settings: RoiSettings) -> dict[str, Any]:
    """Write `segment_<n>.nrrd`, `tumor.nrrd`, `lymph_nodes.nrrd`; return what was written, as JSON types.

    Raises NotDicom, GeometryRejected, RoiRejected (also where every segment is empty on the grid).
    """
    rules = load_rules(settings.rules)
    opened = open_object(seg)
    grid, own, why, reasons, places = _grid_for(opened, images)
    roles = {d.number: role_of(d, rules) for d in opened.segments}

    def draw(numbers: Sequence[int]) -> dict[int, Canvas]:
        return draw_on(opened, grid, numbers, settings.fractional_threshold, own, places)

    canvases, notes = _drawn([n for n in roles if roles[n].role], [n for n in roles if not roles[n].role], draw)
    reasons += notes
    readable = [d for d in opened.segments if d.number in canvases]
    segments = [segment_of(d, canvases[d.number], rules, opened.laterality) for d in readable]
    if not any(s.mask.voxels for s in segments):
        drawn = sum(c.drawn for c in canvases.values())
        state = f"lies outside the image: all {drawn} pixels" if drawn else "is empty: no pixel is set"
        raise RoiRejected(f"{opened.uid} {state}", code="roi-outside" if drawn else "roi-empty", uid=opened.uid)
    out.mkdir(parents=True, exist_ok=True)
    for segment in segments:
        write_mask(segment.mask, out / f"segment_{segment.number}.nrrd")
    roles_drawn = [roles[s.number] for s in segments]
    reasons += [f"segment {s.number}: {r.why}" for s, r in zip(segments, roles_drawn, strict=True) if r.role is None]
    return {
        "source_uid": opened.uid,
        "grid": grid_json(grid, why),
        "segments": [_segment_json(s, r) for s, r in zip(segments, roles_drawn, strict=True)],
        "rois": write_rois(segments, roles_drawn, out),
        "reasons": reasons,
    }


def grid_json(grid: Geometry, why: str) -> dict[str, Any]:
    """The grid of masks, and why it is this one, as JSON types."""
    return {
        "size_xyz": list(grid.shape_zyx[::-1]),
        "spacing_xyz_mm": list(grid.spacing_xyz_mm),
        "origin_xyz_mm": list(grid.origin_xyz_mm),
        "direction": list(grid.direction),
        "why": why,
    }


def _drawn(
    ours: Sequence[int], others: Sequence[int], draw: Callable[[Sequence[int]], dict[int, Canvas]]
) -> tuple[dict[int, Canvas], list[str]]:
    """Segments drawn, and why some are not: one that has no role and cannot be drawn stops nothing.

    Raises RoiRejected where one of `ours` cannot be drawn, or none of the object.
    """
    try:
        return draw([*ours, *others]), []
    except RoiRejected:
        canvases, notes = draw(ours), []
        for number in others:
            try:
                canvases |= draw([number])
            except RoiRejected as error:
                notes.append(f"segment {number} is left out: {error.message}")
        if not canvases:
            raise
        return canvases, notes


def _grid_for(
    opened: RoiObject, images: Path | None
) -> tuple[Geometry, frozenset[str], str, list[str], dict[Named, Frame]]:
    """The grid, the UIDs of its slices, why it was chosen, what else was found and not used, and where images lie."""
    if images is None:
        if not isinstance(opened.content, Segmentation):
            raise RoiRejected(f"structure set {opened.uid} has no grid of its own: name its images", uid=opened.uid)
        return own_grid(opened.content), frozenset(), "the segmentation's own frames", [], {}
    files = sorted(p for p in images.rglob("*") if p.is_file()) if images.is_dir() else [images]
    stacks, rejected = stacks_of(files)
    if not stacks:
        telling = [e for e in rejected if isinstance(e, GeometryRejected)]
        raise [*telling, *rejected, GeometryRejected(f"{images.name} holds no image series")][0]
    stack, why = _best(opened, stacks)
    left_out = [e.message for e in rejected if isinstance(e, GeometryRejected)]
    left_out += _commas(stack)
    places = by_name(frame for each in stacks for frame in each.frames)
    return stack.geometry, stack.uids, why, left_out, places


def _commas(stack: Stack) -> list[str]:
    """What of the images had to be understood before it was read."""
    counts = Counter(keyword for frame in stack.frames for keyword in frame.commas)
    return [f"{keyword} is written with a decimal comma in {count} images" for keyword, count in sorted(counts.items())]


def _best(opened: RoiObject, stacks: Sequence[Stack]) -> tuple[Stack, str]:
    """The stack whose slices the object names most, else the only grid that shares its space, or that it lies on."""
    named = [len(opened.content.sources & s.uids) for s in stacks]
    if max(named):
        best = stacks[named.index(max(named))]
        check_shared_space(opened, best.series_uid, best.geometry, best.uids)
        return best, f"series {best.series_uid}: the object refers to {max(named)} of its instances"
    errors, fit = [], []
    for stack in stacks:
        try:
            check_shared_space(opened, stack.series_uid, stack.geometry, stack.uids)
            fit.append(stack)
        except GeometryRejected as error:
            errors.append(error)
    if not fit:
        raise errors[0]
    if _one_grid(fit):
        return fit[0], f"series {fit[0].series_uid}: the same frame of reference"
    lain_on = [s for s in fit if lies_on(opened, s.geometry)]
    if lain_on and _one_grid(lain_on):
        return lain_on[0], f"series {lain_on[0].series_uid}: the same frame of reference, planes on its slices"
    names = ", ".join(sorted({s.series_uid for s in fit}))
    raise RoiRejected(
        f"{opened.uid} refers to no image, and several volumes share its frame of reference: {names}; name one",
        code="roi-ambiguous",
        uid=opened.uid,
    )


def _one_grid(stacks: Sequence[Stack]) -> bool:
    return all(s.geometry.same_grid(stacks[0].geometry) for s in stacks)


def own_grid(seg: Segmentation) -> Geometry:
    """The regular grid of a segmentation's own frames, with the slices that it leaves out. Raises GeometryRejected."""
    first = seg.frames[0].plane
    back = np.linalg.inv(first.affine)
    depths = []
    for each in seg.frames:
        at = back @ each.plane.affine
        if each.plane.shape_zyx != first.shape_zyx or np.abs(at[:3, :3] - np.eye(3)).max() > 1e-3:
            raise GeometryRejected(f"the frames of {seg.uid} do not lie on one grid", uid=seg.uid)
        if np.abs(at[:2, 3]).max() > ON_GRID or abs(at[2, 3] - round(at[2, 3])) > ON_GRID:
            raise GeometryRejected(f"the frames of {seg.uid} are not evenly spaced", uid=seg.uid)
        depths.append(round(at[2, 3]))
    x, y, z, _ = first.affine @ np.array([0, 0, min(depths), 1])
    shape = (max(depths) - min(depths) + 1, *first.shape_zyx[1:])
    return replace(first, shape_zyx=shape, origin_xyz_mm=(float(x), float(y), float(z)))


def write_rois(segments: Sequence[Segment], roles: Sequence[Recognised], out: Path) -> dict[str, Any]:
    """One file per role with all lesions; where both sides are told also one per side: sides are never pooled."""
    written: dict[str, Any] = {}
    for role in ROLES:
        mine = [(s, r) for s, r in zip(segments, roles, strict=True) if r.role == role and s.mask.voxels]
        if not mine:
            continue
        union = _union([s for s, _ in mine])
        write_mask(union, out / f"{role}.nrrd")
        sides = {s.laterality for s, _ in mine}
        for side in sorted(filter(None, sides)) if {"L", "R"} <= sides else ():
            write_mask(_union([s for s, _ in mine if s.laterality == side]), out / f"{role}_{side}.nrrd")
        written[role] = {
            "file": f"{role}.nrrd",
            "segments": [s.number for s, _ in mine],
            "sides": [s.laterality for s, _ in mine],
            "voxels": union.voxels,
            "volume_mm3": union.volume_mm3,
            "why": "; ".join(dict.fromkeys(r.why for _, r in mine)),
        }
    return written


def _union(segments: Sequence[Segment]) -> Mask:
    return Mask(np.logical_or.reduce([s.mask.voxels_zyx for s in segments]), segments[0].mask.geometry)


def _segment_json(segment: Segment, recognised: Recognised) -> dict[str, Any]:
    code = segment.property_type
    return {
        "number": segment.number,
        "label": segment.label,
        "file": f"segment_{segment.number}.nrrd",
        "voxels": segment.mask.voxels,
        "volume_mm3": segment.mask.volume_mm3,
        "property_type": None if code is None else [code.value, code.scheme, code.meaning],
        "role": recognised.role,
        "why": recognised.why,
        "laterality": segment.laterality,
        "notes": list(segment.notes),
    }


def write_mask(mask: Mask, path: Path) -> None:
    """An NRRD of 0 and 1 (uint8), compressed, with the mask's geometry."""
    image = SimpleITK.GetImageFromArray(mask.voxels_zyx.astype(np.uint8))
    image.SetSpacing(mask.geometry.spacing_xyz_mm)
    image.SetOrigin(mask.geometry.origin_xyz_mm)
    image.SetDirection(mask.geometry.direction)
    try:
        SimpleITK.WriteImage(image, str(path), True)
    except RuntimeError as error:
        raise InputRejected(f"cannot write {path}: is there room, and may this user write there?") from error
