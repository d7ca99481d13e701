"""The part of a grid around a marking, in the marking's own directions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.geometry import Geometry
from pipeline.proposal.frame import Frame

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Box:
    """Voxels near a lesion. `local_mm` (z, y, x, 3): where each voxel centre lies in the marking's directions.

    `directions_xyz`: columns are the unit vectors of i, j and k.
    """

    window: tuple[slice, slice, slice]
    local_mm: Floats
    spacing_zyx_mm: tuple[float, float, float]
    directions_xyz: Floats

    def half_slice_mm(self, normal: Floats) -> float:
        """Half the size of a voxel along a direction: what lies nearer to a plane is of the slice on it."""
        return float(np.abs(normal @ self.directions_xyz) @ np.array(self.spacing_zyx_mm[::-1])) / 2 + 1e-6

    def radius(self, half_mm: tuple[float, float, float]) -> Floats:
        """Distance from the centre in units of half axes: below 1 inside the ellipsoid. Shape (z, y, x)."""
        u, v, w = (self.local_mm[..., axis] / half for axis, half in enumerate(half_mm))
        return np.asarray(np.sqrt(u**2 + v**2 + w**2))

    def cut(self, inside: tuple[slice, slice, slice]) -> Box:
        """A part of this box; its `window` is on the whole grid as well."""
        window = [slice(w.start + i.start, w.start + i.stop) for w, i in zip(self.window, inside, strict=True)]
        return Box((window[0], window[1], window[2]), self.local_mm[inside], self.spacing_zyx_mm, self.directions_xyz)

    def on(self, shape_zyx: tuple[int, int, int], inside: Bools) -> Bools:
        """A region of the box on the whole grid."""
        whole = np.zeros(shape_zyx, bool)
        whole[self.window] = inside
        return whole


def box_around(frame: Frame, grid: Geometry, reach_mm: float) -> Box:
    """All voxels whose centres lie within `reach_mm` of the ellipsoid's bounding box along the grid's axes."""
    matrix = grid.affine[:3, :3]
    directions = matrix / np.array(grid.spacing_xyz_mm)
    to_index = np.linalg.inv(matrix)
    middle = to_index @ (frame.centre_mm - grid.affine[:3, 3])
    extent = np.sqrt(((directions.T @ frame.axes.T * np.array(frame.half_mm)) ** 2).sum(axis=1)) + reach_mm
    steps = extent / np.array(grid.spacing_xyz_mm)
    sizes = np.array(grid.shape_zyx[::-1])
    low = np.clip(np.floor(middle - steps), 0, sizes - 1).astype(int)
    high = np.clip(np.ceil(middle + steps), 0, sizes - 1).astype(int) + 1
    x, y, z = (np.arange(a, b, dtype=np.float64) for a, b in zip(low, high, strict=True))
    index = np.stack(np.meshgrid(z, y, x, indexing="ij"), axis=-1)[..., ::-1]
    spacing = grid.spacing_xyz_mm
    return Box(
        (slice(low[2], high[2]), slice(low[1], high[1]), slice(low[0], high[0])),
        frame.local(index @ matrix.T + grid.affine[:3, 3]),
        (spacing[2], spacing[1], spacing[0]),
        directions,
    )
