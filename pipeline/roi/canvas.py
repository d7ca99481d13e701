"""Planes of a mask laid onto the grid of an image: by index where they lie on it, resampled where they do not."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.align.resample import Bools, nearest_into
from pipeline.geometry import Geometry
from pipeline.records import Contradiction

# How far a plane's corners may lie from voxel centres, in voxels, and still count as being on the grid.
ON_GRID = 0.05
# A plane may be this many times thicker than the image's slices and still belong to the one slice that it lies on.
SAME_SLICE = 1.5


@dataclass(slots=True)
class Canvas:
    """A mask in the making. Counts are of planes (`exact`, `resampled`) and of set pixels (`drawn`, `outside`)."""

    grid: Geometry
    voxels_zyx: Bools
    exact: int = 0
    resampled: int = 0
    drawn: int = 0
    outside: int = 0
    notes: list[str] = field(default_factory=list)
    contradictions: tuple[Contradiction, ...] = ()

    @classmethod
    def on(cls, grid: Geometry) -> Canvas:
        return cls(grid, np.zeros(grid.shape_zyx, bool))

    def add(self, pixels: Bools, plane: Geometry, drawn_on_image: bool = False) -> None:
        """Add one plane: `pixels` (rows, columns) at `plane` (one slice; its z spacing is the plane's thickness).

        `drawn_on_image`: a plane that lies on a slice of this image was drawn on it, however thick it says it is.
        """
        count = int(np.count_nonzero(pixels))
        if not count:
            return
        self.drawn += count
        to_index = np.linalg.inv(self.grid.affine) @ plane.affine
        rows, columns = np.nonzero(pixels)
        at = to_index[:3] @ np.stack([columns, rows, np.zeros(count), np.ones(count)])
        if on_grid(to_index, pixels.shape) and (self._thin(to_index) or (drawn_on_image and self._parallel(to_index))):
            index = np.round(at).astype(np.int64)
            inside = self._inside(index)
            x, y, z = index[:, inside]
            self.voxels_zyx[z, y, x] = True
            self.exact += 1
        else:
            inside = self._inside(np.floor(at + 0.5).astype(np.int64))
            nearest_into(self.voxels_zyx, pixels[None], plane, self.grid)
            self.resampled += 1
        self.outside += count - int(np.count_nonzero(inside))

    @staticmethod
    def _thin(to_index: npt.NDArray[np.float64]) -> bool:
        return float(np.linalg.norm(to_index[:3, 2])) < SAME_SLICE

    @staticmethod
    def _parallel(to_index: npt.NDArray[np.float64]) -> bool:
        return bool((np.round(to_index[2, :2]) == 0).all())

    def _inside(self, index: npt.NDArray[np.int64]) -> Bools:
        limits = np.array(self.grid.shape_zyx[::-1])[:, None]
        return np.asarray(((index >= 0) & (index < limits)).all(axis=0), bool)


def on_grid(to_index: npt.NDArray[np.float64], shape: tuple[int, ...]) -> bool:
    """Whether a plane of `shape` (rows, columns) falls on voxel centres, one by one, along axes of the grid.

    `to_index`: 4x4, from (column, row, 0) of the plane to (x, y, z) index of the grid.
    """
    steps = np.round(to_index[:3, :2]).astype(np.int64)
    if sorted(np.abs(steps).sum(axis=0)) != [1, 1] or np.abs(steps).sum(axis=1).max() > 1:
        return False
    start = np.round(to_index[:3, 3])
    corners = np.array([(c, r) for c in (0, shape[1] - 1) for r in (0, shape[0] - 1)]).T
    exact = start[:, None] + steps @ corners
    at = to_index[:3, :2] @ corners + to_index[:3, 3:]
    return bool(np.abs(at - exact).max() <= ON_GRID)
