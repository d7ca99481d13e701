"""Every region on every grid as the analysis used it, in one file: what axrad writes segmentations from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # Any: values of JSON

import numpy as np
import numpy.typing as npt

from pipeline import described_arrays
from pipeline.geometry import Geometry
from pipeline.records import InstanceRef, Mask, Role, Sequence, Side, SliceSource, Volume

_SCHEMA = "axrad.regions/1"


@dataclass(frozen=True, slots=True)
class GridRegion:
    """A region on the grid of one sequence. `voxels_zyx` begins at `offset_zyx` of the grid.

    `sources_z`: the image of each slice of the grid; empty where the volume was computed.
    """

    sequence: Sequence
    role: Role
    side: Side | None
    geometry: Geometry
    series_uid: str
    offset_zyx: tuple[int, int, int]
    voxels_zyx: npt.NDArray[np.bool_]
    sources_z: tuple[SliceSource, ...] = ()

    def slices(self) -> Iterator[tuple[int, npt.NDArray[np.bool_]]]:
        """Each slice of the grid that has a voxel of the region, whole."""
        z0, y0, x0 = self.offset_zyx
        _, height, width = self.voxels_zyx.shape
        for z, drawn in enumerate(self.voxels_zyx, z0):
            if drawn.any():
                whole = np.zeros(self.geometry.shape_zyx[1:], bool)
                whole[y0 : y0 + height, x0 : x0 + width] = drawn
                yield z, whole


def grid_regions(
    volumes: Mapping[Sequence, Volume], masks: Mapping[tuple[Sequence, Role, Side | None], Mask]
) -> tuple[GridRegion, ...]:
    """The regions that have a voxel, in the order of `masks`."""
    regions = []
    for (sequence, role, side), mask in masks.items():
        box = mask.box_zyx
        if box is not None:
            volume = volumes[sequence]
            offset = (box[0].start, box[1].start, box[2].start)
            voxels = mask.voxels_zyx[box].copy()
            sources = volume.sources_z
            regions.append(
                GridRegion(sequence, role, side, volume.geometry, volume.series_uid, offset, voxels, sources)
            )
    return tuple(regions)


def regions_to_bytes(regions: tuple[GridRegion, ...]) -> bytes:
    """`regions` as a file; nothing pickled, the same regions give the same bytes."""
    arrays = {f"voxels_{i}": np.packbits(region.voxels_zyx) for i, region in enumerate(regions)}
    return described_arrays.to_bytes("regions", _SCHEMA, [_described(r) for r in regions], arrays)


def load_regions(path: Path) -> tuple[GridRegion, ...]:
    """Read what `regions_to_bytes` wrote. Raises InputRejected."""
    return described_arrays.read(
        path, "regions", _SCHEMA, lambda i, entry, arrays: _region(entry, arrays[f"voxels_{i}"])
    )


def _described(region: GridRegion) -> dict[str, object]:
    grid = region.geometry
    return {
        "sequence": region.sequence,
        "role": region.role,
        "side": region.side,
        "grid": [grid.shape_zyx, grid.spacing_xyz_mm, grid.origin_xyz_mm, grid.direction, grid.frame_of_reference_uid],
        "series_uid": region.series_uid,
        "offset_zyx": [int(n) for n in region.offset_zyx],
        "shape_zyx": region.voxels_zyx.shape,
        "sources_z": [[s.ref.study_uid, *_ids(s.ref), s.frame] for s in region.sources_z],
    }


def _ids(ref: InstanceRef) -> tuple[str, str, str]:
    return ref.series_uid, ref.sop_class_uid, ref.sop_instance_uid


def _region(entry: dict[str, Any], packed: npt.NDArray[np.generic]) -> GridRegion:
    shape, spacing, origin, direction, frame_of_reference = entry["grid"]
    size: tuple[int, int, int] = tuple(entry["shape_zyx"])
    if not 0 <= packed.size * 8 - math.prod(size) < 8 or min(size) < 0:
        raise ValueError(f"a region declares {size} voxels and has {packed.size} bytes of them")
    voxels = np.unpackbits(packed.astype(np.uint8, copy=False), count=int(np.prod(size))).astype(bool).reshape(size)
    sources = tuple(SliceSource(InstanceRef(*ids), frame) for *ids, frame in entry["sources_z"])
    geometry = Geometry(tuple(shape), tuple(spacing), tuple(origin), tuple(direction), frame_of_reference)
    return GridRegion(
        entry["sequence"],
        entry["role"],
        entry["side"],
        geometry,
        str(entry["series_uid"]),
        tuple(entry["offset_zyx"]),
        voxels,
        sources,
    )
