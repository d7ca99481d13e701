"""The volume that sequence matching chose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from pydicom import Dataset

from config.schema import Sequences
from pipeline.catalog import InstanceFacts, Selection
from pipeline.dicom_file.checked_numbers import numbers
from pipeline.dicom_file.text_values import text_of
from pipeline.errors import GeometryRejected, NotDicom
from pipeline.records import Volume
from pipeline.volumes.assemble import volume_of
from pipeline.volumes.checked_header import as_sound, read_header
from pipeline.volumes.frames import SEGMENTATIONS, Frame, Vector, frames_in, frames_of
from pipeline.volumes.series import split

SAGITTAL = 0.7  # of the normal along left-right
DEPTH_MARGIN_MM = 2.0


def load(selection: Selection, settings: Sequences, rois: Sequence[InstanceFacts] = ()) -> Volume:
    """The one volume of the selection's frames.

    A bilateral sagittal acquisition is two slabs, one per breast: then the slab in which the ROI objects lie is taken.
    Raises NotDicom, PixelsRejected, GeometryRejected.
    """
    frames = frames_of(_files(selection))
    parts = split(frames)
    if len(parts) == 2 and len(parts[0]) == len(parts[1]) and _beside_each_other(parts):
        return volume_of(_holding(parts, rois, selection.series_uid), settings.allow_lossy)
    # Anything else that is not one volume is refused with the slice that does not fit.
    return volume_of(frames, settings.allow_lossy)


def _files(selection: Selection) -> Iterator[tuple[Path, int | None]]:
    for ref in selection.frames:
        uid = ref.instance.ref.sop_instance_uid
        if ref.instance.path is None:
            raise NotDicom(f"image {uid} has no file", uid=uid)
        yield ref.instance.path, ref.frame


def _beside_each_other(parts: Sequence[Sequence[Frame]]) -> bool:
    """Whether two stacks are sagittal and lie one beside the other."""
    normals = [part[0].normal for part in parts]
    if min(abs(float(n[0])) for n in normals) <= SAGITTAL:
        return False
    one, other = sorted(sorted(float(f.position @ normals[0]) for f in part) for part in parts)
    return one[-1] < other[0]


def _holding(parts: list[list[Frame]], rois: Sequence[InstanceFacts], series_uid: str) -> list[Frame]:
    """The slab in which every plane of the ROI objects lies."""
    normal = parts[0][0].normal
    depths = [d for roi in rois if roi.path is not None for d in _depths(roi.path, normal)]
    for part in parts:
        ends = [float(f.position @ normal) for f in part]
        if depths and min(ends) - DEPTH_MARGIN_MM <= min(depths) and max(depths) <= max(ends) + DEPTH_MARGIN_MM:
            return part
    raise GeometryRejected(
        f"series {series_uid} is two slabs of {len(parts[0])} slices, one per breast, and the regions do not lie "
        "in just one of them",
        code="two-slabs",
        uid=series_uid,
    )


def _depths(path: Path, normal: Vector) -> list[float]:
    """Where the planes or contours of a ROI object lie along `normal`."""
    return as_sound(read_header(path), path, lambda ds: _depths_in(ds, path, normal))[0]


def _depths_in(ds: Dataset, path: Path, normal: Vector) -> list[float]:
    if text_of(ds, "SOPClassUID") in SEGMENTATIONS:
        return [float(f.position @ normal) for f in frames_in(ds, path)]
    contours = [c for roi in ds.get("ROIContourSequence") or [] for c in roi.get("ContourSequence") or []]
    first = [points.values[:3] for c in contours if (points := numbers(c, "ContourData")) is not None]
    return [float(np.array(point) @ normal) for point in first if len(point) == 3]
