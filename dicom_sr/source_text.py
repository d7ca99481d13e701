"""Text of a source as what it is: in the character set that it declares, else in the one that it can only be in.

Some devices declare no character set and send another than ASCII, or declare UTF-8 and send Latin-1. Such bytes are
decoded where just one reading of them is a name; else they stay the bytes that they are, through to the report: as lone
surrogates (PEP 383) in a text here. Escape sequences of ISO 2022 name the character set themselves, declared or not.
"""

from __future__ import annotations

import re
import unicodedata
import warnings
from typing import Any  # Any: pydicom's element, which is a raw one until it is looked at

from pydicom.charset import python_encoding
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import Tag
from pydicom.values import convert_value

# What bytes without a declaration and without escape sequences may be (PS3.3 C.12.1.1.2).
CANDIDATES = (
    *(f"ISO_IR {number}" for number in (100, 101, 109, 110, 148, 144, 127, 126, 138, 166, 13)),
    "GB18030",
    "ISO 2022 IR 149",
)
TEXTS = ("PN", "LO", "SH", "ST", "LT", "UC", "UT")
_MULTIPLE = ("PN", "LO", "SH", "UC")
_ESC = b"\x1b"
# What escape sequences may choose (PS3.3 C.12.1.1.2, code extensions), and what pydicom leaves of one in the text.
_EXTENSIONS = tuple(encoding for name, encoding in python_encoding.items() if name.startswith("ISO 2022 IR"))
_ESCAPE = re.compile("\x1b[\x20-\x2f]+[\x30-\x7e]")
_UNKNOWN = "\N{REPLACEMENT CHARACTER}"


def texts_of(image: Dataset, keyword: str, default: tuple[str, ...] = ()) -> list[str] | None:
    """The values of a text that its declaration does not decode; None where pydicom reads it well.

    Args:
        default: the character set where none is declared.
    """
    element: Any = image.get_item(Tag(keyword)) if keyword in image else None
    if not isinstance(element, RawDataElement) or not element.value:
        return None
    if element.VR is not None and element.VR not in TEXTS:
        return None
    declared = character_sets(image)
    sets = declared or default
    if _ESC in element.value and not any(name.startswith("ISO 2022") for name in declared):
        return _by_escapes(element, keyword, sets)
    if element.value.isascii():
        return None
    text = _strictly(element.value, sets)
    if text is None and len(sets) > 1:
        # With code extensions pydicom knows better.
        return None
    if text is not None and declared:
        return None
    text = _only_reading(element.value) if text is None else text
    return _values(text, element.VR)


def plain(text: str) -> str:
    """Text without the escape sequences that decoding left in it."""
    return _ESCAPE.sub("", text)


def character_sets(image: Dataset) -> tuple[str, ...]:
    """What the source declares."""
    value = image.get("SpecificCharacterSet")
    if not value:
        return ()
    return (value,) if isinstance(value, str) else tuple(str(v) for v in value)


def is_undecoded(text: str) -> bool:
    """Whether some of it are bytes that nobody could decode."""
    return any("\udc80" <= c <= "\udcff" for c in text)


def raw_bytes(text: str) -> bytes:
    """The bytes of a text that is undecoded."""
    return text.encode("utf-8", "surrogateescape")


def shown(text: str) -> str:
    """For a person: with a replacement character for each byte that nobody could decode."""
    return raw_bytes(text).decode("utf-8", "replace")


def _values(text: str, vr: str | None) -> list[str]:
    values = text.split("\\") if vr in _MULTIPLE else [text]
    return [value.rstrip(" \0") for value in values]


def _by_escapes(element: RawDataElement, keyword: str, sets: tuple[str, ...]) -> list[str]:
    """Each part in the character set that its escape sequence names, the rest in the first one, which is ASCII where
    nothing else is known."""
    first = python_encoding.get(sets[0], "ascii") if sets else "ascii"
    vr, raw = element.VR or dictionary_VR(keyword), element.value or b""
    with warnings.catch_warnings():
        # Of what it cannot decode: that is seen below.
        warnings.simplefilter("ignore")
        value = convert_value(vr, element._replace(VR=vr), [first, *_EXTENSIONS])
    values = [plain(str(v)) for v in (value if isinstance(value, MultiValue) else [value])]
    if any(_UNKNOWN in text for text in values):
        text = raw.decode("utf-8", "surrogateescape")
        return _values(text if is_undecoded(text) else plain(text), vr)
    return [text.rstrip(" \0") for text in values]


def _strictly(raw: bytes, sets: tuple[str, ...]) -> str | None:
    if len(sets) != 1 or sets[0] not in python_encoding:
        return None
    try:
        return raw.decode(python_encoding[sets[0]], "strict")
    except (UnicodeError, LookupError):
        return None


def _only_reading(raw: bytes) -> str:
    # Bytes that happen to be UTF-8 are UTF-8.
    as_utf8 = _strictly(raw, ("ISO_IR 192",))
    if as_utf8 is not None:
        return as_utf8
    readings = {text for name in CANDIDATES if (text := _strictly(raw, (name,))) is not None and _is_name(text)}
    return readings.pop() if len(readings) == 1 else raw.decode("utf-8", "surrogateescape")


def _is_name(text: str) -> bool:
    """Letters, and what stands between them; the letters of a word all of one script."""
    for word in "".join(c if unicodedata.category(c)[0] in "LM" else " " for c in text).split():
        scripts = {unicodedata.name(c, "?").partition(" ")[0].partition("-")[0] for c in word if c.isalpha()}
        if len(scripts) > 1 or "?" in scripts:
            return False
    return all(c.isascii() or unicodedata.category(c)[0] in "LM" or c == "\u3000" for c in text)
