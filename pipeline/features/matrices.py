"""The texture matrices of one image: what PyRadiomics counts, counted once for all of them, by levels that occur.

Entries are whole numbers, so they do not depend on the order of counting. The one that is none, the sum of differences
in the NGTDM, is added voxel by voxel in C order, as PyRadiomics adds it. At distance 1, in three dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline.features.neighbours import Ints, Neighbourhood

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Counted:
    """A matrix without the columns that are empty. `columns`: what each one stands for; `of`: how many there were."""

    matrix: Floats
    columns: Ints
    of: int


def compact(numbers: Ints) -> tuple[Ints, Ints]:
    """The numbers from 0 that occur, ascending, and for each number its place among them."""
    present = np.flatnonzero(np.bincount(numbers))
    place = np.zeros(int(present[-1]) + 1, dtype=np.intp)
    place[present] = np.arange(present.size)
    return present, place[numbers]


class Textures:
    """`levels` (voxels,): grey levels of a region's voxels in C order, from 1."""

    def __init__(self, levels: Ints, around: Neighbourhood) -> None:
        self._levels, self._around = levels, around
        self.present, ranks = compact(levels)
        # 1...n; laid out, 0 outside the mask
        self._ranks = ranks + 1
        self._laid_out = around.laid_out(self._ranks)

    @cached_property
    def histogram(self) -> Ints:
        """(levels,): voxels of each level."""
        return self._by_level(self._ranks)

    def _by_level(self, ranks: Ints) -> Ints:
        return np.bincount(ranks, minlength=self.present.size + 1)[1:]

    def pairs(self) -> Floats:
        """GLCM (levels, levels, angles): voxels of level i whose neighbour along the angle has level j."""
        rows = self.present.size + 1
        counts = np.empty((rows - 1, rows - 1, len(self._around.steps)))
        base = self._ranks * rows
        for angle, step in enumerate(self._around.steps):
            codes = self._laid_out.take(self._around.places + step)
            codes += base
            counts[:, :, angle] = np.bincount(codes, minlength=rows * rows).reshape(rows, rows)[1:, 1:]
        return counts

    @cached_property
    def _same(self) -> npt.NDArray[np.bool_]:
        """(angles, size): whether the voxel at a place and its neighbour along the angle have one level."""
        narrow = self._laid_out.astype(np.min_scalar_type(self.present.size))
        inside = narrow > 0
        same = np.zeros((len(self._around.steps), narrow.size), dtype=np.bool_)
        for row, step in zip(same, self._around.steps, strict=True):
            np.equal(narrow[:-step], narrow[step:], out=row[:-step])
            row &= inside
        return same

    @cached_property
    def _places(self) -> list[Ints]:
        """By angle: the places where `_same` is true."""
        return [np.flatnonzero(row) for row in self._same]

    def runs(self) -> Counted:
        """GLRLM (levels, lengths, angles): runs of equal levels along each angle.

        Of a run of n voxels, n - k + 1 stretches of k can be cut. So the second difference of the numbers of
        stretches by k is the number of runs of k.
        """
        by_angle = [self._stretches(*each) for each in zip(self._around.steps, self._same, self._places, strict=True)]
        longest = max(len(stretches) for stretches in by_angle)
        counts = np.zeros((self.present.size, longest + 2, len(by_angle)))
        for angle, stretches in enumerate(by_angle):
            if self._around.lines[angle]:
                counts[:, : len(stretches), angle] = np.stack(stretches, 1)
        runs = counts[:, :-2] - 2 * counts[:, 1:-1] + counts[:, 2:]
        lengths = np.flatnonzero(runs.any(axis=(0, 2)))
        return Counted(runs[:, lengths], lengths + 1, max(self._around.shape_zyx) - 2)

    def _stretches(self, step: int, same: npt.NDArray[np.bool_], last: Ints) -> list[Ints]:
        """By length, from 1: stretches of one level, by level. `last`: the last places but one of those of two."""
        stretches = [self.histogram]
        while last.size:
            stretches.append(self._by_level(self._laid_out.take(last)))
            last = last + step
            last = last[same.take(last)]
        return stretches

    def zones(self) -> Counted:
        """GLSZM (levels, sizes): connected zones of equal levels."""
        voxels, number = self._ranks.size, self._around.numbers
        first = np.concatenate(self._places)
        second = np.concatenate([places + step for places, step in zip(self._places, self._around.steps, strict=True)])
        graph = coo_array((np.ones(first.size), (number.take(first), number.take(second))), shape=(voxels, voxels))
        _, labels = connected_components(graph.tocsr(), directed=False)
        sizes, column = compact(np.bincount(labels))
        ranks = np.zeros(column.size, dtype=np.intp)
        ranks[labels] = self._ranks
        return Counted(self._table(ranks, column, sizes.size), sizes, int(sizes[-1]))

    def dependences(self) -> Counted:
        """GLDM (levels, dependences): voxels by how many neighbours have the same level, themselves counted."""
        alike = np.zeros(self._around.size, dtype=np.int8)
        for same, step in zip(self._same, self._around.steps, strict=True):
            alike += same
            alike[step:] += same[:-step]
        sizes, column = compact(alike.take(self._around.places).astype(np.intp))
        return Counted(self._table(self._ranks, column, sizes.size), sizes + 1, 4 * len(self._around.steps) + 1)

    def _table(self, ranks: Ints, columns: Ints, width: int) -> Floats:
        codes = (ranks - 1) * width + columns
        return np.bincount(codes, minlength=self.present.size * width).reshape(-1, width).astype(np.float64)

    def differences(self) -> Floats:
        """NGTDM (levels, 3): voxels, sum of |level - mean of the neighbours|, and the level."""
        counts = self._around.counts
        mean = self._around.sum_around(self._levels.astype(np.int32)) / np.maximum(counts, 1)
        apart = np.where(counts > 0, np.abs(self._levels - mean), 0.0)
        sums = np.bincount(self._ranks, apart, minlength=self.present.size + 1)[1:]
        return np.stack([self.histogram.astype(np.float64), sums, self.present.astype(np.float64)], 1)
