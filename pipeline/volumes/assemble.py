"""Voxels of a stack: decoded, rescaled slice by slice, in the smallest type that holds them exactly.

The rescale is DICOM's own, real value = stored x slope + intercept (PS3.3 C.7.6.16.2.9, C.11.1), with each slice's own
pair. Philips' private scale slope (2005,100E) and intercept (2005,100D) are not applied: they convert between
scans of one protocol and are constant within a series, so intensities remain the scanner's displayed values.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import PixelsRejected
from pipeline.geometry import Geometry
from pipeline.records import Volume
from pipeline.volumes.frames import Frame
from pipeline.volumes.pixels import decode
from pipeline.volumes.stack import MIN_SLICES, grid_of


def volume_of(frames: Sequence[Frame], allow_lossy: bool = False, min_slices: int = MIN_SLICES) -> Volume:
    """One volume of these frames. Raises GeometryRejected, PixelsRejected."""
    geometry, stack = grid_of(frames, min_slices)
    voxels = _voxels(stack, geometry, allow_lossy)
    return Volume(voxels, geometry, stack[0].source.ref.series_uid, sources_z=tuple(f.source for f in stack))


def _voxels(stack: Sequence[Frame], geometry: Geometry, allow_lossy: bool) -> npt.NDArray[np.generic]:
    voxels: npt.NDArray[np.generic] = np.empty(geometry.shape_zyx, _type_for(stack))
    by_path: dict[Path, list[int]] = {}
    for z, frame in enumerate(stack):
        by_path.setdefault(frame.path, []).append(z)
    for path, planes in by_path.items():
        by_frame: dict[int | None, list[int]] = {}
        for z in sorted(planes, key=lambda z: stack[z].source.frame or 0):
            by_frame.setdefault(stack[z].source.frame, []).append(z)
        decoded = decode(path, list(by_frame), allow_lossy)
        # Slices tiled into one image share its frame.
        for slices, stored in zip(by_frame.values(), decoded, strict=True):
            for z in slices:
                frame = stack[z]
                pixels = stored if frame.tile is None else frame.tile.of(stored)
                if pixels.shape != voxels.shape[1:]:
                    raise PixelsRejected(
                        f"image {frame.name} decodes to {pixels.shape} pixels, not {voxels.shape[1:]}",
                        uid=frame.source.ref.sop_instance_uid,
                    )
                voxels[z] = rescaled(pixels, frame.slope, frame.intercept)
    return _narrowed(voxels)


# Any: arithmetic on whatever number the file holds.
def rescaled(stored: npt.NDArray[Any], slope: float, intercept: float) -> npt.NDArray[Any]:
    """Stored values times slope plus intercept: exact integers where both are whole, else float64."""
    if slope == 1 and intercept == 0:
        return stored
    if stored.dtype.kind != "f" and slope.is_integer() and intercept.is_integer():
        return stored.astype(np.int64) * int(slope) + int(intercept)
    return stored * np.float64(slope) + intercept


def _type_for(stack: Sequence[Frame]) -> type[np.generic]:
    """int16 or int32 if every value that the headers allow fits exactly, else float32."""
    ends: list[float] = []
    for frame in stack:
        allocated, stored, _, signed = frame.bits
        if allocated > 16 or not (frame.slope.is_integer() and frame.intercept.is_integer()):
            return np.float32
        low, high = (-(2 ** (stored - 1)), 2 ** (stored - 1) - 1) if signed else (0, 2**stored - 1)
        ends += [low * frame.slope + frame.intercept, high * frame.slope + frame.intercept]
    if min(ends) >= -(2**15) and max(ends) < 2**15:
        return np.int16
    return np.int32 if min(ends) >= -(2**31) and max(ends) < 2**31 else np.float32


def _narrowed(voxels: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    if voxels.dtype == np.int32 and voxels.min() >= -(2**15) and voxels.max() < 2**15:
        return voxels.astype(np.int16)
    return voxels
