"""The measurement groups of a report's content tree (PS3.16 TID 1500 and what writers make of it)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pipeline.dicom_file.checked_numbers import number
from pipeline.dicom_file.text_values import text_of
from pipeline.measurements.content_tree import Item, at_place, code_in, items_of
from pipeline.measurements.graphics import Unusable, graphic_of, image_of
from pipeline.measurements.meaning import Said
from pipeline.measurements.records import Graphic, ImageFrame, Length
from pipeline.records import Code

# Concepts by value; a value stands for one thing in all of DCM, SRT and SCT.
MEASUREMENT_GROUP = "125007"
TRACKING_ID, TRACKING_UID = "112039", "112040"
FINDING, FINDING_CATEGORY = "121071", "276214006"
FINDING_SITES = ("363698007", "G-C0E3")
MODIFIERS = ("272741003", "G-C171", "106233006", "G-A1F8")
LONG_AXIS, SHORT_AXIS = ("103339001", "G-A185"), ("103340004", "G-A186")
AREAS = ("42798000", "G-A166", "G-D7FE")
SEGMENTS = ("121191", "121214")
# What an arrow or a probe "measures"; an arrow has a line whose first point is its tip.
PLACE, VOLUME_SURFACE = "111010", "121231"
COMMENT, SHORT_LABEL = "121106", "125309"
# A code that viewers make of free text, whatever its scheme.
_FREE_TEXT = re.compile(r"(?i)free ?text|^CS3DTEXT$|^TEXT$")
# Texts about a measurement that are no label.
_NO_LABEL = re.compile(r"(?i)algorithm|method|session|time ?point|version|equation|procedure|device|uid|spline")
# Coordinates that are no shape: where the text of a label stands, and the handles of a spline.
_NO_SHAPE = re.compile(r"(?i)text|label|annotation position|control points?")
COORDINATES = ("SCOORD", "SCOORD3D")


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A graphic with the value measured on it. `measures`: the concept of the value, or of a region."""

    measures: str
    graphic: Graphic
    length: Length | None


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """One measurement group: what it says, and its graphics. `fault`: why a graphic could not be read."""

    words: Said
    lines: tuple[Line, ...]
    tracking_uid: str
    observed: str
    by_segment: bool
    fault: Unusable | None = None


def groups_in(root: Item) -> Iterator[Group]:
    """Every group, in order. A container that holds values with coordinates is one, whatever it is called."""
    waiting = [root]
    while waiting:
        item = waiting.pop()
        named = item.concept is not None and item.concept.value == MEASUREMENT_GROUP
        if named or _holds_coordinates(item):
            yield _group(item, root)
        else:
            waiting += reversed(item.children)


def _holds_coordinates(item: Item) -> bool:
    return any(
        child.value_type in COORDINATES or (child.value_type == "NUM" and _coordinates_of(child))
        for child in item.children
    )


def _coordinates_of(item: Item) -> list[Item]:
    return [c for c in item.children if c.value_type in COORDINATES or c.refers_to]


def _group(item: Item, root: Item) -> Group:
    lines: list[Line] = []
    fault = None
    for child in item.children:
        for coordinates in _drawn(child, root):
            try:
                graphic = _graphic(coordinates, item, root)
            except Unusable as error:
                fault = fault or error
                continue
            measures = child.concept.value if child.concept else ""
            if measures == PLACE:
                lines.append(Line(measures, replace(graphic, type="POINT"), None))
            else:
                lines.append(Line(measures, graphic, _length(child)))
    return Group(
        _said(item),
        tuple(lines),
        next((c.text for c in item.children if _is(c, TRACKING_UID)), ""),
        text_of(item.source, "ObservationDateTime"),
        any(_is(i, *SEGMENTS) for i in item.below()),
        fault,
    )


