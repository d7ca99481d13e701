"""What the headers of one series say, without a look at any name."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from pipeline.catalog import FrameRef, InstanceFacts, SeriesFacts

# Below this a b-value counts as none: imaging gradients alone give some s/mm2 (a United Imaging b=0 says 1.25).
B_ZERO = 10.0
_NO_AGENT = {"", "NO", "NONE", "N", "NO CONTRAST", "WITHOUT", "0", "FALSE", "-", "无"}


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


@dataclass(frozen=True)
class Evidence:
    """The facts of one series that matching reasons about."""

    series: SeriesFacts

    @property
    def uid(self) -> str:
        return self.series.series_uid

    @property
    def vendor(self) -> str:
        return self.text("Manufacturer")

    @property
    def name(self) -> str:
        """Series description and, where it adds something, protocol and sequence name."""
        return self.text("SeriesDescription") or self.text("ProtocolName")

    @cached_property
    def slices(self) -> tuple[Slice, ...]:
        return _with_b_zero(tuple(s for i in self.series.instances for s in _slices(i)), self.vendor)

    @cached_property
    def image_type(self) -> frozenset[str]:
        """Every word of every image's type, upper case."""
        words: set[str] = set()
        for instance in self.series.instances:
            for name in ("ImageType", "frame_type"):
                value = instance.tags.get(name)
                parts = value if isinstance(value, list) else [value]
                words |= {w for p in parts if p for w in re.split(r"[\\_ ]+", str(p).upper())}
        return frozenset(words)

    @cached_property
    def secondary(self) -> bool:
        """Made from other images (PS3.3 C.7.6.1.1.2): say, a subtraction that does not call itself one."""
        return {"DERIVED", "SECONDARY"} <= self.image_type

    @cached_property
    def has_agent(self) -> bool:
        """A contrast agent is named; some scanners name it for every image of a dynamic, the first phase included."""
        return any(names_agent(i) for i in self.series.instances)

    @cached_property
    def b_values(self) -> tuple[float, ...]:
        """The distinct b-values, as `same_b` tells them apart."""
        return tuple(sorted({same_b(s.b_value) for s in self.slices if s.b_value is not None}))

    @cached_property
    def start_s(self) -> float | None:
        times = [s.time_s for s in self.slices if s.time_s is not None]
        return min(times) if times else None

    @property
    def series_number(self) -> float:
        return self.number("SeriesNumber") or 0.0

    @cached_property
    def grid(self) -> tuple[object, ...]:
        """What all phases of one dynamic share: rows, columns, pixel spacing, orientation."""
        spacing = self.series.tag("PixelSpacing")
        rounded = tuple(round(v, 2) for v in spacing if not isinstance(v, str)) if isinstance(spacing, list) else None
        first = next((s.orientation for s in self.slices if s.orientation), None)
        plane = tuple(round(v, 2) + 0.0 for v in first) if first else None
        return self.series.tag("Rows"), self.series.tag("Columns"), rounded, plane

    @cached_property
    def places(self) -> int:
        """Distinct slice positions."""
        return len({(s.position_mm, s.orientation) for s in self.slices})

    @cached_property
    def orientations(self) -> int:
        return len({s.orientation for s in self.slices})

    def number(self, keyword: str) -> float | None:
        value = self.series.tag(keyword)
        value = value[0] if isinstance(value, list) and value else value
        return float(value) if isinstance(value, (int, float)) else None

    def text(self, keyword: str) -> str:
        value = self.series.tag(keyword)
        return "\\".join(str(v) for v in value) if isinstance(value, list) else "" if value is None else str(value)


def names_agent(instance: InstanceFacts) -> bool:
    """Whether one image names a contrast agent, and not the absence of one."""
    return str(instance.tags.get("ContrastBolusAgent") or "").strip().upper() not in _NO_AGENT


def same_b(value: float) -> float:
    """A b-value as a key: below 10 s/mm2 it is 0; near a multiple of 50, as people set it, it is that multiple."""
    if value < B_ZERO:
        return 0.0
    nearest = round(value / 50) * 50.0
    return nearest if nearest and abs(value - nearest) <= 0.02 * nearest + 1 else float(round(value))


def seconds_of_day(text: str) -> float | None:
    """Seconds from a DICOM time or date and time (PS3.5 6.2, VR TM and DT); None where it is neither."""
    match = re.fullmatch(r"(?:\d{8})?(\d{2}):?(\d{2})?:?(\d{2}(?:\.\d+)?)?(?:[+-]\d{4})?", text.strip())
    if not match:
        return None
    hours, minutes, seconds = (float(g or 0) for g in match.groups())
    return hours * 3600 + minutes * 60 + seconds


def _with_b_zero(slices: tuple[Slice, ...], vendor: str) -> tuple[Slice, ...]:
    """Toshiba and Canon write no b-value where it is 0: an image without one among others that have one is b = 0.

    dcm2niix reads them so. With any other maker it may as well have been lost.
    """
    maker = vendor.lower()
    if not ("toshiba" in maker or "canon" in maker) or not any(s.b_value is not None for s in slices):
        return slices
    return tuple(replace(s, b_value=0.0) if s.b_value is None and s.kind not in ("adc", "fa") else s for s in slices)


def _slices(instance: InstanceFacts) -> Iterator[Slice]:
    tags = instance.tags
    number = _float(tags.get("InstanceNumber")) or 0.0
    acquisition = _float(tags.get("AcquisitionNumber"))
    time = next(
        (t for k in ("AcquisitionTime", "AcquisitionDateTime", "ContentTime") if (t := _time(tags.get(k))) is not None),
        None,
    )
    if "frame_position" not in tags and "frame_stack" not in tags and "frame_type" not in tags:
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
        return
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
