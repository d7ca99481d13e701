"""The wavelet images that PyRadiomics makes of a whole volume, made only where they are read.

One level of PyWavelets' stationary transform with coif1 along x, then y, then z, as `pywt.swtn(axes=(2, 1, 0))` does
it. Each axis is cut to the wanted voxels as soon as it is transformed, so that the next one has less to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce

import numpy as np
import numpy.typing as npt
import pywt

from pipeline.features.region import Box
from pipeline.records import Role

WAVELET = pywt.Wavelet("coif1")

Array = npt.NDArray[np.generic]


def bands(voxels_zyx: Array, box: Box, wanted: frozenset[str]) -> Iterator[tuple[str, Array]]:
    """The wanted bands (`LLH`: low, low, high along x, y, z) inside `box`, in PyRadiomics' precision.

    `voxels_zyx` is the whole image; float32 in gives float32 out, integers give float64.
    """
    needed = box.with_margin(voxels_zyx.shape)
    keep = box.within(needed)
    yield from _split(voxels_zyx[needed.slices], keep, (2, 1, 0), "", wanted)


def _split(
    data: Array, keep: Sequence[slice], axes: tuple[int, ...], prefix: str, wanted: frozenset[str]
) -> Iterator[tuple[str, Array]]:
    if not axes:
        yield prefix, np.ascontiguousarray(data)
        return
    letters = [letter for letter in "HL" if any(band.startswith(prefix + letter) for band in wanted)]
    if not letters:
        return
    axis, *rest = axes
    if data.shape[axis] % 2:
        # the transform needs an even length; PyRadiomics pads by wrapping around
        data = np.concatenate([data, data.take([0], axis)], axis)
    ((low, high),) = pywt.swt(data, WAVELET, level=1, axis=axis)
    del data
    cut = (slice(None),) * axis + (keep[axis],)
    halves = {"L": low[cut], "H": high[cut]}
    del low, high
    for letter in letters:
        yield from _split(halves[letter], keep, tuple(rest), prefix + letter, wanted)


def share(boxes: Mapping[Role, Box], shape_zyx: Sequence[int]) -> list[tuple[Box, list[Role]]]:
    """One box around all ROIs where that is no more work than one box each, else one each; with the ROIs inside."""
    apart = [(box, [role]) for role, box in boxes.items()]
    if len(boxes) < 2:
        return apart
    whole = reduce(Box.union, boxes.values())
    work = sum(box.with_margin(shape_zyx).voxels for box in boxes.values())
    return [(whole, list(boxes))] if whole.with_margin(shape_zyx).voxels <= work else apart
