"""Where the neighbours of a region's voxels lie: the same for every image of the region, so computed once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any  # Any: numbers of any type

import numpy as np
import numpy.typing as npt

from pipeline.features.library import angles

Ints = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Neighbourhood:
    """The voxels of a mask in C order, in a box with a margin of one voxel that is laid out flat.

    A neighbour is a fixed number of places away; one that is not in the mask has a place all the same.
    `shape_zyx`: of the box with its margin. `places`: (voxels,), the place of each voxel; `inside`: the same in the
    box without its margin. `angles_zyx`: (angles, 3), PyRadiomics' directions at distance 1, one of each opposite
    pair; `steps`: the places between neighbours along each of them, all above 0.
    """

    shape_zyx: tuple[int, ...]
    places: Ints
    inside: Ints
    angles_zyx: npt.NDArray[np.intc]
    steps: tuple[int, ...]

    @property
    def size(self) -> int:
        """Places in the box with its margin."""
        return int(np.prod(self.shape_zyx))

    @cached_property
    def numbers(self) -> npt.NDArray[np.int32]:
        """(size,): the number of the voxel at a place; 0 where none is."""
        return self.laid_out(np.arange(self.places.size, dtype=np.int32))

    @cached_property
    def counts(self) -> npt.NDArray[np.float64]:
        """(voxels,): how many of the 26 voxels around each one are in the mask."""
        return self.sum_around(np.ones(self.places.size, dtype=np.int32)).astype(np.float64)

    def sum_around(self, values: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """The sum of an integer (voxels,) over the neighbours of each voxel that are in the mask."""
        box: npt.NDArray[Any] = self.laid_out(values).reshape(self.shape_zyx)
        for axis in range(3):
            before, here, after = (box[(slice(None),) * axis + (slice(i, box.shape[axis] - 2 + i),)] for i in range(3))
            box = before + here
            box += after
        around: npt.NDArray[np.int32] = box.ravel().take(self.inside)
        return around - values

    def laid_out(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(size,): values (voxels,) at their places, 0 elsewhere."""
        flat = np.zeros(self.size, dtype=values.dtype)
        flat[self.places] = values
        return flat

    @cached_property
    def lines(self) -> tuple[bool, ...]:
        """By angle: whether any line along it holds two voxels of the mask. PyRadiomics counts no runs elsewhere."""
        mask = self.laid_out(np.ones(self.places.size, dtype=np.bool_))
        return tuple(
            bool(mask[self.places + step].any()) or self._on_one_line(angle)
            for step, angle in zip(self.steps, self.angles_zyx, strict=True)
        )

    def _on_one_line(self, angle: npt.NDArray[np.intc]) -> bool:
        voxels = np.stack(np.unravel_index(self.places, self.shape_zyx), 1)
        moving = np.flatnonzero(angle)[0]
        start = voxels - (voxels[:, moving] * angle[moving])[:, None] * angle
        return bool(np.unique(start, axis=0).shape[0] < voxels.shape[0])


def neighbourhood(mask_zyx: npt.NDArray[np.bool_]) -> Neighbourhood:
    """The neighbourhood of a mask that is cut to its box."""
    directions = angles(mask_zyx.shape)
    shape = tuple(n + 2 for n in mask_zyx.shape)
    steps = directions @ np.array([shape[1] * shape[2], shape[2], 1])
    places, inside = np.flatnonzero(np.pad(mask_zyx, 1)), np.flatnonzero(mask_zyx)
    return Neighbourhood(shape, places, inside, directions, tuple(steps.tolist()))
