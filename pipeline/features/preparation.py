"""The image and mask that features are computed on, where intensities are standardised or the grid is resampled.

PyRadiomics does both on the whole image. Features read a box around the region alone, so what is made here is that box,
with the numbers that the whole image would give:

- a standardised voxel depends on itself and two numbers of the image;
- ITK's cubic B-spline runs a recursive filter along every line of the image, whose memory fades by a factor of 0.27
  with every voxel: what lies `FADED` voxels away no longer reaches the last bit. The coefficients are computed in a box
  with that margin and laid into an empty image of the whole size, so that positions are computed as ever.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any  # Any: PyRadiomics' settings and images of SimpleITK, which have no types

import numpy as np
import SimpleITK as sitk

from pipeline.features import diagnostics, ibsi_grid, standardisation
from pipeline.features.library import imageoperations
from pipeline.features.parameters import Parameters
from pipeline.features.reference_call import as_image
from pipeline.features.region import Box, Region, find
from pipeline.features.standardisation import Linear
from pipeline.geometry import Geometry
from pipeline.records import Json, Mask, Volume

FADED = 48
# What PyRadiomics' and ours do to the image is done by then.
_DONE = frozenset({"normalize", "resampledPixelSpacing", "removeOutliers"})
_SPLINES = ("sitkBSpline", "sitkBSpline3", sitk.sitkBSpline)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is measured in place of a region on its image; `diagnostics` of the resampled grid."""

    volume: Volume
    mask: Mask
    diagnostics: Mapping[str, Json]


def asked(parameters: Parameters) -> bool:
    """Whether anything is to be prepared."""
    settings = parameters.settings
    return parameters.standard is not None or bool(settings.get("normalize")) or resamples(parameters)


def resamples(parameters: Parameters) -> bool:
    settings = parameters.settings
    return bool(settings.get("resampledPixelSpacing")) and settings.get("interpolator") is not None


def afterwards(parameters: Parameters) -> Parameters:
    """The parameters of what remains to be done on a prepared region."""
    left = {key: value for key, value in parameters.settings.items() if key not in _DONE}
    return replace(parameters, settings=left, standard=None, ibsi_grid=False)


def of_image(volume: Volume, parameters: Parameters) -> Linear | None:
    """What the whole image says of its intensities; None where it has no say.

    Raises:
        Refusal: it has one intensity only.
    """
    if parameters.standard is not None and parameters.standard.over != "roi":
        return standardisation.of_body(volume.voxels_zyx, parameters.standard)
    if parameters.settings.get("normalize"):
        return standardisation.of_whole_image(volume.voxels_zyx, parameters.settings)
    return None


def prepare(volume: Volume, region: Region, parameters: Parameters, whole: Linear | None) -> Prepared:
    """The box of one region. `whole`: from `of_image`.

    Raises:
        Refusal: the region has one intensity only, and is standardised by itself.
    """
    linear = whole
    if parameters.standard is not None and parameters.standard.over == "roi":
        inside = volume.voxels_zyx[region.box.slices][region.mask_zyx]
        linear = standardisation.of_region(inside, parameters.standard)
    if resamples(parameters):
        return _resampled(volume, region, parameters, linear)
    box = region.box.with_margin(volume.voxels_zyx.shape)
    cut = cut_to(volume, box, linear)
    mask = np.zeros(box.shape_zyx, dtype=np.bool_)
    mask[region.box.within(box)] = region.mask_zyx
    return Prepared(cut, Mask(mask, cut.geometry), {})


def standardised(volume: Volume, mask: Mask, parameters: Parameters) -> Volume:
    """The whole image as axrad standardises it, for PyRadiomics' plain call. Raises as `prepare`."""
    if parameters.standard is None:
        return volume
    linear = of_image(volume, parameters)
    if linear is None:
        region = find(mask.voxels_zyx)
        inside = volume.voxels_zyx[region.box.slices][region.mask_zyx]
        linear = standardisation.of_region(inside, parameters.standard)
    return replace(volume, voxels_zyx=linear.apply(volume.voxels_zyx))


def cut_to(volume: Volume, box: Box, linear: Linear | None = None) -> Volume:
    """The voxels of a box as an image of their own, in its place in space."""
    voxels: Any = np.ascontiguousarray(volume.voxels_zyx[box.slices])
    grid = volume.geometry
    start = grid.affine @ np.array([*box.lo_zyx[::-1], 1.0])
    x, y, z = start[:3].tolist()
    depth, rows, columns = voxels.shape
    geometry = Geometry((depth, rows, columns), grid.spacing_xyz_mm, (x, y, z), grid.direction)
    return Volume(voxels if linear is None else linear.apply(voxels), geometry, volume.series_uid)


