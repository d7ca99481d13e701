"""Values straight from the bytes of an element, where there is no doubt about what they mean.

pydicom builds an object for every value it converts, which is most of the time that reading a header takes. Numbers and
short texts in printable ASCII need none of it; whatever else is in an element is left to pydicom.
"""

from __future__ import annotations

import re
from typing import Any, Final  # Any: an element converted or raw, and its values of any type

from pydicom.dataelem import RawDataElement

UNSURE: Final = object()

# PS3.5 6.2; spaces around a value are padding.
_DECIMAL = re.compile(rb" *[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)? *")
_INTEGER = re.compile(rb" *[+-]?[0-9]{1,10} *")
_PRINTABLE = re.compile(rb"[ -~]+")
# Printable ASCII means itself in every character set of PS3.3 C.12.1.1.2. All of these have several values.
_TEXT_VRS = frozenset(("CS", "DA", "TM", "DT", "AS", "AE", "LO", "SH", "UI"))


def number(element: Any) -> Any:
    """The number, or numbers as a list, of an element as read (a `RawDataElement`); UNSURE where pydicom should say."""
    data = _bytes_of(element)
    if data is None:
        return UNSURE
    if element.VR == "US" and len(data) == 2 and element.is_little_endian:
        return int.from_bytes(data, "little")
    if element.VR not in ("DS", "IS"):
        return UNSURE
    pattern, convert = (_DECIMAL, float) if element.VR == "DS" else (_INTEGER, int)
    parts = data.rstrip(b" \0").split(b"\\")
    if not all(pattern.fullmatch(part) for part in parts):
        return UNSURE
    values = [convert(part) for part in parts]
    if any(value in (float("inf"), float("-inf")) for value in values):
        return UNSURE
    return values if len(values) > 1 else values[0]


def text(element: Any) -> Any:
    """The text, or texts as a list, of an element as read; UNSURE where pydicom should say."""
    data = _bytes_of(element)
    if data is None or element.VR not in _TEXT_VRS:
        return UNSURE
    data = data.rstrip(b" \0")
    if not _PRINTABLE.fullmatch(data):
        return UNSURE
    values = [part.strip() for part in data.decode("ascii").split("\\")]
    return values if len(values) > 1 else values[0]


def _bytes_of(element: Any) -> bytes | None:
    if type(element) is RawDataElement and type(element.value) is bytes and element.value:
        return element.value
    return None
