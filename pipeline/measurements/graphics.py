"""Coordinates of a content item or a graphic object as a `Graphic`, and what shape it is."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from pydicom.dataset import Dataset

from pipeline.dicom_file.checked_numbers import BadValue, number, numbers
from pipeline.dicom_file.text_values import text_of
from pipeline.measurements.content_tree import items_of
from pipeline.measurements.records import Graphic, GraphicType, ImageFrame, Point, Shape
from pipeline.records import InstanceRef

# A contour drawn by hand has a few hundred points. A number takes four bytes here, a text of one up to sixteen.
MOST_POINTS = 5_000
_MOST_BYTES = MOST_POINTS * 3 * 4
# Of what the standard and writers name a shape. An interpolated line is drawn as a curve through its points.
_TYPES: dict[str, GraphicType] = {
    "POINT": "POINT",
    "POLYLINE": "POLYLINE",
    "INTERPOLATED": "POLYLINE",
    "POLYGON": "POLYLINE",
    "CIRCLE": "CIRCLE",
    "ELLIPSE": "ELLIPSE",
}
_POINTS = {"POINT": (1, 2), "CIRCLE": (2, 2), "ELLIPSE": (4, 4), "POLYLINE": (2, MOST_POINTS)}
_UID = re.compile(r"[0-9.]{1,64}")
# Points as near to each other as this are one: pixels, or mm.
SAME_POINT = 0.01


class Unusable(Exception):
    """A graphic that cannot be used; `code` and `why` go into the list of what is not used."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code, self.why = code, why


def graphic_of(dataset: Dataset, dimensions: int, image: ImageFrame | None) -> Graphic:
    """The shape that a data set's Graphic Type and Graphic Data describe. Raises Unusable."""
    written = text_of(dataset, "GraphicType").upper()
    graphic_type = _TYPES.get(written)
    if graphic_type is None:
        raise Unusable("unknown-shape", f"graphic type {written or '(none)'} is not supported")
    points = _points(dataset, dimensions)
    least, most = _POINTS[graphic_type]
    if not least <= len(points) <= most:
        raise Unusable("damaged-coordinates", f"{len(points)} points do not make a {written}")
    space = text_of(dataset, "ReferencedFrameOfReferenceUID") if dimensions == 3 else None
    if space == "":
        raise Unusable("no-frame-of-reference", "the points are in patient coordinates without a frame of reference")
    closed = written == "POLYGON" or text_of(dataset, "GraphicFilled").upper() == "Y"
    if graphic_type == "POLYLINE" and len(points) > 2 and math.dist(points[0], points[-1]) <= SAME_POINT:
        points, closed = points[:-1], True
    return Graphic(graphic_type, points, image, space, closed)


def _points(dataset: Dataset, dimensions: int) -> tuple[Point, ...]:
    raw = getattr(dataset.get_item("GraphicData"), "value", None)
    if raw is not None and len(raw) > (_MOST_BYTES if isinstance(raw, bytes) else MOST_POINTS * 3):
        raise Unusable("too-many-points", f"the shape has more than {MOST_POINTS:,} points")
    try:
        data = numbers(dataset, "GraphicData")
    except BadValue as error:
        raise Unusable("damaged-coordinates", f"the coordinates cannot be read: {error.kind}") from error
    if data is None:
        raise Unusable("no-coordinates", "the shape has no coordinates")
    if len(data.values) % dimensions:
        raise Unusable(
            "damaged-coordinates", f"{len(data.values)} numbers do not make points of {dimensions} coordinates"
        )
    per_point = number(dataset, "GraphicDimensions")
    if per_point is not None and per_point != dimensions:
        raise Unusable("damaged-coordinates", f"the points have {per_point:g} coordinates each")
    values = iter(data.values)
    return tuple(zip(*[values] * dimensions, strict=True))


def image_of(dataset: Dataset) -> ImageFrame | None:
    """The image of an IMAGE content item; None where it names none. Raises Unusable for several frames at once."""
    for item in items_of(dataset, "ReferencedSOPSequence")[:1]:
        uid = text_of(item, "ReferencedSOPInstanceUID")
        # Measured in a reformatted view, some viewers name no image by a word instead of a UID.
        if _UID.fullmatch(uid):
            ref = InstanceRef("", "", text_of(item, "ReferencedSOPClassUID"), uid)
            return ImageFrame(ref, frame_of(item))
    return None


def frame_of(item: Dataset) -> int | None:
    """The frame that a reference names. Raises Unusable where it names several."""
    try:
        several = numbers(item, "ReferencedFrameNumber")
    except BadValue:
        raise Unusable("damaged-reference", "the frame number of the image cannot be read") from None
    if several is None:
        return None
    if len(several.values) > 1:
        raise Unusable("several-frames", "the measurement names several frames of an image")
    return int(several.values[0])


def shape_of(graphic: Graphic, surrounds: bool) -> Shape:
    """What a graphic is. `surrounds`: its object measures an area with it, so that it is closed. Raises Unusable."""
    if graphic.type == "POINT":
        return "point"
    if graphic.type != "POLYLINE":
        return "circle" if graphic.type == "CIRCLE" else "ellipse"
    if len(graphic.points) == 2:
        return "length"
    if not (graphic.closed or surrounds):
        raise Unusable("open-line", f"the line of {len(graphic.points)} points is open, so no lesion lies inside")
    return "rectangle" if _is_rectangle(graphic.points) else "outline"


def _is_rectangle(points: Sequence[Point]) -> bool:
    """Four corners whose diagonals are equally long and halve each other."""
    if len(points) != 4:
        return False
    one, other = math.dist(points[0], points[2]), math.dist(points[1], points[3])
    middles = math.dist(_middle(points[0], points[2]), _middle(points[1], points[3]))
    return abs(one - other) <= 0.02 * max(one, other) and middles <= 0.02 * max(one, other)


def _middle(one: Point, other: Point) -> Point:
    return tuple((a + b) / 2 for a, b in zip(one, other, strict=True))
