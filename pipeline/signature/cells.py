"""Cells of tables as people and programs write them: what stands for nothing, and what looks like a number."""

from __future__ import annotations

import re
from typing import Final

# What R, spreadsheets, databases and pandas write where there is nothing.
MISSING: Final = frozenset(("", "na", "n/a", "#n/a", "nan", "none", "null", "<na>"))
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_MONTHS: Final = "jan|feb|mar|mär|mrz|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez"
_DATE: Final = re.compile(
    rf"\d{{1,4}}[-./]\d{{1,2}}[-./]\d{{1,4}}([ T].*)?|\d{{1,2}}[-./ ]*({_MONTHS})\w*\.?.*|({_MONTHS})\w*[-./ ]+\d+.*",
    re.IGNORECASE,
)


def is_missing(cell: object) -> bool:
    """Whether a cell stands for nothing."""
    return cell is None or str(cell).strip().lower() in MISSING


def is_number(text: str) -> bool:
    """Whether a text is a finite number with a decimal point: Python's own reading takes `1_0` and `inf` too."""
    return _NUMBER.fullmatch(text) is not None


def why_no_number(text: str) -> str:
    """What a text is that should be a number, as far as it can be told; "" where it cannot."""
    if re.match(r"\s*[<>≤≥~]", text):
        return "a bound, not a value"
    if text.startswith("#"):
        return "an error of a spreadsheet"
    if _DATE.fullmatch(text):
        return "a date, which spreadsheets make of numbers"
    if re.fullmatch(r"[+-]?\d{1,3}([ ,.'’]\d{3})+([.,]\d+)?", text) or re.fullmatch(
        r"[+-]?\d*,\d+([eE][+-]?\d+)?", text
    ):
        return "with a comma or separators of thousands"
    return ""
