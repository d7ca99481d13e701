"""Lymph nodes told apart, numbered and measured.

A segment is one node. Where one segment holds several connected parts (26 neighbours) of at least `MIN_NODE_MM3`, each
of these is a node; smaller parts count with the largest one of their segment. Numbers are those that the labels of the
segments end in ("Lymph node 3"), where every segment is one node and each has a number of its own; else nodes are
numbered from 1 in the order of the segments, within a segment from head to feet.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pipeline.geometry import Geometry
from pipeline.records import Mask, Node, Segment

# A connected part of a segment smaller than this is no node of its own (a sphere of 2.7 mm).
MIN_NODE_MM3 = 10.0
# Lines on which the short axis is looked for, per voxel and at most.
LINES_PER_VOXEL = 8
MAX_LINES = 512
NEIGHBOURS = np.ones((3, 3, 3), bool)

Bools = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.uint16]


def nodes_of(segments: Sequence[Segment], whole: Mask) -> tuple[tuple[Node, ...], Labels]:
    """The nodes, and for each voxel of the box around `whole` (the union of the segments) its node's number, or 0."""
    box = whole.box_zyx
    assert box is not None, "an empty region has no nodes"
    parts = [_parts(segment, box) for segment in segments]
    single = all(len(part) == 1 for part in parts)
    named = _numbers_in_labels(segments) if single else None
    labels = np.zeros(tuple(s.stop - s.start for s in box), np.uint16)
    nodes: list[Node] = []
    for index, (segment, part) in enumerate(zip(segments, parts, strict=True)):
        for main, inside in part:
            number = named[index] if named else len(nodes) + 1
            labels[inside] = number
            long_mm, short_mm = axes_mm(main, whole.geometry)
            volume = int(np.count_nonzero(inside)) * whole.geometry.voxel_mm3
            source = segment.source.sop_instance_uid
            nodes.append(Node(number, segment.number, source, volume, long_mm, short_mm))
    return tuple(sorted(nodes, key=lambda n: n.number)), labels


def _parts(segment: Segment, box: tuple[slice, slice, slice]) -> list[tuple[Bools, Bools]]:
    """Nodes of a segment: the connected part that is measured, and that with what small parts count with it."""
    voxels = segment.mask.voxels_zyx[box]
    labels, count = ndimage.label(voxels, NEIGHBOURS)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    big = [n for n in range(1, count + 1) if sizes[n - 1] * segment.mask.geometry.voxel_mm3 >= MIN_NODE_MM3]
    largest = 1 + int(sizes.argmax())
    if len(big) < 2:
        return [(labels == largest, voxels)]
    head = segment.mask.geometry.affine[2, :3]
    places = ndimage.center_of_mass(voxels, labels, big)
    heights = {n: round(float(np.dot(head, place[::-1])), 3) for n, place in zip(big, places, strict=True)}
    small = voxels & ~np.isin(labels, big)
    ordered = sorted(big, key=lambda n: (-heights[n], n))
    return [(labels == n, (labels == n) | small if n == largest else labels == n) for n in ordered]


def _numbers_in_labels(segments: Sequence[Segment]) -> list[int] | None:
    """The one number in each segment's label, if every label has one of its own from 1 to 999."""
    by_label = [re.findall(r"\d+", segment.label) for segment in segments]
    if any(len(each) != 1 or not 1 <= int(each[0][:5]) <= 999 for each in by_label):
        return None
    numbers = [int(each[0]) for each in by_label]
    return numbers if len(set(numbers)) == len(numbers) else None


def axes_mm(voxels_zyx: Bools, geometry: Geometry) -> tuple[float, float]:
    """Long and short axis in the slice in which the node covers most, in mm, as a reader draws them.

    The long axis is the line through the two voxel centres farthest apart, from the outer edge of the one voxel to that
    of the other. The short axis is the longest chord at right angles to it that lies within the node, from voxel edge
    to voxel edge (looked for on lines an eighth of a voxel apart). One voxel alone measures its own sides.
    """
    slice_yx = voxels_zyx[int(np.argmax(voxels_zyx.sum(axis=(1, 2))))]
    spacing = np.array(geometry.spacing_xyz_mm[:2])
    rows, columns = np.nonzero(slice_yx)
    centres = np.stack([columns, rows], axis=1) * spacing
    outer = _outer(slice_yx) * spacing
    apart = outer[:, None] - outer[None]
    squared = (apart**2).sum(axis=2)
    one, other = np.unravel_index(int(squared.argmax()), squared.shape)
    length = float(np.sqrt(squared[one, other]))
    along = apart[one, other] / length if length else np.array([1.0, 0.0] if spacing[0] >= spacing[1] else [0.0, 1.0])
    half = spacing / 2
    with np.errstate(divide="ignore"):
        edge = float(np.min(half / np.abs(along)))
    across = np.array([-along[1], along[0]])
    return length + 2 * edge, _longest_chord(centres, half, along, across)


def _outer(slice_yx: Bools) -> npt.NDArray[np.float64]:
    """Column and row of the first and last voxel of each row: the two farthest apart are among them."""
    rows = np.flatnonzero(slice_yx.any(axis=1))
    first = slice_yx[rows].argmax(axis=1)
    last = slice_yx.shape[1] - 1 - slice_yx[rows, ::-1].argmax(axis=1)
    return np.concatenate([np.stack([first, rows], axis=1), np.stack([last, rows], axis=1)]).astype(np.float64)


def _longest_chord(
    centres: npt.NDArray[np.float64],
    half: npt.NDArray[np.float64],
    along: npt.NDArray[np.float64],
    across: npt.NDArray[np.float64],
) -> float:
    """The longest stretch of a line in the direction `across` that lies in rectangles of half size `half`."""
    places = centres @ along
    reach = float(np.abs(along) @ half)
    count = round((np.ptp(places) + 2 * reach) / half.min() / 2 * LINES_PER_VOXEL)
    lines = np.linspace(places.min() - reach, places.max() + reach, min(MAX_LINES, count) + 1)
    longest = 0.0
    for line in lines:
        near = centres[np.abs(places - line) < reach]
        # A point of the line is line * along + t * across; per axis the rectangle spans an interval of t.
        low, high = np.full(len(near), -np.inf), np.full(len(near), np.inf)
        inside = np.ones(len(near), bool)
        for axis in (0, 1):
            offset = near[:, axis] - line * along[axis]
            if abs(across[axis]) < 1e-9:
                inside &= np.abs(offset) <= half[axis]
                continue
            ends = np.stack([offset - half[axis], offset + half[axis]]) / across[axis]
            low, high = np.maximum(low, ends.min(axis=0)), np.minimum(high, ends.max(axis=0))
        keep = inside & (low < high)
        longest = max(longest, _longest_run(low[keep], high[keep]))
    return longest


def _longest_run(low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]) -> float:
    """The longest interval that touching intervals make together."""
    longest, start, end = 0.0, 0.0, -np.inf
    for n in np.argsort(low):
        if low[n] > end + 1e-6:
            start = float(low[n])
        end = max(end, float(high[n])) if low[n] <= end + 1e-6 else float(high[n])
        longest = max(longest, end - start)
    return longest
