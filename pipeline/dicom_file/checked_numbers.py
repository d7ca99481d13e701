"""Numbers of data elements, read without trust: what a broken one is, is told by its kind and never by its value.

pydicom converts a value when it is asked for and raises whatever the conversion raises. Here the bytes of a Decimal or
Integer String are read directly: a decimal comma (PS3.5 6.2 allows only the full stop) is understood, and a value
that is no number raises BadValue, so that the caller can decide whether anybody needs it.
"""

from __future__ import annotations

import math
import re
import struct
from typing import Any, NamedTuple  # Any: DICOM values, of any type until they are checked

import pydicom.datadict
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.multival import MultiValue
from pydicom.valuerep import STR_VR

from pipeline.dicom_file.fast_header import tag_of

# What converting a damaged value raises. Nesting too deep for anybody is not among it.
DAMAGED = (
    BytesLengthException,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    NotImplementedError,
    EOFError,
    struct.error,
)
_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+(?:[eE][+-]?[0-9]+)?|[+-]?[0-9]+,")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


class BadValue(ValueError):
    """A value that is no number. `kind` says what it is instead; it holds nothing of the value."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class Numbers(NamedTuple):
    """The values of one element. `comma`: at least one was written with a decimal comma."""

    values: tuple[float, ...]
    comma: bool = False


def numbers(dataset: Dataset, keyword: str) -> Numbers | None:
    """The finite numbers of one element; None where it is absent or empty. Raises BadValue."""
    tag = tag_of(keyword)
    element: Any = None if tag is None else dataset.get_item(tag)
    if tag is None or element is None:
        return None
    if isinstance(element, RawDataElement) and isinstance(element.value, bytes):
        vr = element.VR or _vr(int(tag))
        if vr == "UN" or vr in STR_VR:
            return _of_text(element.value.decode("latin-1"))
    try:
        value = dataset[tag].value
    except DAMAGED as error:
        raise BadValue(f"a damaged value of VR {element.VR}") from error
    return of_value(value)


def number(dataset: Dataset, keyword: str) -> float | None:
    """The first number of one element; None where it is absent, empty or no number: for values that nobody needs."""
    try:
        several = numbers(dataset, keyword)
    except BadValue:
        return None
    return several.values[0] if several else None


def whole_number(dataset: Dataset, keyword: str) -> int | None:
    """As `number`, for what only a whole number can be."""
    value = number(dataset, keyword)
    return int(value) if value is not None and value.is_integer() else None


def of_value(value: Any) -> Numbers | None:
    """The numbers of a value as pydicom gives it. Raises BadValue."""
    if value is None:
        return None
    if isinstance(value, bytes):
        return _of_text(value.decode("latin-1"))
    if isinstance(value, str):
        return _of_text(value)
    if isinstance(value, (MultiValue, list, tuple)):
        if not len(value):
            return None
        each = [of_value(v) for v in value]
        known = [n for n in each if n is not None]
        if len(known) < len(each):
            raise BadValue("several values of which one is empty")
        return Numbers(tuple(v for n in known for v in n.values), any(n.comma for n in known))
    try:
        return Numbers((_finite(float(value)),))
    except (TypeError, ValueError, OverflowError) as error:
        raise error if isinstance(error, BadValue) else BadValue(f"a value of type {type(value).__name__}") from error


def _of_text(text: str) -> Numbers | None:
    parts = [part.strip(" \0\t\r\n") for part in text.split("\\")]
    if parts == [""]:
        return None
    values, comma = [], False
    for part in parts:
        if not part:
            raise BadValue("several values of which one is empty")
        if _COMMA.fullmatch(part):
            part, comma = part.replace(",", "."), True
        if not _NUMBER.fullmatch(part):
            raise BadValue("not finite" if part.lower().lstrip("+-") in ("nan", "inf", "infinity") else "text")
        values.append(_finite(float(part)))
    return Numbers(tuple(values), comma)


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise BadValue("not finite")
    return value


def _vr(tag: int) -> str:
    try:
        return pydicom.datadict.dictionary_VR(tag)
    except KeyError:
        return ""
