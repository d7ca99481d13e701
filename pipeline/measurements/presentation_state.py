"""The graphics of a presentation state (PS3.3 C.10.5) as groups: each drawn shape with the text that belongs to it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset

from pipeline.dicom_file.checked_numbers import BadValue, number, numbers
from pipeline.dicom_file.text_values import text_of
from pipeline.measurements.content_tree import items_of, too_much
from pipeline.measurements.graphics import Unusable, frame_of, graphic_of
from pipeline.measurements.groups import Group, Line
from pipeline.measurements.meaning import Said
from pipeline.measurements.records import Graphic, ImageFrame
from pipeline.measurements.shapes import drawn
from pipeline.records import InstanceRef

# Texts and shapes of one state; viewers write one of each per annotation.
MOST_OBJECTS = 2_000
# A text whose anchor lies as near to a shape as this belongs to it: pixels.
NEAR = 3.0


@dataclass(frozen=True, slots=True)
class _Text:
    """A text, the graphic group that it belongs to and where it is anchored: read once, not once for each shape."""

    dataset: Dataset
    group: float | None
    anchor: tuple[float, ...] | None


def groups_of_state(dataset: Dataset) -> Iterator[Group]:
    """One group for each shape, or for two lines across each other with one text. Raises RoiRejected (too large)."""
    objects = 0
    for annotation in items_of(dataset, "GraphicAnnotationSequence"):
        shapes = [*items_of(annotation, "GraphicObjectSequence"), *items_of(annotation, "CompoundGraphicSequence")]
        texts = items_of(annotation, "TextObjectSequence")
        objects += len(shapes) + len(texts)
        if objects > MOST_OBJECTS:
            raise too_much(text_of(dataset, "SOPInstanceUID"), f"more than {MOST_OBJECTS:,} graphics")
        yield from _groups(annotation, shapes, texts, dataset)


def _groups(
    annotation: Dataset, shapes: Sequence[Dataset], every_text: Sequence[Dataset], state: Dataset
) -> Iterator[Group]:
    texts = [_Text(t, number(t, "GraphicGroupID"), _anchor(t)) for t in every_text]
    lines: list[tuple[Dataset, Line]] = []
    for shape in shapes:
        try:
            lines.append((shape, Line("", _graphic(shape, annotation, state), None)))
        except Unusable as error:
            yield Group(Said(_labels(_own_texts(shape, None, shapes, texts))), (), "", "", False, error)
    by_text: dict[tuple[int, ...], list[Line]] = {}
    for shape, line in lines:
        mine = _own_texts(shape, line.graphic, shapes, texts)
        by_text.setdefault(tuple(id(t) for t in mine), []).append(line)
    named = {id(t): t for t in texts}
    for ids, together in by_text.items():
        words = Said(_labels([named[i] for i in ids]))
        if len(together) == 1 or not ids:
            yield from (Group(words, (line,), "", "", False) for line in together)
        elif _are_axes(together):
            yield Group(words, tuple(together), "", "", False)
        else:
            why = f"one text belongs to {len(together)} shapes; which of them is the lesion is unknown"
            yield Group(words, (), "", "", False, Unusable("several-shapes", why))


def _are_axes(lines: Sequence[Line]) -> bool:
    try:
        return drawn(lines)[0] == "axes"
    except Unusable:
        return False


def _graphic(shape: Dataset, annotation: Dataset, state: Dataset) -> Graphic:
    units = text_of(shape, "GraphicAnnotationUnits") or text_of(shape, "CompoundGraphicUnits")
    if units.upper() != "PIXEL":
        raise Unusable(
            "not-in-pixels", f"the graphic is drawn in units of {units or 'nothing'}, not in pixels of an image"
        )
    if "CompoundGraphicType" in shape and "GraphicType" not in shape:
        raise Unusable("unknown-shape", f"graphic type {text_of(shape, 'CompoundGraphicType')} is not supported")
    return graphic_of(shape, 2, _image(annotation, state))


def _image(annotation: Dataset, state: Dataset) -> ImageFrame:
    """The one image of the annotation, or of the state where the annotation names none."""
    refs = items_of(annotation, "ReferencedImageSequence")
    if not refs:
        refs = [i for s in items_of(state, "ReferencedSeriesSequence") for i in items_of(s, "ReferencedImageSequence")]
    named = {(text_of(r, "ReferencedSOPClassUID"), text_of(r, "ReferencedSOPInstanceUID"), frame_of(r)) for r in refs}
    if len(named) != 1:
        why = "the annotation names several images" if named else "the annotation names no image"
        raise Unusable("several-images" if named else "no-image", why)
    kind, uid, frame = named.pop()
    return ImageFrame(InstanceRef("", "", kind, uid), frame)


def _own_texts(
    shape: Dataset, graphic: Graphic | None, shapes: Sequence[Dataset], texts: Sequence[_Text]
) -> list[_Text]:
    """The texts of a shape: of its graphic group, anchored at it, or the only ones of its annotation."""
    group = number(shape, "GraphicGroupID")
    if group is not None:
        mine = [t for t in texts if t.group == group]
        if mine:
            return mine
    free = [t for t in texts if t.group is None]
    if graphic is not None:
        anchored = [t for t in free if _distance(graphic, t.anchor) <= NEAR]
        if anchored:
            return anchored
    return free if len(shapes) == 1 or len(free) == 1 else []


def _anchor(text: Dataset) -> tuple[float, ...] | None:
    if text_of(text, "AnchorPointAnnotationUnits").upper() != "PIXEL":
        return None
    try:
        point = numbers(text, "AnchorPoint")
    except BadValue:
        return None
    return point.values if point and len(point.values) == 2 else None


def _distance(graphic: Graphic, point: tuple[float, ...] | None) -> float:
    """From a point to the nearest corner or end of a shape."""
    if point is None:
        return math.inf
    if graphic.type == "CIRCLE":
        centre, edge = graphic.points
        return min(math.dist(point, centre), abs(math.dist(point, centre) - math.dist(centre, edge)))
    return min(math.dist(point, p) for p in graphic.points)


def _labels(texts: Sequence[_Text]) -> tuple[str, ...]:
    return tuple(t for t in (text_of(each.dataset, "UnformattedTextValue") for each in texts) if t)
