"""Records of measurements: drawn shapes with role, side and label, and measurements that are not used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from pipeline.records import InstanceRef, Role, Side

# `axes` are two lines, long and short; all others one graphic. `point` also stands for the tip of an arrow.
Shape = Literal["axes", "length", "ellipse", "circle", "outline", "rectangle", "point"]
GraphicType = Literal["POINT", "POLYLINE", "CIRCLE", "ELLIPSE"]
Point = tuple[float, ...]


class ImageFrame(NamedTuple):
    """The image that a graphic was drawn on; `frame` is 1-based, None where none is named."""

    ref: InstanceRef
    frame: int | None = None


@dataclass(frozen=True, slots=True)
class Graphic:
    """One drawn shape.

    `points` are (column, row) in pixels of `image`, counted from the outer corner of the first pixel (PS3.3 C.18.6), or
    with `frame_of_reference_uid` (x, y, z) in patient LPS mm. CIRCLE: centre, point on it. ELLIPSE: the ends of one
    axis, then those of the other. `closed`: the last point joins the first.
    """

    type: GraphicType
    points: tuple[Point, ...]
    image: ImageFrame | None = None
    frame_of_reference_uid: str | None = None
    closed: bool = False

    @property
    def in_patient(self) -> bool:
        """Whether the points are in patient coordinates."""
        return self.frame_of_reference_uid is not None


class Length(NamedTuple):
    """A length as its maker wrote it; `unit` by UCUM, or `pixel`."""

    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measurement of a tumour or an axillary lymph node. `number` counts the measurements of its object from 1.

    `graphics`: long and short axis for `axes`, else one. `lengths` belong to `graphics`, None where none is written.
    `lesion`: the number that its label gives. `why`: how role and side were understood. `observed`: date and time of
    the single observation (YYYYMMDD...), empty where none is written.
    """

    source: InstanceRef
    number: int
    shape: Shape
    graphics: tuple[Graphic, ...]
    role: Role
    side: Side | None
    lesion: int | None
    label: str
    why: str
    lengths: tuple[Length | None, ...] = ()
    tracking_id: str = ""
    tracking_uid: str = ""
    observed: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NotUsed:
    """A measurement that is not used, or with `number` None a whole object. `code` is kebab-case and stable."""

    source: InstanceRef
    number: int | None
    label: str
    code: str
    why: str


@dataclass(frozen=True, slots=True)
class MeasurementReport:
    """All measurements of one object.

    `patient_key` is that of `pipeline.catalog.facts`, `patient_id_key` the same without issuer; `reader_key` a digest
    of the reader's name, empty where none is written. `written`: content date and time, YYYYMMDDHHMMSS; `study_date`:
    YYYYMMDD. `references`: every image that it names, with series and study where its evidence tells them.
    """

    source: InstanceRef
    patient_key: str
    patient_id_key: str
    reader_key: str
    written: str
    study_date: str
    measurements: tuple[Measurement, ...]
    not_used: tuple[NotUsed, ...] = ()
    references: tuple[InstanceRef, ...] = ()
