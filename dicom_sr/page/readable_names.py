"""Names and days as people read them."""

from __future__ import annotations


def person_name(value: str) -> str:
    """A PN for reading: alphabetic and ideographic groups, components in their order, without carets."""
    groups = [" ".join(part for part in group.split("^") if part) for group in value.split("=")[:2]]
    return "  ".join(dict.fromkeys(g for g in groups if g))


def day(value: object) -> str:
    """`2026-03-04`; what is no date of DICOM as it is."""
    text = str(value or "")
    return f"{text[:4]}-{text[4:6]}-{text[6:8]}" if len(text) == 8 and text.isdigit() else text
