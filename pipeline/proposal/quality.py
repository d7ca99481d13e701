"""Figures of a grown region, and whether they speak against it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage, stats

from pipeline.geometry import box_of
from pipeline.proposal.box import Box
from pipeline.proposal.frame import Frame
from pipeline.proposal.records import Quality

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
# The shell that a region is compared with, and the depth over which its border should darken.
SHELL_MM, DEPTH_MM = 4.0, 1.5
# A border where brightness falls by less than this share of the step from region to shell is open.
_OPEN_SHARE = 0.2
_WIDTH_MM = 4.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What a region called good keeps to; chosen on phantoms that no figure in the documentation is from."""

    least_contrast: float
    most_open: float
    least_agreement: float
    ratio: tuple[float, float]


LIMITS = Limits(least_contrast=0.80, most_open=0.45, least_agreement=0.80, ratio=(0.70, 1.30))


def measure(region: Bools, other_setting: Bools, image: Floats, frame: Frame, box: Box) -> Quality:
    """Figures of `region`. `image`: the channel it stands out in. `other_setting`: the region of other parameters."""
    both = int(np.count_nonzero(region)) + int(np.count_nonzero(other_setting))
    agreement = 2 * int(np.count_nonzero(region & other_setting)) / both
    around = _around(region, box)
    region, image, box = region[around], image[around], box.cut(around)
    distance = ndimage.distance_transform_edt(~region, box.spacing_zyx_mm)
    shell = (distance > 0.5) & (distance <= SHELL_MM)
    long_ratio, short_ratio = _extents(region, frame, box)
    if not shell.any():
        return Quality(None, None, long_ratio, short_ratio, agreement)
    contrast = _auc(image[region], image[shell])
    return Quality(contrast, _open_border(region, shell, image, box), long_ratio, short_ratio, agreement)


def _around(region: Bools, box: Box) -> tuple[slice, slice, slice]:
    """Where anything is measured: the region, its shell, and what filters of this width read beyond."""
    window = box_of(region)
    assert window is not None, "an empty region is not measured"
    margins = [int(np.ceil((SHELL_MM + _WIDTH_MM) / s)) for s in box.spacing_zyx_mm]
    z, y, x = (
        slice(max(0, w.start - m), min(n, w.stop + m)) for w, m, n in zip(window, margins, region.shape, strict=True)
    )
    return z, y, x


def doubts(quality: Quality) -> tuple[str, ...]:
    """A sentence for each figure that speaks against the region; none where it is good."""
    lines = []
    if quality.contrast is None or quality.open_border is None:
        return ("Nothing lies around the region that it could be compared with.",)
    if quality.contrast < LIMITS.least_contrast:
        lines.append(f"The region hardly differs in brightness from what surrounds it (AUC {quality.contrast:.2f}).")
    if quality.open_border > LIMITS.most_open:
        lines.append(f"Brightness does not fall outwards at {quality.open_border:.0%} of the border.")
    for name, ratio in (("long", quality.long_ratio), ("short", quality.short_ratio)):
        if ratio is not None and not LIMITS.ratio[0] <= ratio <= LIMITS.ratio[1]:
            lines.append(f"Along the {name} axis the region measures {ratio:.0%} of what was marked.")
    if quality.agreement is not None and quality.agreement < LIMITS.least_agreement:
        lines.append(f"With other parameters the region is another one (Dice {quality.agreement:.2f}).")
    return tuple(lines)


def _auc(inside: Floats, outside: Floats) -> float:
    """The chance that a voxel inside is brighter than one outside; ties count half (Mann and Whitney)."""
    ranks = stats.rankdata(np.concatenate([inside, outside]))
    n, m = inside.size, outside.size
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


def _open_border(region: Bools, shell: Bools, image: Floats, box: Box) -> float:
    spacing = box.spacing_zyx_mm
    step = float(np.median(image[region]) - np.median(image[shell]))
    if step <= 0:
        return 1.0
    sigma = [0.6 / s for s in spacing]
    smooth = ndimage.gaussian_filter(image, sigma)
    outwards = np.gradient(-ndimage.gaussian_filter(region.astype(np.float64), [1.0 / s for s in spacing]), *spacing)
    length = np.maximum(np.sqrt(sum(part**2 for part in outwards)), 1e-9)
    slope = sum(g * o / length for g, o in zip(np.gradient(smooth, *spacing), outwards, strict=True))
    border = region & ~ndimage.binary_erosion(region)
    return float(np.mean(slope[border] * DEPTH_MM > -_OPEN_SHARE * step))


def _extents(region: Bools, frame: Frame, box: Box) -> tuple[float | None, float | None]:
    """Extent of the region in the marked slice along each axis, over the marked length."""
    here = region & (np.abs(box.local_mm[..., 2]) <= box.half_slice_mm(frame.axes[2]))
    if not here.any():
        return 0.0, 0.0 if frame.short_measured else None
    ratios = []
    for axis in (0, 1):
        pixel = float(np.abs(frame.axes[axis] @ box.directions_xyz) @ np.array(box.spacing_zyx_mm[::-1]))
        ratios.append((float(np.ptp(box.local_mm[here][:, axis])) + pixel) / (2 * frame.half_mm[axis]))
    return ratios[0], ratios[1] if frame.short_measured else None
