"""The few PyRadiomics methods that cost most, rearranged without touching the order of any sum or product.

Same operations on the same operands, hence the same bits; the tests compare them with PyRadiomics' own. What is saved
is repetition: a power taken once per sum of levels instead of once per pair, a percentile once instead of twice,
scratch arrays written over instead of allocated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any  # Any: attributes of PyRadiomics' classes, which have no types

import numpy as np
import numpy.typing as npt

from pipeline.features import counted_classes
from pipeline.features.library import eigenvalues, feature_classes

Array = npt.NDArray[np.float64]


class FasterGlcm(feature_classes()["glcm"]):  # type: ignore[misc]
    """The co-occurrence matrix `P_glcm` has the shape (1, levels, levels, directions)."""

    P_glcm: Array
    coefficients: dict[str, Any]

    def _calculateCoefficients(self) -> None:
        joint = self.P_glcm
        if joint.shape[3] == 1:  # one direction: numpy sums a contiguous axis in another order
            super()._calculateCoefficients()
            return
        coefficients = self.coefficients
        eps = np.spacing(1)
        levels = coefficients["grayLevels"].astype("float")
        i, j = np.meshgrid(levels, levels, indexing="ij", sparse=True)
        diagonals, differences = _diagonal_sums(joint[0], coefficients["grayLevels"], coefficients["Ng"])
        coefficients.update(
            eps=eps,
            i=i,
            j=j,
            kValuesSum=np.arange(2, coefficients["Ng"] * 2 + 1, dtype="float"),
            kValuesDiff=np.arange(0, coefficients["Ng"], dtype="float"),
            px=joint.sum(2, keepdims=True),
            py=joint.sum(1, keepdims=True),
            ux=np.sum(i[None, :, :, None] * joint, (1, 2), keepdims=True),
            uy=np.sum(j[None, :, :, None] * joint, (1, 2), keepdims=True),
            pxAddy=diagonals.transpose((1, 0, 2)),
            pxSuby=differences.transpose((1, 0, 2)),
            HXY=(-1) * np.sum(joint * np.log2(joint + eps), (1, 2)),
        )

    def getClusterProminenceFeatureValue(self) -> Array:
        return self._central_moment(4)

    def getClusterShadeFeatureValue(self) -> Array:
        return self._central_moment(3)

    def _central_moment(self, order: int) -> Array:
        """Mean over directions of sum p(i, j) (i + j - ux - uy)^order; the power depends on i + j only."""
        coefficients = self.coefficients
        distances = coefficients["kValuesSum"][:, None] - coefficients["ux"][0, 0] - coefficients["uy"][0, 0]
        index = (coefficients["i"] + coefficients["j"]).astype(int) - 2
        weights = (distances**order)[index]
        weights *= self.P_glcm[0]
        return np.asarray(np.nanmean(np.sum(weights[None], (1, 2)), 1))

    def getMCCFeatureValue(self) -> Any:
        joint, px, py, eps = self.P_glcm, self.coefficients["px"], self.coefficients["py"], self.coefficients["eps"]
        if joint.shape[1] < 2:
            return 1
        # direction by direction, so that products run along the memory; p(i, k) as [direction, k, i]
        by_level = np.ascontiguousarray(joint[0].transpose(2, 1, 0))
        rows, columns = px[0, :, 0].T[:, :, None], py[0, 0].T
        q = np.zeros_like(by_level)
        # a level meets those between `first` and `last` only; beyond them every term is 0
        occurs = joint[0].any(axis=2)
        first, last = occurs.argmax(axis=0), joint.shape[1] - occurs[::-1].argmax(axis=0)
        for level, (low, high) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
            p = by_level[:, level, low:high]
            terms = p[:, :, None] * p[:, None, :]
            terms /= rows[:, low:high] * columns[:, level, None, None] + eps
            q[:, low:high, low:high] += terms
        values = eigenvalues(q[None])
        values.sort()
        return np.nanmean(np.sqrt(values[:, :, -2]), 1).real


def _diagonal_sums(joint: Array, levels: npt.NDArray[np.int64], highest: int) -> tuple[Array, Array]:
    """Sums of p(i, j) by i + j (2...2 highest) and by |i - j| (0...highest - 1), each (k, 1, directions).

    Row by row, and within a row by ascending j, which is the order in which PyRadiomics' masks list the pairs.
    """
    directions = joint.shape[2]
    sums, differences = np.zeros((2 * highest - 1, 1, directions)), np.zeros((highest, 1, directions))
    for row, level in enumerate(levels):
        sums[level + levels - 2, 0] += joint[row]
        differences[level - levels[: row + 1], 0] += joint[row, : row + 1]
        differences[levels[row + 1 :] - level, 0] += joint[row, row + 1 :]
    return sums, differences


class FasterFirstOrder(feature_classes()["firstorder"]):  # type: ignore[misc]
    """`targetVoxelArray` has the ROI's values in the shape (1, voxels)."""

    settings: dict[str, Any]
    coefficients: dict[str, Any]
    _percentiles: dict[int, Array] | None = None
    _moments: dict[int, Array] | None = None

    def _initCalculation(self, voxelCoordinates: None = None) -> None:
        binned = self.settings["binned"]
        self.targetVoxelArray = binned.inside.astype("float").reshape((1, -1))
        histogram = binned.textures.histogram.reshape((1, -1))
        self.coefficients["p_i"] = histogram.astype("float") / np.sum(histogram, 1, keepdims=True).astype("float")

    def get10PercentileFeatureValue(self) -> Array:
        return self._percentile(10)

    def get90PercentileFeatureValue(self) -> Array:
        return self._percentile(90)

    def getInterquartileRangeFeatureValue(self) -> Array:
        return self._percentile(75) - self._percentile(25)

    def _percentile(self, percent: int) -> Array:
        if self._percentiles is None:
            asked = (10, 25, 75, 90)
            percentiles = np.nanpercentile(self.targetVoxelArray, asked, axis=1)
            self._percentiles = dict(zip(asked, percentiles, strict=True))
        return self._percentiles[percent]

    def _moment(self, a: Array, moment: int = 1) -> Array:
        if self._moments is None:
            self._moments = {}
        if moment not in self._moments:
            deviations = a - np.nanmean(a, 1, keepdims=True)
            self._moments[moment] = np.asarray(np.nanmean(np.power(deviations, moment), 1))
        return self._moments[moment].copy()  # PyRadiomics writes into it


class FasterCountedGlcm(FasterGlcm, counted_classes.CountedGlcm):
    """Both: the matrix counted, the methods rearranged."""


# Classes in place of PyRadiomics' own, where there is one; `COUNTED` where the settings leave the matrices to axrad.
FASTER: Mapping[str, type[Any]] = {"glcm": FasterGlcm, "firstorder": FasterFirstOrder}
COUNTED: Mapping[str, type[Any]] = {
    "glcm": FasterCountedGlcm,
    "firstorder": FasterFirstOrder,
    "glrlm": counted_classes.CountedGlrlm,
    "glszm": counted_classes.CountedGlszm,
    "gldm": counted_classes.CountedGldm,
    "ngtdm": counted_classes.CountedNgtdm,
}
