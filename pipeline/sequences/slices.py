"""The slices of a series: where each lies, and when and how it was made."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.catalog import FrameRef, InstanceFacts


@dataclass(frozen=True)
class Slice:
    """One slice of a series: where it lies and when and how it was made. Times in seconds of the day."""

    frame: FrameRef
    position_mm: float | None
    orientation: tuple[float, ...] | None
    temporal: float | None
    acquisition: float | None
    trigger: float | None
    time_s: float | None
    b_value: float | None
    kind: str
    component: str
    number: float
    # Where a slice tiled into a larger image lies, patient coordinates.
    tile_mm: tuple[float, ...] | None = None


def seconds_of_day(text: str) -> float | None:
    """Seconds from a DICOM time or date and time (PS3.5 6.2, VR TM and DT); None where it is neither."""
    match = re.fullmatch(r"(?:\d{8})?(\d{2}):?(\d{2})?:?(\d{2}(?:\.\d+)?)?(?:[+-]\d{4})?", text.strip())
    if not match:
        return None
    hours, minutes, seconds = (float(g or 0) for g in match.groups())
    return hours * 3600 + minutes * 60 + seconds


def slices_of(instance: InstanceFacts) -> Iterator[Slice]:
    """The slices of one image: itself, its tiles or its frames."""
    tags = instance.tags
    number = _float(tags.get("InstanceNumber")) or 0.0
    acquisition = _float(tags.get("AcquisitionNumber"))
    time = next(
        (t for k in ("AcquisitionTime", "AcquisitionDateTime", "ContentTime") if (t := _time(tags.get(k))) is not None),
        None,
    )
    if {"frame_position", "frame_stack", "frame_type"}.isdisjoint(tags):
        yield from _slices_of_image(instance, number, acquisition, time)
    else:
        yield from _slices_of_frames(instance, number, acquisition, time)


def _slices_of_image(
    instance: InstanceFacts, number: float, acquisition: float | None, time: float | None
) -> Iterator[Slice]:
    """The slice of a single-frame image, or those of its tiles."""
    tags = instance.tags
    plane = _vector(tags.get("ImageOrientationPatient"), 6)
    tiled = tags.get("tile_positions")
    for position in tiled if isinstance(tiled, list) else [tags.get("ImagePositionPatient")]:
        yield Slice(
            FrameRef(instance),
            _along(_vector(position, 3), plane),
            _rounded(plane),
            _float(tags.get("TemporalPositionIdentifier")),
            acquisition,
            _milliseconds(tags.get("TriggerTime")),
            time,
            _float(tags.get("b_value")),
            str(tags.get("diffusion_kind") or ""),
            _component(tags.get("ImageType")),
            number,
            _vector(position, 3) if tiled else None,
        )


def _slices_of_frames(
    instance: InstanceFacts, number: float, acquisition: float | None, time: float | None
) -> Iterator[Slice]:
    """The slices of a multi-frame image, one per frame."""
    columns = [
        instance.per_frame(name)
        for name in (
            "frame_position",
            "frame_orientation",
            "frame_temporal_position",
            "frame_trigger_s",
            "frame_acquired",
            "frame_b_value",
            "frame_kind",
            "frame_type",
        )
    ]
    for index, (position, orientation, temporal, trigger, acquired, b, kind, words) in enumerate(
        zip(*columns, strict=True), start=1
    ):
        place, plane = _vector(position, 3), _vector(orientation, 6)
        yield Slice(
            FrameRef(instance, index),
            _along(place, plane),
            _rounded(plane),
            _given(temporal),
            acquisition,
            _given(trigger),
            seconds_of_day(str(acquired or "")) or time,
            _given(b),
            str(kind or ""),
            _component(words),
            number * 1_000_000 + index,
        )


def _component(value: object) -> str:
    """What the voxels show, for series that mix several reconstructions; magnitude where nothing is said."""
    words = value if isinstance(value, list) else re.split(r"\\", str(value or ""))
    for word in (str(w).upper() for w in words):
        for name, spellings in _COMPONENTS.items():
            if word in spellings:
                return name
    return "magnitude"


_COMPONENTS = {
    "water": {"W", "WATER", "DIXON_W", "W_FFE", "W_SE", "W_TSE"},
    "fat": {"F", "FAT", "F_FFE", "F_SE", "F_TSE"},
    "in": {"IP", "IN_PHASE", "INPHASE", "IP_FFE", "IP_SE", "IP_TSE", "IN"},
    "opposed": {"OP", "OPP_PHASE", "OUT_PHASE", "OUTPHASE", "OP_FFE", "OP_SE", "OPP"},
    "phase": {"P", "PHASE", "PHASE MAP", "P_FFE", "P_SE", "P_TSE"},
    "real": {"R", "REAL", "R_FFE", "R_SE", "R_IR"},
    "imaginary": {"I", "IMAGINARY", "I_FFE", "I_SE"},
}


def _along(place: tuple[float, ...] | None, plane: tuple[float, ...] | None) -> float | None:
    """Distance of the slice from the origin along its normal, to 0.01 mm."""
    if place is None or plane is None:
        return None
    row, column = plane[:3], plane[3:]
    normal = (
        row[1] * column[2] - row[2] * column[1],
        row[2] * column[0] - row[0] * column[2],
        row[0] * column[1] - row[1] * column[0],
    )
    return round(sum(p * n for p, n in zip(place, normal, strict=True)), 2) + 0.0


def _rounded(plane: tuple[float, ...] | None) -> tuple[float, ...] | None:
    return tuple(round(v, 3) + 0.0 for v in plane) if plane else None


def _vector(value: object, length: int) -> tuple[float, ...] | None:
    parts = value.split("\\") if isinstance(value, str) else value if isinstance(value, list) else []
    try:
        numbers = tuple(float(p) for p in parts)
    except ValueError:
        return None
    return numbers if len(numbers) == length and all(map(math.isfinite, numbers)) else None


def _float(value: object) -> float | None:
    value = value[0] if isinstance(value, list) and value else value
    return float(value) if isinstance(value, (int, float)) else None


def _given(value: object) -> float | None:
    """A per-frame number; -1 stands for none."""
    number = _float(value)
    return None if number is None or number < 0 else number


def _milliseconds(value: object) -> float | None:
    number = _float(value)
    return None if number is None else number / 1000.0


def _time(value: object) -> float | None:
    return seconds_of_day(str(value)) if value else None


def position_of(frame: FrameRef) -> tuple[float, ...] | None:
    """The patient position of a slice's first voxel, in mm."""
    if frame.frame is None:
        return _vector(frame.instance.tags.get("ImagePositionPatient"), 3)
    positions = frame.instance.tags.get("frame_position")
    if not isinstance(positions, list):
        return None
    return _vector(positions[0 if len(positions) == 1 else frame.frame - 1], 3)
