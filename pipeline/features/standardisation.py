"""Intensities made comparable before features are computed: one shift and one factor per image, or per region.

MR units are arbitrary, so a gain of the receiver changes most features; a z score takes it out. The whole image is
read once, for the two numbers; they are applied only where features read voxels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal  # Any: PyRadiomics' settings, of many types

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from pipeline.features.region import Refusal

Array = npt.NDArray[Any]
# Over what intensities are standardised by axrad; PyRadiomics' own over the whole image is its setting `normalize`.
Over = Literal["body", "roi", "percentiles"]
HISTOGRAM_BINS = 256
PERCENTILES = (1.0, 99.0)


@dataclass(frozen=True, slots=True)
class Linear:
    """`(x + shift) * factor`, cut off at `limit` on both sides where there is one, then times `scale`; in float64."""

    shift: float
    factor: float
    limit: float | None
    scale: float

    def apply(self, voxels_zyx: Array) -> npt.NDArray[np.float64]:
        values = (voxels_zyx.astype(np.float64) + self.shift) * self.factor
        if self.limit is not None:
            values = np.clip(values, -self.limit, self.limit)
        return np.asarray(values * self.scale)


@dataclass(frozen=True, slots=True)
class Standard:
    """How axrad standardises: z score over the body or the region, or percentiles 1 to 99 of the body as 0 to 1.

    `clip`: in standard deviations. `scale`: what one standard deviation (or the range of the percentiles) becomes.
    """

    over: Over
    scale: float
    clip: float | None = None


def of_whole_image(voxels_zyx: Array, settings: Mapping[str, Any]) -> Linear:
    """What PyRadiomics' `normalize` does with `normalizeScale` and `removeOutliers`: a z score over every voxel.

    ITK sums on one thread here. On several, their order and with it the last bits differ from call to call.
    """
    statistics = sitk.StatisticsImageFilter()
    statistics.SetNumberOfThreads(1)
    statistics.SetNumberOfWorkUnits(1)
    statistics.Execute(sitk.GetImageFromArray(voxels_zyx))
    sigma = statistics.GetSigma()
    factor = 1 / sigma if sigma > 0 else math.inf  # as ITK has it: no number comes of a constant image
    return Linear(-statistics.GetMean(), factor, settings.get("removeOutliers"), settings.get("normalizeScale", 1))


def of_body(voxels_zyx: Array, standard: Standard) -> Linear:
    """By the voxels of the body: those above Otsu's threshold. Voxels that are not finite are none of it.

    Raises:
        Refusal: they are all the same, or there are none.
    """
    finite = voxels_zyx[np.isfinite(voxels_zyx)] if voxels_zyx.dtype.kind == "f" else voxels_zyx.reshape(-1)
    if finite.size == 0 or finite.min() == finite.max():
        raise Refusal("the image is constant: there is no body to standardise intensities by")
    inside = finite[finite > _otsu(finite)]
    if standard.over == "percentiles":
        low, high = np.percentile(inside, PERCENTILES).tolist()
        return _linear(low, high - low, standard)
    return _linear(inside.mean(dtype=np.float64), inside.std(dtype=np.float64), standard)


def of_region(inside: Array, standard: Standard) -> Linear:
    """By the region's own voxels (voxels,). Raises Refusal: they are all the same."""
    return _linear(inside.mean(dtype=np.float64), inside.std(dtype=np.float64), standard)


def _linear(centre: float, spread: float, standard: Standard) -> Linear:
    if not spread > 0:
        raise Refusal("the voxels have one intensity: there is nothing to standardise with")
    return Linear(-float(centre), 1 / float(spread), standard.clip, standard.scale)


def _otsu(values: Array) -> float:
    """Otsu's threshold by bins of equal width: the lower border of the first bin above, so that gains scale it."""
    low, high = float(values.min()), float(values.max())
    counts, borders = np.histogram(values, HISTOGRAM_BINS, (low, high))
    below = np.cumsum(counts, dtype=np.float64)
    above = below[-1] - below
    sums = np.cumsum(counts * (np.arange(HISTOGRAM_BINS) + 0.5))
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(borders[int(np.nanargmax(between)) + 1])
