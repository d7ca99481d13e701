"""A data set without the values that break a rule, so that one value nobody needs rejects nothing.

Meant for a file that could not be read as it is: every standard element is looked at, those with a broken value are
taken out and named, and those that can be understood all the same (a decimal comma, a number under another value
representation) are set right. Whoever needs an element that was taken out names it and the kind of its value.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any  # Any: DICOM values, of any type until they are checked

from pydicom import config
from pydicom.datadict import dictionary_VM, dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.valuerep import STR_VR

from pipeline.dicom_file.checked_numbers import DAMAGED, BadValue, Numbers, numbers

INTEGER_VRS = ("IS", "US", "SS", "UL", "SL", "SV", "UV")
REAL = ("DS", "FL", "FD")
PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
# Several values of these mean that the element is damaged; a description may well hold a backslash.
ONE_WORD = ("CS", "UI", "DA", "TM", "DT")


@dataclass(slots=True)
class Faults:
    """What was found: elements taken out, by keyword with the kind of their value; keywords with a decimal comma."""

    broken: dict[str, str] = field(default_factory=dict)
    commas: set[str] = field(default_factory=set)
    mended: bool = False

    def __bool__(self) -> bool:
        return bool(self.broken or self.commas or self.mended)

    def naming(self, keywords: Iterable[str]) -> str:
        """Those of `keywords` that were taken out, as a message names them; empty where there is none."""
        return ", ".join(f"{k} ({self.broken[k]})" for k in keywords if k in self.broken)

    @property
    def text(self) -> str:
        return self.naming(sorted(self.broken))


def repair(dataset: Dataset, faults: Faults | None = None) -> Faults:
    """Take broken values out of the data set, in place and in all its items."""
    faults_here = Faults() if faults is None else faults
    for tag in list(dataset.keys()):
        keyword = keyword_for_tag(tag)
        if tag in PIXELS:
            continue
        if not keyword:
            _keep_if_readable(dataset, tag)
            continue
        vr = dictionary_VR(tag).split(" ")[0]
        try:
            if vr == "SQ":
                _check_items(dataset, tag, faults_here)
            elif vr in INTEGER_VRS or vr in REAL:
                _check_number(dataset, tag, keyword, vr, faults_here)
            elif vr in STR_VR:
                _check_text(dataset, tag, vr)
        except BadValue as error:
            faults_here.broken.setdefault(keyword, error.kind)
            del dataset._dict[tag]
    return faults_here


PIXEL_NUMBERS = (
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "NumberOfFrames",
)
GREY = ("MONOCHROME1", "MONOCHROME2")


def describes_pixels(dataset: Dataset) -> bool:
    """Whether every attribute that a decoder reads has a value that it understands."""
    try:
        sizes = [dataset.get(keyword) for keyword in PIXEL_NUMBERS]
        words = [dataset.get(k) for k in ("PhotometricInterpretation", "LossyImageCompression")]
    except DAMAGED:
        return False
    whole = all(isinstance(n, int) or (n is None and keyword == "NumberOfFrames") for keyword, n in _named(sizes))
    colour = isinstance(words[0], str) and (sizes[2] != 1 or words[0] in (*GREY, "PALETTE COLOR"))
    return whole and colour and (words[1] is None or isinstance(words[1], str))


def _named(sizes: list[object]) -> Iterable[tuple[str, object]]:
    return zip(PIXEL_NUMBERS, sizes, strict=True)


def mend_pixels(dataset: Dataset) -> None:
    """Take out what a decoder would stumble over, and set what follows from the rest of a grey image's description."""
    repair(dataset)
    colour = dataset.get("PhotometricInterpretation")
    if "SamplesPerPixel" not in dataset and colour in GREY:
        dataset.SamplesPerPixel = 1
    if dataset.get("SamplesPerPixel") == 1 and colour not in (*GREY, "PALETTE COLOR"):
        dataset.PhotometricInterpretation = GREY[1]
    if "HighBit" not in dataset and isinstance(dataset.get("BitsStored"), int):
        dataset.HighBit = dataset.BitsStored - 1


def _keep_if_readable(dataset: Dataset, tag: BaseTag) -> None:
    try:
        _ = dataset[tag].value
    except DAMAGED:
        del dataset._dict[tag]


def _value(dataset: Dataset, tag: BaseTag) -> Any:
    try:
        return dataset[tag].value
    except DAMAGED as error:
        raise BadValue("damaged") from error


def _check_items(dataset: Dataset, tag: BaseTag, faults: Faults) -> None:
    items = _value(dataset, tag)
    if items is None or items == b"" or items == "":
        return
    if not isinstance(items, Sequence):
        raise BadValue("no sequence")
    for item in items:
        repair(item, faults)


def _check_number(dataset: Dataset, tag: BaseTag, keyword: str, vr: str, faults: Faults) -> None:
    element: Any = dataset.get_item(tag)
    values_read = numbers(dataset, keyword)
    if values_read is None:
        # Empty is as good as absent, but what an empty element gives differs between encodings.
        del dataset._dict[tag]
        faults.mended = True
        return
    _check_count(values_read, dictionary_VM(tag))
    if vr in INTEGER_VRS and not all(v.is_integer() for v in values_read.values):
        raise BadValue("no whole number")
    if vr in ("US", "UL", "UV") and min(values_read.values) < 0:
        raise BadValue("negative")
    if values_read.comma:
        faults.commas.add(keyword)
    if values_read.comma or (element.VR or vr) not in dictionary_VR(tag).split(" or "):
        values: list[int] | list[float] = (
            [int(v) for v in values_read.values] if vr in INTEGER_VRS else list(values_read.values)
        )
        # Read decimals are kept as binary numbers: a Decimal String holds no more than 16 characters.
        set_vr = vr if vr in INTEGER_VRS else "FD"
        value = values if len(values) > 1 else values[0]
        dataset._dict[tag] = DataElement(tag, set_vr, value, validation_mode=config.IGNORE)
        faults.mended = True


def _check_count(values: Numbers, multiplicity: str) -> None:
    if multiplicity.isdigit() and len(values.values) != int(multiplicity):
        raise BadValue(f"{len(values.values)} values instead of {multiplicity}")


def _check_text(dataset: Dataset, tag: BaseTag, vr: str) -> None:
    element: Any = dataset.get_item(tag)
    if isinstance(element, RawDataElement) and isinstance(element.value, bytes):
        actual = element.VR or vr
        if actual not in STR_VR and actual != "UN":
            raise BadValue(f"a value of VR {actual} where text belongs")
        several = b"\\" in element.value
    else:
        value = _value(dataset, tag)
        if value is not None and element.VR not in STR_VR:
            raise BadValue(f"a value of VR {element.VR} where text belongs")
        several = element.VM > 1
    if several and vr in ONE_WORD and dictionary_VM(tag) == "1":
        raise BadValue("several values instead of 1")
