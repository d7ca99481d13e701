"""A region and its image as another reader or another scan might have given them, drawn from a seed.

Zwanenburg et al., Assessing robustness of radiomic features by image perturbation, Sci Rep 2019; 9: 614. Four kinds:
`contour` (supervoxels at the border are in or out by chance), `volume` (grown or shrunk), `move` (turned, and shifted
by less than a voxel), `noise` (as much again as the image has). Arrays are (z, y, x).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage

from pipeline.features.region import Box, Region, find
from pipeline.records import Mask, Volume

Kind = Literal["contour", "volume", "move", "noise"]
KINDS: tuple[Kind, ...] = get_args(Kind)
# Edge of a supervoxel in mm; the part of one inside the region below which it is out, and from which on it is in.
SUPERVOXEL_MM, SURELY_OUT, SURELY_IN = 2.5, 0.2, 0.9
LARGEST_CHANGE = 0.2
LARGEST_TURN_DEG = 5.0
# Voxels around the region that are changed with it: as many as features read, and what a turn brings in.
AROUND = 6

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Original:
    """What is perturbed: one region on its image, with what every perturbation of it needs. Made by `original`."""

    volume: Volume
    mask: Mask
    region: Region
    box: Box
    supervoxels: npt.NDArray[np.uint32]
    distances_mm: Floats
    noise: float

    def perturbed(self, kind: Kind, rng: np.random.Generator) -> tuple[Volume, Mask]:
        """Image and mask on the same grid. A change that would leave nothing of the region is not made."""
        inside = self.mask.voxels_zyx[self.box.slices]
        if kind == "noise":
            voxels = self._voxels()
            return self._with_voxels(voxels + rng.normal(0.0, self.noise, voxels.shape)), self.mask
        if kind == "contour":
            return self.volume, self._with_mask(self._by_supervoxels(inside, rng), inside)
        if kind == "volume":
            share = 1 + rng.uniform(-LARGEST_CHANGE, LARGEST_CHANGE)
            count = min(max(1, round(share * self.region.voxels)), self.distances_mm.size - 1)
            nearest = np.argsort(self.distances_mm, axis=None, kind="stable")[:count]
            chosen = np.zeros(self.distances_mm.size, dtype=np.bool_)
            chosen[nearest] = True
            return self.volume, self._with_mask(chosen.reshape(inside.shape), inside)
        return self._moved(inside, rng)

    def _by_supervoxels(self, inside: Bools, rng: np.random.Generator) -> Bools:
        sizes = np.bincount(self.supervoxels.ravel())
        shares = np.bincount(self.supervoxels.ravel(), inside.ravel(), len(sizes)) / np.maximum(sizes, 1)
        drawn = rng.random(len(sizes)) < shares
        taken = (drawn & (shares >= SURELY_OUT)) | (shares >= SURELY_IN)
        return np.asarray(taken[self.supervoxels])

    def _moved(self, inside: Bools, rng: np.random.Generator) -> tuple[Volume, Mask]:
        x, y, z = self.volume.geometry.spacing_xyz_mm
        spacing = np.array([z, y, x])
        angle = math.radians(rng.uniform(-LARGEST_TURN_DEG, LARGEST_TURN_DEG))
        turn = np.eye(3)
        turn[1:, 1:] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
        matrix = np.diag(1 / spacing) @ turn @ np.diag(spacing)
        centre = np.argwhere(inside).mean(axis=0)
        offset = centre + rng.uniform(-0.5, 0.5, 3) - matrix @ centre
        voxels = self._voxels()
        # Linear interpolation blurs; a spline would carry a voxel without a value into every other.
        order = 3 if np.isfinite(voxels).all() else 1
        voxels = ndimage.affine_transform(voxels, matrix, offset, order=order, mode="nearest")
        weights = ndimage.affine_transform(inside.astype(np.float64), matrix, offset, order=1, mode="constant")
        return self._with_voxels(voxels), self._with_mask(weights >= 0.5, inside)

    def _voxels(self) -> Floats:
        return self.volume.voxels_zyx[self.box.slices].astype(np.float64)

    def _with_voxels(self, voxels: Floats) -> Volume:
        whole = self.volume.voxels_zyx.astype(np.float32 if self.volume.voxels_zyx.dtype != np.float64 else np.float64)
        whole[self.box.slices] = voxels
        return replace(self.volume, voxels_zyx=whole)

    def _with_mask(self, chosen: Bools, before: Bools) -> Mask:
        whole = np.zeros(self.mask.voxels_zyx.shape, dtype=np.bool_)
        whole[self.box.slices] = chosen if chosen.any() else before
        return Mask(whole, self.mask.geometry)


def original(volume: Volume, mask: Mask) -> Original:
    """What is needed to perturb a region. Raises Refusal where PyRadiomics would refuse the region."""
    region = find(mask.voxels_zyx)
    box = region.box.grown(AROUND, mask.voxels_zyx.shape)
    inside = mask.voxels_zyx[box.slices]
    voxels = volume.voxels_zyx[box.slices].astype(np.float64)
    x, y, z = volume.geometry.spacing_xyz_mm
    outwards = ndimage.distance_transform_edt(~inside, (z, y, x)) if not inside.all() else np.zeros(inside.shape)
    inwards = ndimage.distance_transform_edt(inside, (z, y, x))
    supervoxels = _supervoxels(voxels, (x, y, z))
    return Original(volume, mask, region, box, supervoxels, outwards - inwards, noise_level(voxels))


def noise_level(voxels_zyx: Floats) -> float:
    """Standard deviation of the noise: from the median of the in-plane diagonal details, which anatomy hardly has."""
    if min(voxels_zyx.shape[1:]) < 2:
        return 0.0
    v = voxels_zyx
    details = (v[:, :-1, :-1] - v[:, 1:, :-1] - v[:, :-1, 1:] + v[:, 1:, 1:]) / 2
    finite = np.abs(details[np.isfinite(details)])
    return float(np.median(finite)) / 0.6745 if finite.size else 0.0


def _supervoxels(voxels_zyx: Floats, spacing_xyz_mm: tuple[float, float, float]) -> npt.NDArray[np.uint32]:
    """SLIC's supervoxels, of about `SUPERVOXEL_MM`, as labels of every voxel."""
    known = np.where(np.isfinite(voxels_zyx), voxels_zyx, 0.0)
    image = sitk.GetImageFromArray((known - known.mean()) / (known.std() or 1.0))
    slic = sitk.SLICImageFilter()
    slic.SetNumberOfThreads(1)
    slic.SetNumberOfWorkUnits(1)
    sizes = zip(spacing_xyz_mm, voxels_zyx.shape[::-1], strict=True)
    slic.SetSuperGridSize([min(n, max(1, round(SUPERVOXEL_MM / mm))) for mm, n in sizes])
    slic.SetMaximumNumberOfIterations(5)
    slic.SetEnforceConnectivity(False)
    return np.asarray(sitk.GetArrayFromImage(slic.Execute(image)), dtype=np.uint32)