def _resampled(volume: Volume, region: Region, parameters: Parameters, linear: Linear | None) -> Prepared:
    settings = parameters.settings
    spline = settings["interpolator"] in _SPLINES
    box = _with_reach(region.box, volume.geometry, settings)
    cut = cut_to(volume, box, linear)
    pixels = as_image(cut.voxels_zyx, cut.geometry)
    kind = pixels.GetPixelID()
    labels = np.zeros(volume.voxels_zyx.shape, dtype=np.uint8)
    labels[region.box.slices] = region.mask_zyx
    mask = as_image(labels, volume.geometry)
    own = {**settings, "label": 1}
    if spline and (parameters.ibsi_grid or _changes_spacing(region, volume.geometry, settings)):
        # the interpolator that takes coefficients in place of an image
        pixels = sitk.BSplineDecomposition(sitk.Cast(pixels, sitk.sitkFloat64))
        own["interpolator"] = sitk.sitkBSplineResamplerOrder3
    whole = sitk.Image([int(n) for n in volume.geometry.shape_zyx[::-1]], pixels.GetPixelID())
    whole.CopyInformation(mask)
    x, y, z = box.within(Box((0, 0, 0), box.hi_zyx))[::-1]
    whole[x, y, z] = pixels
    if parameters.ibsi_grid:
        spacing, pad = settings["resampledPixelSpacing"], int(settings.get("padDistance", 5))
        interpolator = (
            getattr(sitk, own["interpolator"]) if isinstance(own["interpolator"], str) else own["interpolator"]
        )
        image, there = ibsi_grid.resampled(whole, mask, region.box, spacing, interpolator, pad)
    else:
        image, there = imageoperations.resampleImage(whole, mask, **own)
    typed = _as_kind(image, kind, nearest=parameters.ibsi_grid)
    resampled, inside = _volume(typed, volume), sitk.GetArrayFromImage(there) == 1
    prepared = Mask(inside, resampled.geometry)
    about = {
        **diagnostics.of_image(resampled),
        **diagnostics.of_mask(find(inside, 0), resampled.geometry),
    }
    return Prepared(resampled, prepared, {n.replace("-original_", "-interpolated_"): v for n, v in about.items()})


def _with_reach(box: Box, grid: Geometry, settings: Mapping[str, Any]) -> Box:
    """The box with what the resampled grid's padding reads, and `FADED` voxels more."""
    asked_for = settings["resampledPixelSpacing"]
    steps = [new or old for new, old in zip(asked_for, grid.spacing_xyz_mm, strict=True)]
    pad = float(settings.get("padDistance", 5))
    reach = [math.ceil((pad + 2) * new / old) + FADED for new, old in zip(steps, grid.spacing_xyz_mm, strict=True)]
    low = [max(0, lo - n) for lo, n in zip(box.lo_zyx, reach[::-1], strict=True)]
    high = [min(size, hi + n) for hi, n, size in zip(box.hi_zyx, reach[::-1], grid.shape_zyx, strict=True)]
    return Box((low[0], low[1], low[2]), (high[0], high[1], high[2]))


def _changes_spacing(region: Region, grid: Geometry, settings: Mapping[str, Any]) -> bool:
    """Whether PyRadiomics interpolates: not where the new spacing is the old one, nor along an axis of one slice."""
    old = np.array(grid.spacing_xyz_mm)
    new = np.array(settings["resampledPixelSpacing"], dtype=np.float64)
    one_slice = np.array(region.box.shape_zyx[::-1]) == 1
    return not np.allclose(old, np.where((new == 0) | one_slice, old, new))


def _as_kind(image: Any, kind: int, *, nearest: bool) -> Any:
    """Interpolated values in the image's own type, cut off at its limits; towards zero, as ITK casts, or `nearest`."""
    if image.GetPixelID() == kind:
        return image
    values = sitk.GetArrayFromImage(image)
    own = sitk.GetArrayViewFromImage(sitk.Image(1, 1, 1, kind)).dtype
    if own.kind in "iu":
        values = np.rint(values) if nearest else values
        values = np.clip(values, np.iinfo(own).min, np.iinfo(own).max)
    typed = sitk.GetImageFromArray(values.astype(own))
    typed.CopyInformation(image)
    return typed


def _volume(image: Any, source: Volume) -> Volume:
    voxels = sitk.GetArrayFromImage(image)
    depth, rows, columns = voxels.shape
    geometry = Geometry((depth, rows, columns), image.GetSpacing(), image.GetOrigin(), image.GetDirection())
    return Volume(voxels, geometry, source.series_uid)
