"""Measurements placed on the grid of an exam, in patient coordinates, or the reason why not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.catalog.facts import InstanceFacts, patient_key
from pipeline.errors import InputRejected
from pipeline.geometry import Geometry
from pipeline.measurements.graphics import Unusable
from pipeline.measurements.records import Graphic, Length, Measurement, MeasurementReport, NotUsed
from pipeline.proposal.frame import frame_of
from pipeline.proposal.records import Axes, Marking, Outline, Point
from pipeline.roi.source_images import Named, lookup, source_frames
from pipeline.volumes.frames import Frame

Floats = npt.NDArray[np.float64]
# A viewer lets a handle stand on the edge of the image: pixels.
EDGE = 0.5
# Corners of an ellipse as a polygon (within 0.2 % of its axes), and at most of a line drawn by hand.
CORNERS, MOST_CORNERS = 48, 200
# A written length and the distance of its end points that differ by more than both speak of two things.
LENGTH_SHARE, LENGTH_MM = 0.05, 1.0
# More than so many lesions of one report are a history, not the lesions of this cancer.
MOST_LESIONS = 24
_MM = {"mm": 1.0, "cm": 10.0, "um": 0.001, "m": 1000.0}
NOBODY = patient_key("", "")


@dataclass(frozen=True, slots=True)
class Placed:
    """One measurement in the patient: LPS, mm, in the frame of reference of the grid that it was placed on."""

    measurement: Measurement
    marking: Marking
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Placement:
    """The measurements of one report. `not_used` begins with those that could not be understood."""

    report: MeasurementReport
    placed: tuple[Placed, ...]
    not_used: tuple[NotUsed, ...]


def placed(
    report: MeasurementReport,
    images: Sequence[InstanceFacts],
    onto: Geometry,
    own: frozenset[str] = frozenset(),
    *,
    check_patient: bool = True,
) -> Placement:
    """Place the measurements of a report on a grid, usually that of T1+C.

    `images`: those of the exam, of any series: what was measured on a subtraction or another phase is carried by frame
    of reference. `own`: SOP Instance UIDs of the grid's own slices, on which a measurement needs no frame of reference.
    `check_patient` False: the caller has compared the patient, whose digests are keyed. Reads the headers of the images
    that the report names.
    """
    refusal = _refusal(report, images, check_patient)
    if refusal is not None:
        return _none(report, *refusal)
    if len(report.measurements) > MOST_LESIONS:
        why = (
            f"the report holds {len(report.measurements)} measurements, more than {MOST_LESIONS}: "
            "which of them are of this exam's cancer is unknown"
        )
        return _none(report, "too-many", why)
    named = [(g.image.ref.sop_instance_uid, g.image.frame) for m in report.measurements for g in m.graphics if g.image]
    place = _Place(source_frames(images, named), images, onto, own, _exam_date(images), report.written[:8])
    done: list[Placed] = []
    not_used = list(report.not_used)
    for measurement in report.measurements:
        try:
            done.append(place.placed(measurement))
        except Unusable as error:
            not_used.append(_not_used(measurement, error.code, error.why))
    return Placement(report, tuple(done), tuple(not_used))


def _refusal(report: MeasurementReport, images: Sequence[InstanceFacts], check_patient: bool) -> tuple[str, str] | None:
    """Code and reason where no measurement of the report can be of this exam."""
    if not images:
        return "images-missing", "none of the exam's images are here"
    if check_patient and report.patient_key != NOBODY and not any(_same_patient(report, i) for i in images):
        return "other-patient", "the report is of another patient than the images"
    return None


def _same_patient(report: MeasurementReport, image: InstanceFacts) -> bool:
    """Whether both name one patient; where only one of them names the issuer, by the id alone."""
    alone = image.tags.get("patient_id_key")
    if report.patient_key == report.patient_id_key or alone is None:
        return report.patient_id_key == (alone or image.patient_key)
    return report.patient_key == image.patient_key


def _none(report: MeasurementReport, code: str, why: str) -> Placement:
    return Placement(report, (), (*report.not_used, *(_not_used(m, code, why) for m in report.measurements)))


def _not_used(measurement: Measurement, code: str, why: str) -> NotUsed:
    return NotUsed(measurement.source, measurement.number, measurement.label, code, why)


def _exam_date(images: Iterable[InstanceFacts]) -> str:
    """The earliest study date of the images, YYYYMMDD; empty where none has one."""
    dates = [str(i.tags.get("StudyDate") or "").replace(".", "") for i in images]
    return min((d for d in dates if len(d) == 8), default="")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where measurements of one report are placed. `date`: of the exam, `written`: of the report."""

    frames: Mapping[Named, Frame]
    images: Sequence[InstanceFacts]
    onto: Geometry
    own: frozenset[str]
    date: str
    written: str

    def placed(self, measurement: Measurement) -> Placed:
        """Raises Unusable."""
        if measurement.shape == "point":
            raise Unusable("point", "a point marks a place and has no extent; axes or an outline are needed")
        day = measurement.observed[:8] or self.written
        if self.date and day and day < self.date:
            raise Unusable("earlier-date", "the measurement is older than this exam")
        lines: list[Floats] = []
        notes: list[str] = []
        for n, graphic in enumerate(measurement.graphics):
            points = self._in_patient(graphic)
            written = measurement.lengths[n] if n < len(measurement.lengths) else None
            if written is not None:
                notes += _compared(written, graphic, points)
            lines.append(points)
        marking = _marking(measurement, lines)
        try:
            frame_of(marking, self.onto)
        except InputRejected as error:
            code = "outside-image" if "outside the images" in error.message else "no-lesion"
            raise Unusable(code, error.message) from error
        return Placed(measurement, marking, tuple(dict.fromkeys(notes)))

    def _in_patient(self, graphic: Graphic) -> Floats:
        """The graphic's points, (n, 3) LPS mm: its own, or pixels of the image that it was drawn on.

        Of a circle corners of a polygon.
        """
        if graphic.in_patient:
            self._check_space(graphic.frame_of_reference_uid, "")
            points = np.array(graphic.points, dtype=np.float64)
            return _circle_in(points, self.onto) if graphic.type == "CIRCLE" else points
        assert graphic.image is not None, "a graphic in pixels names its image"
        uid = graphic.image.ref.sop_instance_uid
        frame = lookup(self.frames, (uid, graphic.image.frame))
        if frame is None:
            raise self._missing(graphic)
        self._check_space(frame.frame_of_reference_uid, uid)
        points = np.array(graphic.points, dtype=np.float64)
        size = np.array([frame.columns, frame.rows])
        handles = points if graphic.type != "CIRCLE" else points[:1]
        if ((handles < -EDGE) | (handles > size + EDGE)).any():
            column, row = handles[int(((handles < -EDGE) | (handles > size + EDGE)).any(axis=1).argmax())]
            raise Unusable(
                "outside-image",
                f"the end point ({column:.1f}, {row:.1f}) lies outside image {uid}, which has {frame.columns} columns "
                f"and {frame.rows} rows",
            )
        steps = (points - 0.5) * frame.spacing_xy_mm
        if graphic.type == "CIRCLE":
            steps = _circle(steps)
        return np.asarray(frame.position + steps[:, :1] * frame.across + steps[:, 1:] * frame.down)

    def _check_space(self, theirs: str | None, uid: str) -> None:
        """Raise Unusable unless a position there means the same place on the grid."""
        ours = self.onto.frame_of_reference_uid
        if theirs is not None and theirs == ours:
            return
        if (theirs is None or ours is None) and uid in self.own:
            return
        if theirs is None or ours is None:
            raise Unusable(
                "no-frame-of-reference",
                "the image of the measurement or T1+C has no frame of reference, so positions cannot be compared",
            )
        raise Unusable(
            "other-frame-of-reference", f"the measurement lies in frame of reference {theirs}, T1+C in {ours}"
        )

    def _missing(self, graphic: Graphic) -> Unusable:
        assert graphic.image is not None
        ref, number = graphic.image
        here = [i for i in self.images if i.ref.sop_instance_uid == ref.sop_instance_uid]
        if here:
            frame = f" frame {number}" if number is not None else ""
            return Unusable("no-place", f"image {ref.sop_instance_uid}{frame} has no readable place in the patient")
        if ref.study_uid and all(i.ref.study_uid != ref.study_uid for i in self.images):
            return Unusable(
                "other-study",
                f"the measurement is on image {ref.sop_instance_uid} of another study ({ref.study_uid}); "
                "measurements of an earlier exam are not used",
            )
        where = f" of series {ref.series_uid}" if ref.series_uid else ""
        return Unusable(
            "images-missing",
            f"the measurement is on image {ref.sop_instance_uid}{where}, which the exam does not have; send that image",
        )


