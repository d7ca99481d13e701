"""A volume seen patch by patch: where patches lie, how they are weighed, and their weighted mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
# The Gaussian's standard deviation as a share of the patch, and the least weight at its corners.
_SIGMA, _LEAST = 0.125, 1e-3


def starts(size: int, patch: int, overlap: float) -> list[int]:
    """Where patches begin along one axis: evenly spread, the last ends with the volume. `size` ≥ `patch`."""
    step = max(1, int(patch * (1 - overlap)))
    count = -(-(size - patch) // step) + 1
    return [round(n * (size - patch) / max(count - 1, 1)) for n in range(count)]


def weights(patch_zyx: tuple[int, int, int], kind: str) -> Floats:
    """1 everywhere (`uniform`), or a Gaussian that is 1 in the middle (`gaussian`)."""
    if kind == "uniform":
        return np.ones(patch_zyx, np.float32)
    lines = []
    for size in patch_zyx:
        place = (np.arange(size) - (size - 1) / 2) / (_SIGMA * size)
        lines.append(np.exp(-(place**2) / 2))
    product_zyx = lines[0][:, None, None] * lines[1][None, :, None] * lines[2][None, None, :]
    return np.asarray(np.maximum(product_zyx / product_zyx.max(), _LEAST), np.float32)


def windows(
    shape_zyx: tuple[int, int, int], patch_zyx: tuple[int, int, int], overlap: float
) -> Iterator[tuple[slice, slice, slice]]:
    """Every patch of a volume that is at least as large as one."""
    axes = [starts(n, p, overlap) for n, p in zip(shape_zyx, patch_zyx, strict=True)]
    for z, y, x in product(*axes):
        yield slice(z, z + patch_zyx[0]), slice(y, y + patch_zyx[1]), slice(x, x + patch_zyx[2])


def averaged(
    volume: Floats,
    channels: int,
    patch_zyx: tuple[int, int, int],
    overlap: float,
    kind: str,
    run: Callable[[Floats], Floats],
) -> Floats:
    """The weighted mean of `run` over all patches. `volume` (c, z, y, x); `run` takes such a patch and gives
    (channels, z, y, x). A volume that is smaller than a patch is continued by its edge.
    """
    shape = (volume.shape[1], volume.shape[2], volume.shape[3])
    missing = [max(0, p - n) for n, p in zip(shape, patch_zyx, strict=True)]
    if any(missing):
        volume = np.pad(volume, [(0, 0), *[(0, m) for m in missing]], mode="edge")
    whole = (volume.shape[1], volume.shape[2], volume.shape[3])
    total, weight = np.zeros((channels, *whole), np.float32), np.zeros(whole, np.float32)
    share = weights(patch_zyx, kind)
    for window in windows(whole, patch_zyx, overlap):
        part = np.ascontiguousarray(volume[(slice(None), *window)])
        total[(slice(None), *window)] += run(part) * share
        weight[window] += share
    mean = total / weight
    return np.ascontiguousarray(mean[:, : shape[0], : shape[1], : shape[2]])
