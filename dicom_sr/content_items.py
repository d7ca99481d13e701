"""SR content items (PS3.3 C.17.3), thin over highdicom's value types."""

from __future__ import annotations

import math
from collections.abc import Iterable

import highdicom as hd
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from pipeline.records import Code, InstanceRef

CONTAINS = "CONTAINS"
CONTEXT = "HAS OBS CONTEXT"
MODIFIER = "HAS CONCEPT MOD"


def _hd(code: Code) -> Dataset:
    item: Dataset = hd.sr.CodedConcept(code.value, code.scheme, code.meaning)
    return item


def container(name: Code, template: str | None = None, relation: str | None = CONTAINS) -> Dataset:
    """A container whose content is SEPARATE: with CONTINUOUS, viewers print values without their names."""
    item: Dataset = hd.sr.ContainerContentItem(
        _hd(name), is_content_continuous=False, template_id=template, relationship_type=relation
    )
    item.ContentSequence = Items()
    return item


def code(name: Code, value: Code, relation: str = CONTAINS) -> Dataset:
    item: Dataset = hd.sr.CodeContentItem(_hd(name), _hd(value), relationship_type=relation)
    return item


def text(name: Code, value: str, relation: str = CONTAINS) -> Dataset:
    item: Dataset = hd.sr.TextContentItem(_hd(name), value, relationship_type=relation)
    return item


def uid(name: Code, value: str, relation: str = CONTEXT) -> Dataset:
    item: Dataset = hd.sr.UIDRefContentItem(_hd(name), value, relationship_type=relation)
    return item


def number(name: Code, value: float, unit: Code, shown: str | None = None) -> Dataset:
    """A NUM: `NumericValue` (DS) with six significant digits to read, or as `shown`; `FloatingPointValue` with the
    exact double."""
    if not math.isfinite(value):
        raise ValueError(f"{name.meaning} is not finite")
    item: Dataset = hd.sr.NumContentItem(_hd(name), 0, _hd(unit), relationship_type=CONTAINS)
    measured = item.MeasuredValueSequence[0]
    measured.NumericValue = shown or decimal_string(value)
    measured.FloatingPointValue = float(value)
    return item


def decimal_string(value: float) -> str:
    """A DS of at most 16 characters: integers whole, the rest with six significant digits."""
    if value == int(value) and abs(value) < 1e12:
        return str(int(value))
    return f"{value:.6g}"


def image(
    name: Code | None,
    ref: InstanceRef,
    segments: Iterable[int] = (),
    frame: int | None = None,
    relation: str = CONTAINS,
) -> Dataset:
    numbers = list(segments)
    item: Dataset = hd.sr.ImageContentItem(
        None if name is None else _hd(name),
        ref.sop_class_uid,
        ref.sop_instance_uid,
        referenced_frame_numbers=None if frame is None else [frame],
        referenced_segment_numbers=numbers or None,
        relationship_type=relation,
    )
    return item


def composite(name: Code, ref: InstanceRef) -> Dataset:
    """A reference to an object of any kind."""
    item: Dataset = hd.sr.CompositeContentItem(
        _hd(name), ref.sop_class_uid, ref.sop_instance_uid, relationship_type=CONTAINS
    )
    return item


def add(parent: Dataset, *children: Dataset) -> None:
    """Append children in order."""
    if "ContentSequence" not in parent:
        parent.ContentSequence = Items()
    for child in children:
        parent.ContentSequence.append(child)


def plain(item: Dataset) -> Dataset:
    """The same content as bare data sets, without highdicom's checked sequences: for the data set to be written."""
    copied = Dataset()
    for element in item:
        if element.VR == "SQ":
            setattr(copied, element.keyword, [plain(child) for child in element.value])
        else:
            copied.add(element)
    return copied