def _compared(written: Length, graphic: Graphic, points: Floats) -> list[str]:
    """Notes on a written length. Raises Unusable if the end points contradict the length."""
    in_mm = float(np.linalg.norm(points[1] - points[0]))
    scale = _MM.get(written.unit)
    if scale is None:
        unit = written.unit or "no unit"
        if written.unit == "pixel" and not graphic.in_patient:
            in_pixels = math.dist(*graphic.points[:2])
            _check_length(written.value, in_pixels, "pixels")
        return [f"the length is written in {unit}; the length in mm was computed from the end points"]
    _check_length(written.value * scale, in_mm, "mm")
    return []


def _check_length(written: float, apart: float, unit: str) -> None:
    if abs(written - apart) > max(LENGTH_MM, LENGTH_SHARE * apart):
        raise Unusable(
            "length-contradicts",
            f"the written length is {written:.1f} {unit}, and the end points are {apart:.1f} {unit} apart",
        )


def _marking(measurement: Measurement, lines: Sequence[Floats]) -> Marking:
    if measurement.shape == "axes":
        return Axes(_ends(lines[0]), _ends(lines[1]))
    points = lines[0]
    if measurement.shape == "length":
        return Axes(_ends(points))
    if measurement.shape == "ellipse":
        return _ellipse(points)
    return Outline(tuple(_point(p) for p in _thinned(points)))


