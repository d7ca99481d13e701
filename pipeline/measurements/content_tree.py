"""The content tree of a structured report as records, read within limits.

Relationships by reference (PS3.3 C.17.3.2.4) name an item by its place in the tree. They are looked up once, never
followed further, so a report whose items refer to each other in a circle ends like any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any  # Any: a DICOM sequence as pydicom gives it

from pydicom.dataset import Dataset

from pipeline.dicom_file.checked_numbers import BadValue, numbers
from pipeline.dicom_file.text_values import text_of
from pipeline.errors import RoiRejected
from pipeline.records import Code

# A reader's report has tens of measurements with some ten items each, nested seven deep at most. An item comes with one
# for its name and one for its value; they are counted as bytes before anything is made of them.
MOST_ITEMS = 10_000
MOST_WRITTEN = 5 * MOST_ITEMS
MOST_DEPTH = 16
_ITEM_TAGS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")
Place = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One content item. `place`: its position among the siblings of each level, from 1. `source`: its data set."""

    place: Place
    value_type: str
    concept: Code | None
    code: Code | None
    text: str
    refers_to: Place
    source: Dataset
    children: tuple[Item, ...]

    def below(self) -> Iterator[Item]:
        """Every item under this one, in order."""
        waiting = list(reversed(self.children))
        while waiting:
            item = waiting.pop()
            yield item
            waiting += reversed(item.children)


def too_much(uid: str, what: str) -> RoiRejected:
    """The error for an object beyond the limits."""
    return RoiRejected(f"measurement object {uid} has {what}; it is not read", code="measurements-too-large", uid=uid)


def check_written(written: bytes, name: str) -> None:
    """Raise RoiRejected for bytes that hold more items than a report may."""
    if sum(written.count(tag) for tag in _ITEM_TAGS) > MOST_WRITTEN:
        raise too_much(name, f"more than {MOST_WRITTEN:,} items of sequences")


def tree_of(dataset: Dataset) -> Item:
    """The root of a report's content. Raises RoiRejected (`measurements-too-large`) beyond the limits."""
    uid = text_of(dataset, "SOPInstanceUID")
    content = dataset.get_item("ContentSequence") if "ContentSequence" in dataset else None
    if content is not None and isinstance(content.value, bytes):
        check_written(content.value, uid)
    return _Reader(uid).item(dataset, (1,))


def code_in(dataset: Dataset, keyword: str) -> Code | None:
    """The first code of a sequence."""
    for item in items_of(dataset, keyword)[:1]:
        value = text_of(item, "CodeValue") or text_of(item, "LongCodeValue") or text_of(item, "URNCodeValue")
        meaning = text_of(item, "CodeMeaning")
        if value or meaning:
            return Code(value, text_of(item, "CodingSchemeDesignator"), meaning)
    return None


def items_of(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence; none where the element is absent or no sequence."""
    value: Any = dataset.get(keyword)
    if value is None or isinstance(value, (str, bytes)):
        return []
    return [item for item in value if isinstance(item, Dataset)]


class _Reader:
    """Counts the items of one tree."""

    def __init__(self, uid: str) -> None:
        self._uid, self._items = uid, 0

    def item(self, dataset: Dataset, place: Place) -> Item:
        self._items += 1
        if self._items > MOST_ITEMS:
            raise too_much(self._uid, f"more than {MOST_ITEMS:,} content items")
        if len(place) > MOST_DEPTH:
            raise too_much(self._uid, f"content nested more than {MOST_DEPTH} deep")
        children = items_of(dataset, "ContentSequence")
        return Item(
            place,
            text_of(dataset, "ValueType").upper(),
            code_in(dataset, "ConceptNameCodeSequence"),
            code_in(dataset, "ConceptCodeSequence"),
            text_of(dataset, "TextValue") or text_of(dataset, "UID"),
            _reference(dataset),
            dataset,
            tuple(self.item(child, (*place, n)) for n, child in enumerate(children, 1)),
        )


def _reference(dataset: Dataset) -> Place:
    """The place of the item that one by reference means; empty where it is none."""
    if "ReferencedContentItemIdentifier" not in dataset:
        return ()
    try:
        place = numbers(dataset, "ReferencedContentItemIdentifier")
    except BadValue:
        return ()
    return tuple(int(n) for n in place.values[:MOST_DEPTH]) if place else ()


def at_place(root: Item, place: Place) -> Item | None:
    """The item that a relationship by reference means, None where there is none."""
    if place[:1] != (1,):
        return None
    item = root
    for n in place[1:]:
        if not 1 <= n <= len(item.children):
            return None
        item = item.children[n - 1]
    return item
