"""Cells of CSV files that spreadsheet programs would run as formulas, written so that they do not, and read back equal.

A text that begins as a formula gets an apostrophe before it, also after a semicolon, a tab or a line break, where other
settings begin a new cell. Blanks and characters that nobody sees do not count, since programs drop them, and signs of
other widths and heights count as the plain ones. Numbers stay as they are.
"""

from __future__ import annotations

import re

_BREAKS = r";\t\r\n\x0b\x0c\x85\u2028\u2029"
# Blanks, control characters but for the breaks, and what Unicode calls format characters, the byte order mark for one.
_UNSEEN = (
    r" \x00-\x08\x0e-\x1f\x7f-\x84\x86-\xa0\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u1680\u180e"
    r"\u2000-\u200f\u202a-\u202f\u205f-\u206f\u3000\ufe00-\ufe0f\ufeff\ufff9-\ufffb\U000110bd\U000110cd"
    r"\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f"
)
_SIGNS = r"=+\-@＝＋－＠﹦﹢﹣﹫⁼⁺⁻₌₊₋\u2212"
_BEGIN, _FORMULA = f"(?:^|(?<=[{_BREAKS}]))", f"(?=[{_UNSEEN}]*[{_SIGNS}])"
_RUN = re.compile(f"{_BEGIN}('*){_FORMULA}")
_ESCAPED = re.compile(f"{_BEGIN}'('*){_FORMULA}")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def escaped(text: str) -> str:
    """The text as it is written."""
    return text if _NUMBER.fullmatch(text) else _RUN.sub(r"'\1", text)


def unescaped(cell: str) -> str:
    """The text that `escaped` was given."""
    return _ESCAPED.sub(r"\1", cell) if "'" in cell else cell


def quoted(cell: str) -> str:
    """In quotes where it must be; csv.writer leaves a lone carriage return bare, which then ends the row."""
    return '"' + cell.replace('"', '""') + '"' if re.search('[,"\r\n]', cell) else cell