def _circle(centre_and_edge: Floats) -> Floats:
    centre, edge = centre_and_edge
    angles = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    return np.asarray(centre + np.linalg.norm(edge - centre) * np.stack([np.cos(angles), np.sin(angles)], axis=1))


def _circle_in(centre_and_edge: Floats, onto: Geometry) -> Floats:
    """A circle given by its centre and one point in patient coordinates, which leave its plane open.

    The plane nearest to the slices of the grid is used; every plane gives a lesion of the same size.
    """
    centre, edge = centre_and_edge
    radius = edge - centre
    normal = np.asarray(onto.direction).reshape(3, 3)[:, 2]
    down = np.cross(normal, radius)
    if np.linalg.norm(down) < 0.1 * np.linalg.norm(radius):
        down = np.cross(np.asarray(onto.direction).reshape(3, 3)[:, 0], radius)
    down = down * np.linalg.norm(radius) / max(float(np.linalg.norm(down)), 1e-9)
    angles = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)[:, None]
    return np.asarray(centre + np.cos(angles) * radius + np.sin(angles) * down)


def _ellipse(ends: Floats) -> Marking:
    """An outline from the ends of both axes, or the two axes if they have different middles."""
    apart = float(np.linalg.norm(ends[:2].mean(axis=0) - ends[2:].mean(axis=0)))
    if apart > 0.05 * float(np.linalg.norm(ends[1] - ends[0])):
        return Axes(_ends(ends[:2]), _ends(ends[2:]))
    centre = ends.mean(axis=0)
    one, other = (ends[1] - ends[0]) / 2, (ends[3] - ends[2]) / 2
    angles = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)[:, None]
    return Outline(tuple(_point(p) for p in centre + np.cos(angles) * one + np.sin(angles) * other))


def _thinned(points: Floats) -> Floats:
    """At most MOST_CORNERS of the points, evenly along their order."""
    if len(points) <= MOST_CORNERS:
        return points
    return np.asarray(points[np.linspace(0, len(points) - 1, MOST_CORNERS).round().astype(int)])


def _ends(points: Floats) -> tuple[Point, Point]:
    return _point(points[0]), _point(points[1])


def _point(values: Floats) -> Point:
    return float(values[0]), float(values[1]), float(values[2])
