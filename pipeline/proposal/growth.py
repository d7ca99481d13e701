"""The region that fits both the marking and the brightness: a prior, two histograms, and neighbours that agree.

Every voxel has a probability. It begins as the prior alone: a logistic function of the distance to the surface of the
ellipsoid, as wide as hands and lesions vary, wider out of the marked plane where nothing was measured. Then in turn the
histograms of lesion and surroundings are learnt, weighted by these probabilities, and the probabilities follow from
prior, histograms and the mean over a Gaussian neighbourhood (a mean field of a Markov random field, with kernels as in
Krähenbühl and Koltun 2011; the histograms as in GrabCut, Rother 2004). What lies too far outside the axes, or nearer to
another marking, has probability 0 throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pipeline.geometry import box_of
from pipeline.proposal.blocks import Blocks
from pipeline.proposal.box import Box
from pipeline.proposal.evidence import log_odds
from pipeline.proposal.frame import Frame

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Setting:
    """`spread_mm` and `spread_share` (of the mean half axis) make the prior's width; `out_of_plane` times that across.

    `weight`: of brightness against the prior. `agree`: of neighbours, who lie within a Gaussian of `kernel_share` of
    the mean half axis. `blur`: of the histograms, in bins.
    """

    spread_mm: float = 1.1
    spread_share: float = 0.18
    out_of_plane: float = 1.3
    weight: float = 0.8
    agree: float = 4.0
    kernel_share: float = 0.18
    blur: float = 2.2


# Voxels farther out than this (in half axes) are not of the surroundings that histograms are learnt on.
_NEAR = 2.3
_ROUNDS, _STEPS = 8, 6
_LEAST_KERNEL_MM = 0.6
_EVIDENCE_LIMIT = 5.0
# The farthest that a region may reach in the marked plane and out of it, in half axes, and beyond that in mm.
_REACH, _REACH_ACROSS, _REACH_MM = 1.3, 1.6, 1.0
_CLOSE_MM = 2.2
# Log odds in the slice of an outline.
_DRAWN = 8.0
# The region is the part that has most voxels within so many half axes.
_MIDDLE = 0.6


@dataclass(frozen=True, slots=True)
class Surroundings:
    """A marking on its box. `radius`: in half axes. `allowed`: where the region may be.

    `inward_mm`: to the ellipsoid's surface along the ray from the middle, positive inside. `drawn`: log odds in the
    slice of an outline, 0 elsewhere; None where there is none.
    """

    frame: Frame
    box: Box
    radius: Floats
    allowed: Bools
    inward_mm: Floats
    drawn: Floats | None

    @property
    def size_mm(self) -> float:
        """The mean half axis in the marked plane."""
        return float(np.sqrt(self.frame.half_mm[0] * self.frame.half_mm[1]))

    def prior(self, window: tuple[slice, slice, slice], setting: Setting) -> Floats:
        """Log odds of being in by the marking alone."""
        spread = setting.spread_mm + setting.spread_share * self.size_mm
        if not self.frame.short_measured:
            spread *= 1.5
        local = self.box.local_mm[window]
        squared = np.maximum((local**2).sum(axis=-1), 1e-12)
        across = local[..., 2] ** 2 / squared
        odds = self.inward_mm[window] / (spread * (1 + (setting.out_of_plane - 1) * across))
        if self.drawn is None:
            return np.asarray(odds)
        return np.where(self.drawn[window] != 0, self.drawn[window], odds)


def surroundings(frame: Frame, box: Box, others: Sequence[Frame], drawn: Bools | None) -> Surroundings:
    """What the marking alone says. `drawn`: the inside of an outline on the box, where it was drawn."""
    half = frame.half_mm
    radius, distance = box.radius(half), box.radius((1.0, 1.0, 1.0))
    inward_mm = np.where(radius > 1e-3, distance * (1 / np.maximum(radius, 1e-3) - 1), min(half))
    reach = (half[0] * _REACH + _REACH_MM, half[1] * _REACH + _REACH_MM, half[2] * _REACH_ACROSS + _REACH_MM)
    allowed = box.radius(reach) <= 1
    if others:
        points = box.local_mm @ frame.axes + frame.centre_mm
        for other in others:
            allowed &= np.sqrt(((other.local(points) / np.array(other.half_mm)) ** 2).sum(axis=-1)) >= radius
    if drawn is None:
        return Surroundings(frame, box, radius, allowed, inward_mm, None)
    here = np.abs(box.local_mm[..., 2]) <= box.half_slice_mm(frame.axes[2])
    odds = np.where(here, np.where(drawn, _DRAWN, -_DRAWN), 0.0)
    return Surroundings(frame, box, radius, allowed | (here & drawn), inward_mm, odds)


def grown(place: Surroundings, cells: npt.NDArray[np.int64], channels: int, setting: Setting) -> Bools:
    """The region on the box, bool (z, y, x); empty where nothing is likelier in than out.

    `cells`: the voxels' brightness, `evidence.binned` of so many channels.
    """
    kernel_mm = max(_LEAST_KERNEL_MM, setting.kernel_share * place.size_mm)
    spacing = place.box.spacing_zyx_mm
    region = np.zeros(place.allowed.shape, bool)
    window = box_of(place.allowed)
    if window is None:
        return region
    near = place.radius < _NEAR
    cells_near, cells_here = cells[near], cells[window]
    allowed, prior = place.allowed[window], place.prior(window, setting)
    blocks = Blocks.of(allowed.shape, spacing, kernel_mm)
    kernel = [kernel_mm / (s * f) for s, f in zip(spacing, blocks.factors, strict=True)]
    free = blocks.mean(allowed) > 0.5
    # All outside the window is out throughout: only what changes is computed.
    whole = np.zeros(place.allowed.shape)
    inside: Floats = np.where(free, _logistic(blocks.mean(prior)), 0.0)
    for _ in range(_ROUNDS):
        whole[window] = blocks.repeated(inside)
        seen = log_odds(cells_near, cells_here, channels, whole[near], setting.blur)
        own = blocks.mean(prior + setting.weight * np.clip(seen, -_EVIDENCE_LIMIT, _EVIDENCE_LIMIT))
        for _ in range(_STEPS):
            around = ndimage.gaussian_filter(inside, kernel, mode="constant")
            inside = np.where(free, _logistic(own + setting.agree * (2 * around - 1)), 0.0)
    likely = (blocks.spread(inside) > 0.5) & allowed
    region[window] = _whole(likely, allowed, place.radius[window] <= _MIDDLE, spacing)
    return region


def _whole(likely: Bools, allowed: Bools, middle: Bools, spacing_zyx_mm: tuple[float, float, float]) -> Bools:
    """The one connected part in the middle of the marking, closed (a hilum is open to one side) and without holes."""
    steps = [int(np.ceil(_CLOSE_MM / s)) + 1 for s in spacing_zyx_mm]
    padded = np.pad(likely, [(n, n) for n in steps])
    wider = ndimage.distance_transform_edt(~padded, spacing_zyx_mm) <= _CLOSE_MM + 1e-6
    closed = ndimage.distance_transform_edt(wider, spacing_zyx_mm) > _CLOSE_MM + 1e-6
    inner = tuple(slice(n, n + m) for n, m in zip(steps, likely.shape, strict=True))
    parts, count = ndimage.label(closed[inner] & allowed)
    sizes = np.bincount(parts[middle], minlength=count + 1)
    sizes[0] = 0
    if not sizes.any():
        return np.zeros(likely.shape, bool)
    one = parts == int(sizes.argmax())
    return np.stack([ndimage.binary_fill_holes(plane) for plane in one])


def _logistic(values: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -30, 30))))
