"""PyRadiomics' texture classes on matrices that `matrices` has counted; the formulas are PyRadiomics' own.

NumPy adds along the memory, so the bits of a sum follow from how a matrix lies there, and that from whether PyRadiomics
cut no, one or several empty rows out of it. So `padded` adds empty rows, two at most, and `cut` takes them out again.
"""

from __future__ import annotations

from typing import Any  # Any: attributes of PyRadiomics' classes, which have no types

import numpy as np
import numpy.typing as npt

from pipeline.features.library import feature_classes
from pipeline.features.matrices import Counted, Textures

Array = npt.NDArray[np.float64]


def padded(matrix: Array, axis: int, of: int) -> Array:
    """The matrix with empty entries along an axis, as many as are missing of `of`, but two at most."""
    width = matrix.shape[axis]
    if width == of:
        return matrix
    shape = list(matrix.shape)
    shape[axis] = min(of, width + 2)
    wider = np.zeros(shape)
    wider[(slice(None),) * axis + (slice(width),)] = matrix
    return wider


def cut(matrix: Array, axis: int, width: int) -> Array:
    """The first `width` entries of an axis, by the call that PyRadiomics cuts with."""
    return np.delete(matrix, np.arange(width, matrix.shape[axis]), axis)


class _Counted:
    """What the classes below have in common with PyRadiomics' own."""

    settings: dict[str, Any]
    coefficients: dict[str, Any]

    @property
    def _textures(self) -> Textures:
        textures: Textures = self.settings["binned"].textures
        return textures

    def _levels_cut(self, matrix: Array) -> Array:
        """(levels, ...) as (1, levels, ...)."""
        wide = padded(matrix[None], 1, self.coefficients["Ng"])
        return cut(wide, 1, matrix.shape[0])

    def _matrix(self, counted: Counted) -> Array:
        """(1, levels, columns), with two columns at most that are empty."""
        return self._levels_cut(np.ascontiguousarray(padded(counted.matrix, 1, counted.of)))


class CountedGlcm(_Counted, feature_classes()["glcm"]):  # type: ignore[misc]
    def _calculateMatrix(self, voxelCoordinates: None = None) -> Array:
        counts = self._textures.pairs()
        n, highest = counts.shape[0], self.coefficients["Ng"]
        joint = cut(cut(padded(padded(counts[None], 1, highest), 2, highest), 1, n), 2, n)
        if self.settings.get("symmetricalGLCM", True):
            joint += np.transpose(joint, (0, 2, 1, 3)).copy()
        joint, totals = without_empty_angles(joint)
        joint /= totals[:, None, None, :]
        return joint


def without_empty_angles(matrix: Array) -> tuple[Array, Array]:
    """The matrix (1, i, j, angles) without the angles that have no entry, unless it has only one; and the sums."""
    totals = np.sum(matrix, (1, 2))
    if matrix.shape[3] > 1:
        empty = np.where(np.sum(totals, 0) == 0)
        if len(empty[0]):
            matrix, totals = np.delete(matrix, empty, 3), np.delete(totals, empty, 1)
    totals[totals == 0] = np.nan
    return matrix, totals


class CountedGlrlm(_Counted, feature_classes()["glrlm"]):  # type: ignore[misc]
    _lengths: npt.NDArray[np.intp]

    def _calculateMatrix(self, voxelCoordinates: None = None) -> Array:
        counted = self._textures.runs()
        self._lengths = counted.columns
        matrix, self.coefficients["Nr"] = without_empty_angles(self._matrix(counted))
        return matrix

    def _calculateCoefficients(self) -> None:
        super()._calculateCoefficients()
        self.coefficients["jvector"] = self._lengths.astype(np.float64)


class CountedGlszm(_Counted, feature_classes()["glszm"]):  # type: ignore[misc]
    P_glszm: Array
    _sizes: npt.NDArray[np.intp]

    def _calculateMatrix(self, voxelCoordinates: None = None) -> Array:
        counted = self._textures.zones()
        self._sizes = counted.columns
        return self._matrix(counted)

    def _calculateCoefficients(self) -> None:
        super()._calculateCoefficients()
        sizes = self._sizes.astype(np.float64)
        self.coefficients["jvector"] = sizes
        self.coefficients["Np"] = np.sum(self.coefficients["ps"] * sizes, 1)


class CountedGldm(_Counted, feature_classes()["gldm"]):  # type: ignore[misc]
    def _calculateMatrix(self, voxelCoordinates: None = None) -> Array:
        counted = self._textures.dependences()
        matrix = self._matrix(counted)
        by_size, width = np.sum(matrix, 1), counted.columns.size
        self.coefficients["pg"] = np.sum(matrix, 2)
        self.coefficients["pd"] = cut(by_size, 1, width)
        self.coefficients["Nz"] = np.sum(self.coefficients["pd"], 1)
        self.coefficients["ivector"] = self.coefficients["grayLevels"].astype(float)
        self.coefficients["jvector"] = counted.columns.astype(np.float64)
        return cut(matrix, 2, width)


class CountedNgtdm(_Counted, feature_classes()["ngtdm"]):  # type: ignore[misc]
    def _calculateMatrix(self, voxelCoordinates: None = None) -> Array:
        return self._levels_cut(self._textures.differences())
