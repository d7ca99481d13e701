"""A folder's worth of images into its volumes: phases, b-values, echoes and slabs told apart."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from pipeline.errors import ExamRejected, GeometryRejected
from pipeline.geometry import Geometry
from pipeline.records import Volume
from pipeline.volumes.assemble import volume_of
from pipeline.volumes.frames import Frame, read_frames
from pipeline.volumes.stack import MIN_SLICES, alike, grid_of, ordered, steps_mm, usual_step_mm

# A gap this wide, in mm and in steps, parts two slabs (the two breasts, imaged sagittally); a smaller one is a
# missing slice.
SLAB_GAP_MM = 15.0
SLAB_GAP_STEPS = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """Frames that make one volume, and its grid; no pixels read yet."""

    frames: tuple[Frame, ...]
    geometry: Geometry

    @property
    def series_uid(self) -> str:
        return self.frames[0].source.ref.series_uid

    @property
    def uids(self) -> frozenset[str]:
        """SOP Instance UIDs of the slices."""
        return frozenset(f.source.ref.sop_instance_uid for f in self.frames)

    def load(self, allow_lossy: bool = False) -> Volume:
        """Raises PixelsRejected."""
        return volume_of(self.frames, allow_lossy)


def load_series(paths: Iterable[Path], allow_lossy: bool = False) -> tuple[Volume, ...]:
    """Every volume in these files. Raises the first reason why some images make none."""
    stacks, rejected = stacks_of(paths)
    if rejected:
        raise rejected[0]
    return tuple(s.load(allow_lossy) for s in stacks)


def stacks_of(paths: Iterable[Path]) -> tuple[list[Stack], list[ExamRejected]]:
    """The stacks that the files make up, and why the other images make none. Files that are no images are rejected."""
    frames: list[Frame] = []
    rejected: list[ExamRejected] = []
    for path in sorted(paths):
        try:
            frames += read_frames(path)
        except ExamRejected as error:
            rejected.append(error)
    stacks = []
    for group in split(frames):
        try:
            geometry, stack = grid_of(group)
            stacks.append(Stack(tuple(stack), geometry))
        except GeometryRejected as error:
            rejected.append(error)
    return stacks, rejected


def split(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Frames by series, then by what tells volumes apart, then into repeats and slabs. Nothing is left out.

    This is the one way from frames to volumes; whoever has chosen frames before takes it too.
    """
    return [
        slab
        for series in _by_key(frames, lambda f: f.source.ref.series_uid)
        for group in _by_facets(series)
        for repeat in _stacked(group)
        for slab in slabs(repeat)
    ]


def _stacked(frames: list[Frame]) -> list[list[Frame]]:
    """The repeats of a group whose frames make one grid, whatever stacks they are numbered in; else stack by stack.

    Slices acquired in packages (every third first, then those between) are numbered as stacks of their own.
    """
    together = _repeats(frames)
    stacks = _by_key(frames, partial(_facet, name="StackID"))
    if len(stacks) == 1 or all(map(_one_grid, together)):
        return together
    return [repeat for stack in stacks for repeat in _repeats(stack)]


def _one_grid(frames: list[Frame]) -> bool:
    try:
        grid_of(frames)
    except GeometryRejected:
        return False
    return True


def _by_facets(frames: list[Frame]) -> list[list[Frame]]:
    """By the facets that tell whole volumes apart.

    A facet whose values are found at fewer than half of the positions varies from slice to slice (an echo time that
    drifts) and tells nothing. Without two slices at one position there is nothing to tell apart.
    """
    count = len(set(map(_place, frames)))
    if count == len(frames):
        return [frames]
    telling = []
    for name in dict.fromkeys(key for f in frames for key, _ in f.facets):
        groups = _by_key(frames, partial(_facet, name=name))
        if min(len(set(map(_place, g))) for g in groups) * 2 >= count:
            telling.append(name)
    return _by_key(frames, lambda f: tuple(_facet(f, name) for name in telling))


def _facet(frame: Frame, name: str) -> str:
    return next((value for key, value in frame.facets if key == name), "")


def _by_key(frames: Iterable[Frame], key: Callable[[Frame], Hashable]) -> list[list[Frame]]:
    groups: dict[Hashable, list[Frame]] = {}
    for frame in frames:
        groups.setdefault(key(frame), []).append(frame)
    return list(groups.values())


def _place(frame: Frame) -> tuple[float, ...]:
    """Where the plane lies, rounded so that one place written twice is one."""
    return tuple(np.round(np.concatenate([frame.position, frame.across, frame.down]), 2) + 0.0)


def _repeats(frames: list[Frame]) -> list[list[Frame]]:
    """Frames that cover every position the same number of times, in that many volumes, by instance number."""
    places = _by_key(frames, _place)
    counts = {len(p) for p in places}
    if counts == {1} or len(counts) > 1:
        return [frames]
    if any(f.instance_number is None for f in frames):
        return [frames]
    ranked = [sorted(p, key=lambda f: f.instance_number or 0) for p in places]
    return [list(volume) for volume in zip(*ranked, strict=True)]


def slabs(frames: list[Frame]) -> list[list[Frame]]:
    """The parts of a stack between gaps too wide for a missing slice."""
    if len(frames) < MIN_SLICES or not all(alike(frames[0], f) for f in frames[1:]):
        return [frames]
    stack = ordered(frames)
    steps = steps_mm(stack)
    cuts = np.flatnonzero(steps >= max(SLAB_GAP_MM, SLAB_GAP_STEPS * usual_step_mm(steps))) + 1
    return [stack[a:b] for a, b in pairwise([0, *cuts.tolist(), len(stack)])]
