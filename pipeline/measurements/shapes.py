"""The graphics of one measurement group combined into one shape."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline.measurements.graphics import SAME_POINT, Unusable, shape_of
from pipeline.measurements.groups import AREAS, LONG_AXIS, SHORT_AXIS, VOLUME_SURFACE, Line, by_concept
from pipeline.measurements.records import Graphic, Length, Shape

Drawn = tuple[Shape, tuple[Graphic, ...], tuple[Length | None, ...], tuple[str, ...]]


def drawn(lines: Sequence[Line], closed: bool = False) -> Drawn:
    """Shape, graphics, lengths and notes. `closed`: the writer's tool draws closed lines only. Raises Unusable."""
    axes = _axes(lines)
    rest = _apart([line for line in lines if axes is None or line not in axes])
    if axes is not None:
        long, short = axes
        regions = [line for line in rest if line.graphic.type != "POINT" and len(line.graphic.points) > 2]
        if not regions:
            return _as_axes(long, short)
        rest = regions
    if len(rest) == 2:
        crossing = _crossing(rest[0], rest[1])
        if crossing is not None:
            return _as_axes(*crossing)
    if len(rest) > 1 and all(line.measures == VOLUME_SURFACE for line in rest):
        largest = max(rest, key=lambda line: _extent(line.graphic))
        note = f"the largest of {len(rest)} contours, one in each slice, was used"
        return "outline", (largest.graphic,), (None,), (note,)
    if len(rest) > 1:
        raise Unusable(
            "several-shapes", f"the measurement has {len(rest)} shapes; which of them is the lesion is unknown"
        )
    if not rest:
        raise Unusable("no-coordinates", "the measurement has no coordinates")
    line = rest[0]
    area = any(other.measures in AREAS and same_graphic(other.graphic, line.graphic) for other in lines)
    shape = shape_of(line.graphic, closed or area)
    length = line.length if shape == "length" else None
    return shape, (line.graphic,), (length,), ()


def _extent(graphic: Graphic) -> float:
    """The diagonal of the box around a shape."""
    low, high = (tuple(edge(values) for values in zip(*graphic.points, strict=True)) for edge in (min, max))
    return math.dist(low, high)


def _axes(lines: Sequence[Line]) -> tuple[Line, Line] | None:
    """The lines coded as long and as short axis. Raises Unusable where there are several of one."""
    long, short = _apart(by_concept(lines, LONG_AXIS)), _apart(by_concept(lines, SHORT_AXIS))
    if len(long) > 1 or len(short) > 1:
        raise Unusable("several-shapes", "the measurement has several long or short axes")
    if not long or not short:
        return None
    for line in (long[0], short[0]):
        if line.graphic.type != "POLYLINE" or len(line.graphic.points) != 2:
            raise Unusable("damaged-coordinates", "an axis is not a line of two points")
    return long[0], short[0]


def _as_axes(long: Line, short: Line) -> Drawn:
    if long.graphic.in_patient != short.graphic.in_patient:
        raise Unusable("axes-apart", "one axis is drawn on an image, the other in the patient")
    if long.graphic.frame_of_reference_uid != short.graphic.frame_of_reference_uid:
        raise Unusable("axes-apart", "the axes lie in two frames of reference")
    if not long.graphic.in_patient and long.graphic.image != short.graphic.image:
        raise Unusable("axes-apart", "the axes are drawn on two images, in different slices")
    return "axes", (long.graphic, short.graphic), (long.length, short.length), ()


def _crossing(one: Line, other: Line) -> tuple[Line, Line] | None:
    """Two lines across each other, the longer first; None where they are not."""
    a, b = one.graphic, other.graphic
    lines = all(g.type == "POLYLINE" and len(g.points) == 2 for g in (a, b))
    if not lines or a.image != b.image or a.frame_of_reference_uid != b.frame_of_reference_uid:
        return None
    lengths = math.dist(*a.points), math.dist(*b.points)
    if min(lengths) == 0:
        return None
    u = [(q - p) / lengths[0] for p, q in zip(*a.points, strict=True)]
    v = [(q - p) / lengths[1] for p, q in zip(*b.points, strict=True)]
    middles = [(p + q - r - s) / 2 for p, q, r, s in zip(*a.points, *b.points, strict=True)]
    across = abs(sum(x * y for x, y in zip(u, v, strict=True)))
    if across > 0.5 or math.hypot(*middles) > max(lengths) / 2:
        return None
    return (one, other) if lengths[0] >= lengths[1] else (other, one)


def _apart(lines: Sequence[Line]) -> list[Line]:
    """Each graphic once: writers repeat it for every value that they measure with it."""
    once: list[Line] = []
    for line in lines:
        if not any(same_graphic(line.graphic, other.graphic) for other in once):
            once.append(line)
    return once


def same_graphic(one: Graphic, other: Graphic) -> bool:
    """Whether two graphics are one, drawn on one image."""
    if (one.type, one.image, one.frame_of_reference_uid) != (other.type, other.image, other.frame_of_reference_uid):
        return False
    return len(one.points) == len(other.points) and all(
        math.dist(p, q) <= SAME_POINT for p, q in zip(one.points, other.points, strict=True)
    )
