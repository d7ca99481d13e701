"""`Panel`: one slice, cropped around a ROI, with the outlines of all ROIs on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.geometry import Geometry
from pipeline.pictures.outline import outlines
from pipeline.records import ROLES, SEQUENCES, Mask, Role, Sequence, Side, SliceSource, Volume

FIELD_MM = 80.0
LESION_MARGIN_MM = 15.0
# 10-6 mm2/s; spans restricted lesions (about 800) to cysts and fluid (about 2500).
_ADC_WINDOW = (1250.0, 2500.0)
_LETTERS = (("L", "R"), ("P", "A"), ("H", "F"))


@dataclass(frozen=True, slots=True)
class Contour:
    """One closed outline: (n, 2) points x, y in pixels of the whole slice; 0.0, 0.0 is the top left corner of the
    top left pixel (PS3.3 C.18.6.1). `number` tells separate lymph nodes apart: it is that of the node in the result."""

    role: Role
    side: Side | None
    points_xy: npt.NDArray[np.float64]
    number: int = 1


@dataclass(frozen=True, slots=True)
class Panel:
    """A part of one slice. `image_yx` starts at `offset_yx` of the slice, which is the `slice_number`-th (from 1) of
    `slices`. `edges`: the patient's directions at left, right, top and bottom. `focus`: the ROI whose largest slice
    this is; `node`: the number of the lymph node in whose largest slice it is, where nodes are numbered. Contours are
    in pixels of the whole slice."""

    sequence: Sequence
    focus: Role
    side: Side | None
    image_yx: npt.NDArray[np.float32]
    spacing_yx_mm: tuple[float, float]
    offset_yx: tuple[int, int]
    edges: tuple[str, str, str, str]
    window_centre: float
    window_width: float
    contours: tuple[Contour, ...]
    slice_number: int
    slices: int
    caption: str
    series_uid: str
    source: SliceSource | None = None
    frame_of_reference_uid: str | None = None
    node: int | None = None


MaskKey = tuple[Sequence, Role, Side | None]


def make_panels(volumes: Mapping[Sequence, Volume], masks: Mapping[MaskKey, Mask]) -> tuple[Panel, ...]:
    """One panel per sequence, ROI and side, in that ROI's largest slice of that sequence; empty masks make none.

    Where lymph nodes are numbered, all panels of a side show the same node, each in its largest slice; a sequence
    without that node has no panel. Order: side, ROI, sequence. All panels of one side show the same field of view in
    millimetres.
    """
    panels = []
    for side in _sides(masks):
        ours = {(s, r): m for (s, r, where), m in masks.items() if where == side and m.voxels}
        node = _node({s: m for (s, r), m in ours.items() if r == "lymph_nodes"})
        shown = {}
        for (sequence, role), mask in ours.items():
            plane = _largest_slice(mask, node if role == "lymph_nodes" else None)
            if plane is not None:
                shown[sequence, role] = plane
        field_mm = max([FIELD_MM, *(_extent_mm(ours[key], at[1]) + 2 * LESION_MARGIN_MM for key, at in shown.items())])
        for role in ROLES:
            for sequence in SEQUENCES:
                if (sequence, role) in shown and sequence in volumes:
                    here = {key: mask for key, mask in masks.items() if key[0] == sequence and mask.voxels}
                    number = node if role == "lymph_nodes" else None
                    place = shown[sequence, role]
                    panels.append(_panel(volumes[sequence], here, (sequence, role, side), place, field_mm, number))
    return tuple(panels)


def _sides(masks: Mapping[MaskKey, Mask]) -> list[Side | None]:
    return sorted({side for _, _, side in masks}, key=lambda s: s or "")


def _node(masks: Mapping[Sequence, Mask]) -> int | None:
    """The lymph node to show: of those that most sequences have, the largest on the first of them; None where
    nodes have no numbers."""
    counted = {s: np.bincount(m.numbers_zyx.ravel()) for s, m in masks.items() if m.numbers_zyx is not None}
    if not counted or len(counted) < len(masks):
        return None
    sizes: dict[int, list[int]] = {}
    for sequence in SEQUENCES:
        if sequence in counted:
            for number in np.flatnonzero(counted[sequence]):
                if number:
                    sizes.setdefault(int(number), []).append(int(counted[sequence][number]))
    return max(sizes, key=lambda n: (len(sizes[n]), sizes[n][0], -n), default=None)


def _largest_slice(mask: Mask, node: int | None) -> tuple[int, npt.NDArray[np.bool_]] | None:
    """Where the region, or one lymph node of it, is largest, and what of it lies there; None without that node."""
    if node is None or mask.numbers_zyx is None or mask.box_zyx is None:
        # plane by plane: with an axis, numpy first makes integers of the whole volume
        k = int(np.argmax([np.count_nonzero(plane) for plane in mask.voxels_zyx]))
        return k, mask.voxels_zyx[k]
    counts = [np.count_nonzero(plane == node) for plane in mask.numbers_zyx]
    k = int(np.argmax(counts))
    if not counts[k]:
        return None
    z, y, x = mask.box_zyx
    region = np.zeros(mask.voxels_zyx.shape[1:], dtype=np.bool_)
    region[y, x] = mask.numbers_zyx[k] == node
    return z.start + k, region


def _extent_mm(mask: Mask, region_yx: npt.NDArray[np.bool_]) -> float:
    """The larger side of the box around the region in its slice."""
    rows, columns = np.nonzero(region_yx)
    x, y, _ = mask.geometry.spacing_xyz_mm
    return float(max((np.ptp(rows) + 1) * y, (np.ptp(columns) + 1) * x))


def _panel(
    volume: Volume,
    masks: Mapping[MaskKey, Mask],
    key: MaskKey,
    place: tuple[int, npt.NDArray[np.bool_]],
    field_mm: float,
    node: int | None,
) -> Panel:
    """`place`: the slice to show and the region in it."""
    sequence, role, side = key
    k, region_yx = place
    whole = np.asarray(volume.voxels_zyx[k], dtype=np.float32)
    x_mm, y_mm, _ = volume.geometry.spacing_xyz_mm
    rows, columns = _crop(region_yx, (field_mm / y_mm, field_mm / x_mm))
    image = np.ascontiguousarray(whole[rows, columns])
    centre, width = _window(sequence, whole, region_yx)
    return Panel(
        sequence=sequence,
        focus=role,
        side=side,
        image_yx=image,
        spacing_yx_mm=(y_mm, x_mm),
        offset_yx=(rows.start, columns.start),
        edges=edges(volume.geometry),
        window_centre=centre,
        window_width=width,
        contours=tuple(c for (_, r, s), mask in sorted(masks.items(), key=str) for c in contours(mask, k, r, s)),
        slice_number=k + 1,
        slices=volume.geometry.shape_zyx[0],
        caption=f"slice {k + 1} of {volume.geometry.shape_zyx[0]}",
        series_uid=volume.series_uid,
        source=volume.sources_z[k] if len(volume.sources_z) == volume.geometry.shape_zyx[0] else None,
        frame_of_reference_uid=volume.geometry.frame_of_reference_uid,
        node=node,
    )


def _crop(region_yx: npt.NDArray[np.bool_], size_yx: tuple[float, float]) -> tuple[slice, slice]:
    """A window of the wanted size in pixels around the region, moved (not shrunk) where it would leave the slice."""
    inside = np.nonzero(region_yx)
    spans = []
    for positions, wanted, length in zip(inside, size_yx, region_yx.shape, strict=True):
        size = min(length, max(2, round(wanted)))
        middle = (int(positions.min()) + int(positions.max()) + 1) / 2
        start = min(max(0, round(middle - size / 2)), length - size)
        spans.append(slice(start, start + size))
    return spans[0], spans[1]


def _window(
    sequence: Sequence, slice_yx: npt.NDArray[np.float32], region_yx: npt.NDArray[np.bool_]
) -> tuple[float, float]:
    """ADC has units, so its window is fixed; the others span the 1st to 99.7th percentile of what is not air, and
    reach high enough to leave structure in an enhancing region."""
    if sequence == "adc":
        return _ADC_WINDOW
    tissue = slice_yx[slice_yx > slice_yx.min()]
    if tissue.size == 0:
        return float(slice_yx.min()), 1.0
    low, high = np.percentile(tissue, (1.0, 99.7))
    high = max(high, np.percentile(slice_yx[region_yx], 99.0))
    return float((low + high) / 2), float(max(high - low, 1e-6))


def edges(geometry: Geometry) -> tuple[str, str, str, str]:
    """Patient directions at the left, right, top and bottom edge of a slice, as letters A P L R H F."""
    matrix = np.asarray(geometry.direction).reshape(3, 3)
    return _letters(-matrix[:, 0]), _letters(matrix[:, 0]), _letters(-matrix[:, 1]), _letters(matrix[:, 1])


def _letters(vector: npt.NDArray[np.float64]) -> str:
    """The main direction first, a second letter where the slice is oblique by more than about 15 degrees."""
    order = np.argsort(-np.abs(vector))
    names = [_LETTERS[axis][0 if vector[axis] > 0 else 1] for axis in order if abs(vector[axis]) > 0.26]
    return "".join(names[:2])


def contours(mask: Mask, k: int, role: Role, side: Side | None) -> tuple[Contour, ...]:
    """Outlines of a mask in slice `k`, of each lymph node by itself where they are numbered."""
    if not mask.voxels_zyx[k].any():
        return ()
    box, numbers = mask.box_zyx, mask.numbers_zyx
    if numbers is None or box is None:
        return tuple(Contour(role, side, points) for points in outlines(mask.voxels_zyx[k]))
    here, corner_xy = numbers[k - box[0].start], (box[2].start, box[1].start)
    return tuple(
        Contour(role, side, points + corner_xy, int(number))
        for number in np.unique(here[here > 0])
        for points in outlines(here == number)
    )
