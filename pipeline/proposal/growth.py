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

from pipeline.proposal.box import Box
from pipeline.proposal.evidence import binned, log_odds
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


@dataclass(frozen=True, slots=True)
class Surroundings:
    """A marking on its box. `radius`: in half axes. `allowed`: where the region may be. `prior`: log odds."""

    frame: Frame
    box: Box
    radius: Floats
    allowed: Bools
    prior: Floats


def surroundings(
    frame: Frame, box: Box, others: Sequence[Frame], drawn: Bools | None, setting: Setting
) -> Surroundings:
    """What the marking alone says. `drawn`: the inside of an outline on the box, where it was drawn."""
    half = frame.half_mm
    radius = box.radius(half)
    distance = np.sqrt((box.local_mm**2).sum(axis=-1))
    inward_mm = np.where(radius > 1e-3, distance * (1 / np.maximum(radius, 1e-3) - 1), min(half))
    across = np.abs(box.local_mm[..., 2]) / np.maximum(distance, 1e-6)
    size = float(np.sqrt(half[0] * half[1]))
    spread = setting.spread_mm + setting.spread_share * size
    if not frame.short_measured:
        spread *= 1.5
    prior = inward_mm / (spread * (1 + (setting.out_of_plane - 1) * across**2))
    reach = (half[0] * _REACH + _REACH_MM, half[1] * _REACH + _REACH_MM, half[2] * _REACH_ACROSS + _REACH_MM)
    allowed = box.radius(reach) <= 1
    points = box.local_mm @ frame.axes + frame.centre_mm
    for other in others:
        allowed &= np.sqrt(((other.local(points) / np.array(other.half_mm)) ** 2).sum(axis=-1)) >= radius
    if drawn is not None:
        here = np.abs(box.local_mm[..., 2]) <= box.half_slice_mm(frame.axes[2])
        prior = np.where(here, np.where(drawn, 8.0, -8.0), prior)
        allowed |= here & drawn
    return Surroundings(frame, box, radius, allowed, prior)


def grown(place: Surroundings, channels: Sequence[npt.NDArray[np.float32]], setting: Setting) -> Bools:
    """The region on the box, bool (z, y, x); empty where nothing is likelier in than out."""
    size = float(np.sqrt(place.frame.half_mm[0] * place.frame.half_mm[1]))
    kernel = [max(_LEAST_KERNEL_MM, setting.kernel_share * size) / s for s in place.box.spacing_zyx_mm]
    near = place.radius < _NEAR
    cells = binned(channels)
    inside: Floats = np.where(place.allowed, _logistic(place.prior), 0.0)
    for _ in range(_ROUNDS):
        seen = log_odds(cells, len(channels), inside * near, (1 - inside) * near, setting.blur)
        own = place.prior + setting.weight * np.clip(seen, -_EVIDENCE_LIMIT, _EVIDENCE_LIMIT)
        for _ in range(_STEPS):
            around = ndimage.gaussian_filter(inside, kernel)
            inside = np.where(place.allowed, _logistic(own + setting.agree * (2 * around - 1)), 0.0)
    return _whole(inside > 0.5, place)


def _whole(likely: Bools, place: Surroundings) -> Bools:
    """The one connected part in the middle of the marking, closed (a hilum is open to one side) and without holes."""
    spacing = place.box.spacing_zyx_mm
    steps = [int(np.ceil(_CLOSE_MM / s)) for s in spacing]
    offsets = np.meshgrid(*[np.arange(-n, n + 1) * s for n, s in zip(steps, spacing, strict=True)], indexing="ij")
    ball = sum(o**2 for o in offsets) <= _CLOSE_MM**2 + 1e-6
    padded = np.pad(likely, [(n, n) for n in steps])
    closed = ndimage.binary_closing(padded, ball)[
        tuple(slice(n, n + m) for n, m in zip(steps, likely.shape, strict=True))
    ]
    parts, count = ndimage.label(closed & place.allowed)
    if not count:
        return np.zeros(likely.shape, bool)
    sizes = np.bincount(parts[place.radius <= 0.6], minlength=count + 1)
    sizes[0] = 0
    if not sizes.any():
        return np.zeros(likely.shape, bool)
    one = parts == int(sizes.argmax())
    return np.stack([ndimage.binary_fill_holes(plane) for plane in one])


def _logistic(values: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -30, 30))))
