"""Several reports of one exam merged into one list of measurements.

OHIF saves everything again at every save, with new UIDs. A measurement of the same role, image and end points is the
same one; a newer one of the same reader takes the place of an older one of the same lesion. Where two readers measured
one lesion differently, neither counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import numpy.typing as npt

from pipeline.measurements.placing import Placed, Placement
from pipeline.measurements.records import Graphic, Measurement, NotUsed
from pipeline.proposal.records import Axes, Marking

Floats = npt.NDArray[np.float64]
# End points within this are the same, and so is what they measure.
SAME_MM = 0.5
_RANK = {"axes": 0, "outline": 1, "ellipse": 2, "circle": 3, "rectangle": 4, "length": 5}


@dataclass(frozen=True, slots=True)
class Merged:
    """Measurements to use, in the order of role, side and number, and the others with the reason."""

    placed: tuple[Placed, ...]
    not_used: tuple[NotUsed, ...]


@dataclass(frozen=True, slots=True)
class _Entry:
    placed: Placed
    reader: str
    uid: str


def merged(placements: Iterable[Placement]) -> Merged:
    """The newest of each measurement of several reports that were placed on one grid."""
    newest = sorted(placements, key=lambda p: (p.report.written, p.report.source.sop_instance_uid), reverse=True)
    not_used = [n for p in newest for n in p.not_used]
    counted: list[_Entry] = []
    contested: list[_Entry] = []
    for placement in newest:
        mine: list[_Entry] = []
        copied = _copies(placement, newest)
        for placed in sorted(placement.placed, key=lambda p: _RANK[p.measurement.shape]):
            entry = _Entry(placed, placement.report.reader_key, placement.report.source.sop_instance_uid)
            if placed.measurement.number in copied:
                not_used.append(_listed(placed, "copied-from-prior", copied[placed.measurement.number]))
                continue
            verdict = _against(entry, counted, contested)
            if verdict is None:
                mine.append(entry)
                continue
            code, why, other = verdict
            not_used.append(_listed(placed, code, why))
            if other is not None:
                counted.remove(other)
                contested += [entry, other]
                not_used.append(_listed(other.placed, code, why))
        counted += _once(mine, not_used)
    order = sorted((e.placed for e in counted), key=lambda p: _key(p.measurement))
    return Merged(tuple(order), tuple(not_used))


def _against(
    entry: _Entry, counted: Sequence[_Entry], contested: Sequence[_Entry]
) -> tuple[str, str, _Entry | None] | None:
    """Code and reason why `entry` is not used, and the newer measurement that is not used either, if any."""
    for newer in counted:
        if is_same(entry.placed, newer.placed):
            return "saved-again", f"the same measurement was saved again in {newer.uid}", None
    for newer in contested:
        if _same_lesion(entry.placed, newer.placed):
            return "two-readers", "two readers measured this lesion differently", None
    for newer in counted:
        if _same_lesion(entry.placed, newer.placed):
            if entry.reader == newer.reader:
                return "replaced", f"the same reader measured this lesion anew in {newer.uid}", None
            why = f"two readers measured this lesion differently, in {newer.uid} and {entry.uid}"
            return "two-readers", why, newer
    return None


def _once(entries: Sequence[_Entry], not_used: list[NotUsed]) -> list[_Entry]:
    """One measurement per lesion of one report: the first of `entries`, which are sorted by shape."""
    once: list[_Entry] = []
    for entry in entries:
        other = next((o for o in once if _overlap(entry.placed, o.placed)), None)
        if other is None:
            once.append(entry)
        else:
            why = f"measurement {other.placed.measurement.number} of the same report measures the same lesion"
            not_used.append(_listed(entry.placed, "same-lesion", why))
    return once


def _copies(placement: Placement, all_of_them: Sequence[Placement]) -> dict[int, str]:
    """By number, the reason for each measurement that a report of an earlier exam already holds."""
    date = placement.report.study_date
    earlier: dict[str, list[Measurement]] = {}
    for other in all_of_them:
        if other.report.study_date and date and other.report.study_date < date:
            for measurement in other.report.measurements:
                if measurement.tracking_uid:
                    earlier.setdefault(measurement.tracking_uid, []).append(measurement)
    return {
        m.number: f"the measurement was copied from study {other.source.study_uid}: same tracking UID and end points"
        for m in placement.report.measurements
        for other in earlier.get(m.tracking_uid, ())
        if _same_drawing(m.graphics, other.graphics)
    }


def _same_drawing(one: Sequence[Graphic], other: Sequence[Graphic]) -> bool:
    return [(g.type, g.points) for g in one] == [(g.type, g.points) for g in other]


def is_same(one: Placed, other: Placed) -> bool:
    """The same role, image and end points."""
    a, b = one.measurement, other.measurement
    if (a.role, a.shape) != (b.role, b.shape) or _images(a) != _images(b):
        return False
    lines, others = _lines(one.marking), _lines(other.marking)
    return len(lines) == len(others) and all(_close(p, q) for p, q in zip(lines, others, strict=True))


def _images(measurement: Measurement) -> list[tuple[str, int] | None]:
    """Images by UID and frame: not every writer names their series."""
    images = [g.image for g in measurement.graphics]
    return [None if i is None else (i.ref.sop_instance_uid, i.frame or 1) for i in images]


def _close(one: Floats, other: Floats) -> bool:
    """Whether two lines have the same points, in either direction."""
    if one.shape != other.shape:
        return False
    return min(float(np.linalg.norm(one - each, axis=1).max()) for each in (other, other[::-1])) <= SAME_MM


def _same_lesion(one: Placed, other: Placed) -> bool:
    """The same role, and the same number and side or the same place."""
    a, b = one.measurement, other.measurement
    if a.role != b.role or (a.side and b.side and a.side != b.side):
        return False
    if a.lesion is not None and b.lesion is not None:
        return a.lesion == b.lesion
    return _overlap(one, other)


def _overlap(one: Placed, other: Placed) -> bool:
    """Whether the middle of one lies within the other, as far as lengths tell."""
    if one.measurement.role != other.measurement.role:
        return False
    p, q = (np.concatenate(_lines(each.marking)) for each in (one, other))
    reach = min(_extent(p), _extent(q)) / 2
    return bool(np.linalg.norm((p.max(axis=0) + p.min(axis=0) - q.max(axis=0) - q.min(axis=0)) / 2) <= reach)


def _extent(points: Floats) -> float:
    return float(np.linalg.norm(np.ptp(points, axis=0)))


def _lines(marking: Marking) -> list[Floats]:
    """Each axis, or the outline: (n, 3)."""
    if isinstance(marking, Axes):
        return [np.array(axis) for axis in (marking.long, marking.short) if axis]
    return [np.array(marking.points)]


def _listed(placed: Placed, code: str, why: str) -> NotUsed:
    measurement = placed.measurement
    return NotUsed(measurement.source, measurement.number, measurement.label, code, why)


def _key(measurement: Measurement) -> tuple[str, str, int, str, int]:
    """Tumours before lymph nodes, left before right, by number."""
    role = "0" if measurement.role == "tumor" else "1"
    return (
        role,
        measurement.side or "",
        measurement.lesion or 0,
        measurement.source.sop_instance_uid,
        measurement.number,
    )


def renumbered(placed: Sequence[Placed]) -> tuple[Placed, ...]:
    """Lymph nodes with numbers of their own: those of the labels where no two are equal per side, and the lowest free
    ones for nodes without; where two are equal, 1, 2, 3 in order. Tumours keep theirs.
    """
    nodes = [p for p in placed if p.measurement.role == "lymph_nodes"]
    labelled = [(p.measurement.side, p.measurement.lesion) for p in nodes if p.measurement.lesion is not None]
    distinct = frozenset(labelled) if len(set(labelled)) == len(labelled) else frozenset()
    taken, renamed = set(distinct), {}
    for node in nodes:
        measurement = node.measurement
        if (measurement.side, measurement.lesion) in distinct:
            continue
        number = next(n for n in count(1) if (measurement.side, n) not in taken)
        taken.add((measurement.side, number))
        renamed[id(node)] = replace(node, measurement=replace(measurement, lesion=number))
    return tuple(renamed.get(id(p), p) for p in placed)
