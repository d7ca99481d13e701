"""Where a grid of voxels lies in the patient.

Coordinates are DICOM's patient coordinate system (PS3.3 C.7.6.2.1.1): LPS, millimetres. Index order of arrays is
z, y, x (slices, rows, columns); order of points, spacings and matrices is x, y, z, as in SimpleITK.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Geometry:
    """A regular grid. `direction`: the 3x3 matrix, row by row, whose columns are the unit vectors of i, j and k."""

    shape_zyx: tuple[int, int, int]
    spacing_xyz_mm: tuple[float, float, float]
    origin_xyz_mm: tuple[float, float, float]
    direction: tuple[float, ...]
    frame_of_reference_uid: str | None = None

    def __post_init__(self) -> None:
        if len(self.direction) != 9 or min(self.spacing_xyz_mm) <= 0 or min(self.shape_zyx) < 1:
            raise ValueError(f"no such grid: {self}")

    @property
    def voxel_mm3(self) -> float:
        """Volume of one voxel."""
        x, y, z = self.spacing_xyz_mm
        return x * y * z

    @property
    def affine(self) -> npt.NDArray[np.float64]:
        """4x4 matrix from voxel index (i, j, k) = (x, y, z order) to patient position in mm."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.asarray(self.direction).reshape(3, 3) * np.asarray(self.spacing_xyz_mm)
        matrix[:3, 3] = self.origin_xyz_mm
        return matrix

    def same_grid(self, other: Geometry, tolerance_mm: float = 1e-3) -> bool:
        """Whether both grids have the same voxels: the corners agree within `tolerance_mm`."""
        if self.shape_zyx != other.shape_zyx:
            return False
        corners = np.array(
            [
                [i, j, k, 1]
                for i in (0, self.shape_zyx[2])
                for j in (0, self.shape_zyx[1])
                for k in (0, self.shape_zyx[0])
            ]
        ).T
        return bool(np.abs((self.affine - other.affine) @ corners).max() <= tolerance_mm)


def box_of(voxels_zyx: npt.NDArray[np.bool_]) -> tuple[slice, slice, slice] | None:
    """The smallest box around the True voxels, None where there is none. Later axes are searched in what is left."""
    spans: list[slice] = []
    inside = voxels_zyx
    for axis in range(3):
        hits = np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis)))
        if hits.size == 0:
            return None
        spans.append(slice(int(hits[0]), int(hits[-1]) + 1))
        inside = inside[(slice(None),) * axis + (spans[-1],)]
    return spans[0], spans[1], spans[2]