def _drawn(child: Item, root: Item) -> Iterator[Item]:
    """The coordinates of a value, or a region of the group itself."""
    for each in child.children if child.value_type == "NUM" else [child]:
        target = at_place(root, each.refers_to) if each.refers_to else each
        if target is not None and target.value_type in COORDINATES and not _is_no_shape(target):
            yield target


def _is_no_shape(item: Item) -> bool:
    return item.concept is not None and _NO_SHAPE.search(item.concept.meaning) is not None


def _graphic(coordinates: Item, group: Item, root: Item) -> Graphic:
    dimensions = 3 if coordinates.value_type == "SCOORD3D" else 2
    image = _image(coordinates, group, root)
    if dimensions == 2 and image is None:
        raise Unusable("no-image", "the measurement names no image")
    return graphic_of(coordinates.source, dimensions, image)


def _image(coordinates: Item, group: Item, root: Item) -> ImageFrame | None:
    """The image that the coordinates were selected from, else the only one of the group."""
    for children in (coordinates.children, group.children):
        images = set()
        for child in children:
            target = at_place(root, child.refers_to) if child.refers_to else child
            if target is not None and target.value_type == "IMAGE" and not _is(target, *SEGMENTS):
                image = image_of(target.source)
                if image is not None:
                    images.add(image)
        if len(images) > 1:
            raise Unusable("several-images", "the measurement names several images")
        if images:
            return images.pop()
    return None


def _length(item: Item) -> Length | None:
    """The value of a NUM, if it has one: a length in its unit."""
    for measured in items_of(item.source, "MeasuredValueSequence")[:1]:
        value = number(measured, "NumericValue")
        unit = code_in(measured, "MeasurementUnitsCodeSequence")
        if value is not None:
            return Length(value, _unit(unit))
    return None


def _unit(code: Code | None) -> str:
    if code is None:
        return ""
    return "pixel" if re.search(r"(?i)\bpx\b|pixel", f"{code.value} {code.meaning}") else code.value


def _said(item: Item) -> Said:
    """Texts and codes of a group and of its values; a text made for labels comes first."""
    texts: list[tuple[int, str]] = []
    finding = category = None
    sites: list[Code] = []
    modifiers: list[Code] = []
    for each in [*item.children, *(c for n in item.children for c in n.children)]:
        free = _free_text(each)
        if each.value_type == "TEXT" and each.text and not _is(each, TRACKING_ID) and _labels(each):
            texts.append((0 if _is(each, COMMENT, SHORT_LABEL) else 2, each.text))
        elif free:
            texts.append((1, free))
        elif each.code is not None and _is(each, FINDING):
            finding = finding or each.code
        elif each.code is not None and _is(each, FINDING_CATEGORY):
            category = category or each.code
        elif each.code is not None and _is(each, *FINDING_SITES):
            sites.append(each.code)
        if each.code is not None and _is(each, *MODIFIERS):
            modifiers.append(each.code)
    modifiers += [c.code for s in item.children if _is(s, *FINDING_SITES, FINDING) for c in s.children if c.code]
    labels = tuple(dict.fromkeys(text for _, text in sorted(texts, key=lambda t: t[0])))
    tracking = next((c.text for c in item.children if _is(c, TRACKING_ID)), "")
    return Said(labels, finding, category, tuple(dict.fromkeys(sites)), tuple(dict.fromkeys(modifiers)), tracking)


def _free_text(item: Item) -> str:
    """The text of a finding or site whose code is one that viewers make of free text."""
    if item.code is None or not _FREE_TEXT.search(item.code.value):
        return ""
    return item.code.meaning


def _labels(item: Item) -> bool:
    meaning = item.concept.meaning if item.concept else ""
    return _is(item, COMMENT, SHORT_LABEL, FINDING) or not _NO_LABEL.search(meaning)


def _is(item: Item, *values: str) -> bool:
    return item.concept is not None and item.concept.value in values


def by_concept(lines: Sequence[Line], concepts: Sequence[str]) -> list[Line]:
    """The lines that measure one of the concepts."""
    return [line for line in lines if line.measures in concepts]
