"""Functional tumour volume: what enhances early and strongly in a breast, without a box that a reader has drawn.

Percent enhancement PE = 100 (S1 − S0) / S0 and signal enhancement ratio SER = (S1 − S0) / (S2 − S0), with S0 before
contrast, S1 early and S2 late after it; a voxel counts with PE of at least 70 % (Hylton et al., Radiology 2012,
doi:10.1148/radiol.12110748; 2016, doi:10.1148/radiol.2015150013). There, readers draw a box around the tumour first.
Here the breasts are told from the chest (`breast`) and the largest part in each is proposed: it may be a vessel, a
benign lesion or enhancing gland as well, so such a region is always doubtful.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from config.schema import Proposal as Settings
from pipeline.errors import ExamRejected
from pipeline.proposal.breast import Breasts, breasts_in
from pipeline.proposal.records import ImageRegion
from pipeline.records import Side, Volume
from pipeline.roi.describe import ENHANCEMENT

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
VERSION = "1"
# Before contrast a voxel must be at least so bright, as a share of the breast's 95th percentile: a percentage of next
# to nothing is noise.
_BACKGROUND = 0.2
# Neighbours (of 26) that count too, and the radius of a ball that fits into the part: vessels are thinner.
_NEIGHBOURS, _THIN_MM = 9, 1.5
# A Gaussian of this standard deviation takes noise away first; without it, noise makes holes.
_SMOOTH_MM = 0.8
# More of a breast than this is enhancing gland, or the phases are others than they seem.
_MOST = 0.4
# Less of a breast than this in the images (a black half, a strip of the chest) is none to look for a tumour in.
LEAST_BREAST_CC = 30.0
WHY = (
    "Made from the images alone; nobody has marked a tumour here.",
    "The largest part of the breast that enhances may be gland, a vessel or a benign lesion.",
)


@dataclass(frozen=True, slots=True)
class Phases:
    """The three volumes, on one grid; times in seconds after injection."""

    before: Volume
    early: Volume
    late: Volume
    early_s: float
    late_s: float


def functional_volumes(phases: Phases, settings: Settings) -> tuple[tuple[ImageRegion, ...], tuple[str, ...]]:
    """For each breast its largest enhancing part, the larger first; and a sentence for each breast without one.

    Raises ExamRejected (`no-breast`) where the breasts are not told from the body.
    """
    grid = phases.early.geometry
    sigma = [_SMOOTH_MM / s for s in grid.spacing_xyz_mm[::-1]]
    volumes = (v.voxels_zyx.astype(np.float32) for v in (phases.before, phases.early, phases.late))
    before, early, late = (ndimage.gaussian_filter(v, sigma) for v in volumes)
    breasts = breasts_in(early, grid)
    rise = early - before
    bright = before >= _BACKGROUND * float(np.percentile(before[breasts.inside_zyx], 95))
    percent = np.divide(100 * rise, before, out=np.zeros_like(rise), where=bright)
    later = late - before
    ratio = np.divide(rise, later, out=np.full_like(rise, np.inf), where=later > 0)
    counting = bright & (percent >= settings.pe_percent) & (ratio >= settings.ser_least) & breasts.inside_zyx
    around = ndimage.convolve(counting.astype(np.uint8), np.ones((3, 3, 3), np.uint8), mode="constant")
    counting &= around > _NEIGHBOURS
    return _by_side(counting, percent, ratio, breasts, phases, settings)


def _by_side(
    counting: Bools, percent: Floats, ratio: Floats, breasts: Breasts, phases: Phases, settings: Settings
) -> tuple[tuple[ImageRegion, ...], tuple[str, ...]]:
    grid = phases.early.geometry
    regions, notes = [], []
    for side, breast in breasts.sides():
        part = _largest(counting & breast, grid.spacing_xyz_mm[::-1])
        volume_cc = int(np.count_nonzero(part)) * grid.voxel_mm3 / 1000
        name = {"L": "left breast: ", "R": "right breast: ", None: ""}[side]
        breast_cc = int(np.count_nonzero(breast)) * grid.voxel_mm3 / 1000
        if breast_cc < LEAST_BREAST_CC:
            notes.append(f"{name}only {breast_cc:.0f} cc of breast are in the images, and nothing is proposed in it")
        elif volume_cc < settings.ftv_least_cc:
            notes.append(f"{name}nothing of {settings.ftv_least_cc:g} cc enhances by {settings.pe_percent:g} %")
        elif np.count_nonzero(part) > _MOST * np.count_nonzero(breast):
            notes.append(f"{name}more than {_MOST:.0%} of it enhances; no tumour is told from the gland")
        else:
            regions.append(_region(part, side, percent, ratio, volume_cc, phases))
    return tuple(sorted(regions, key=lambda r: -r.figures["ftv_cc"])), tuple(notes)


def _region(
    part: Bools, side: Side | None, percent: Floats, ratio: Floats, volume_cc: float, phases: Phases
) -> ImageRegion:
    mask = np.stack([ndimage.binary_fill_holes(one) if one.any() else one for one in part])
    smooth = ndimage.uniform_filter(np.where(part, percent, 0), 3) / np.maximum(
        ndimage.uniform_filter(part.astype(np.float32), 3), 1 / 27
    )
    ratios = ratio[part]
    finite = ratios[np.isfinite(ratios)]
    figures = {
        "ftv_cc": round(volume_cc, 3),
        "pe_peak": round(float(smooth[part].max()), 1),
        "pe_median": round(float(np.median(percent[part])), 1),
        "early_s": round(phases.early_s, 1),
        "late_s": round(phases.late_s, 1),
    }
    if finite.size:
        figures["ser_median"] = round(float(np.median(finite)), 3)
    return ImageRegion(mask, "tumor", side, "enhancement", ENHANCEMENT, VERSION, WHY, figures)


def _largest(counting: Bools, spacing_zyx_mm: tuple[float, ...]) -> Bools:
    """The part with the largest core into which a ball of _THIN_MM fits, and what of it lies around that core."""
    window = _window(counting, 2)
    if window is None:
        return counting
    inside = counting[window]
    core = ndimage.distance_transform_edt(np.pad(inside, 1), spacing_zyx_mm)[1:-1, 1:-1, 1:-1] > _THIN_MM
    result = np.zeros_like(counting)
    if not core.any():
        return result
    opened = inside & (ndimage.distance_transform_edt(~core, spacing_zyx_mm) <= _THIN_MM + max(spacing_zyx_mm) / 2)
    labels, _ = ndimage.label(opened)
    largest = int(np.bincount(labels.ravel())[1:].argmax()) + 1
    result[window] = labels == largest
    return result


def _window(mask: Bools, margin: int) -> tuple[slice, slice, slice] | None:
    boxes = ndimage.find_objects(mask.astype(np.uint8))
    if not boxes:
        return None
    z, y, x = (
        slice(max(0, s.start - margin), min(n, s.stop + margin)) for s, n in zip(boxes[0], mask.shape, strict=True)
    )
    return z, y, x


def require_one_grid(phases: Phases, t1c: Volume) -> None:
    """Raises ExamRejected (`other-grid`) unless the phases lie on the grid of T1+C."""
    for volume in (phases.before, phases.early, phases.late):
        if not volume.geometry.same_grid(t1c.geometry):
            raise ExamRejected("the phases of the dynamic lie on another grid than T1+C", code="other-grid")
