"""Cells of CSV files that spreadsheet programs would run as formulas, written so that they do not, and read back equal.

A text that begins as a formula gets an apostrophe before it, also after a semicolon, a tab or a line break, where other
settings begin a new cell. Numbers stay as they are.
"""

from __future__ import annotations

import re

_BEGIN, _FORMULA = r"(?:^|(?<=[;\t\r\n]))", r"(?=[ \u00a0\u3000]*[=+\-@＝＋－＠])"
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
