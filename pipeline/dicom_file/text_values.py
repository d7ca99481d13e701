"""Text of DICOM data elements, decoded in one place.

pydicom 3.0.2 decodes ISO 2022 IR 58 (GB 2312, PS3.3 C.12.1.1.2, defined term of (0008,0005)) but leaves the escape
sequence ESC $)A that designates it in the text. Escape sequences are no characters (PS3.5 6.1.2.5.3), so whatever
a decoder left behind is taken out here.
"""

from __future__ import annotations

import re
import unicodedata

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from pipeline.dicom_file import fast_header, fast_values

# ISO/IEC 2022: ESC, intermediate bytes 2/0-2/15, one final byte 3/0-7/14.
_ESCAPE = re.compile("\x1b[\x20-\x2f]*[\x30-\x7e]")


def clean(value: object) -> str:
    """One value as text: left-over escape sequences, control characters and padding removed.

    Several values are joined by a backslash, as in the encoded form.
    """
    if isinstance(value, (list, tuple, MultiValue)):
        return "\\".join(clean(v) for v in value)
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    if text.isascii() and text.isprintable():
        return text.strip()
    text = _ESCAPE.sub("", text)
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) != "Cc").strip()


def text_of(dataset: Dataset, keyword: str) -> str:
    """The text of one element; empty where it is absent or empty."""
    tag = fast_header.tag_of(keyword)
    text = fast_values.text(dataset.get_item(tag)) if tag is not None else fast_values.UNSURE
    if text is not fast_values.UNSURE:
        return "\\".join(text) if isinstance(text, list) else str(text)
    value = dataset.get(keyword)
    return "" if value is None else clean(value)


def person_names(dataset: Dataset, keyword: str) -> tuple[str, str, str]:
    """A person name's alphabetic, ideographic and phonetic groups (PS3.5 6.2.1.2), each clean; absent ones empty."""
    groups = [*text_of(dataset, keyword).split("="), "", ""]
    return groups[0], groups[1], groups[2]
