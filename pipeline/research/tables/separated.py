"""Text of separated values: its encoding, its separator, its rows. What can be read in two ways is refused."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.csv_cells import unescaped
from pipeline.errors import InputRejected
from pipeline.research.tables.faults import row_list

SEPARATORS = (",", ";", "\t")
MOST_CELL_CHARACTERS = 1_000_000
# What programs call a first column of row numbers; R and pandas leave its title empty.
_ROW_NUMBERS = ("", "X", "...1", "Unnamed: 0")
# A byte of Windows-1252 that is no ASCII, alone between two that are; in GB18030 such bytes come in pairs.
_PAIRED = re.compile(rb"[\x80-\xff]{2}")
# The last first byte of GB 2312's frequent characters; `öß` and other pairs of small letters lie behind it.
_LAST_FREQUENT = 0xD7
# One Chinese character between Latin letters is a pair of Latin letters, as in GRÖẞE.
_INSIDE_A_WORD = re.compile(r"(?<=[A-Za-z])[^\x00-\x7f](?=[A-Za-z])")
_WESTERN_SIGNS = "°±²³µ·½–—’§€"


@dataclass(frozen=True)
class Separated:
    """`titles`: one per column, as they stand, the empty ones too; `rows` have as many cells each."""

    separator: str
    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def text_of(data: bytes, name: str) -> str:
    """The text of a file: UTF-8, UTF-16 with its mark, Windows-1252 or GB18030.

    Raises:
        InputRejected: it is none of these, no text at all, or could be either of the last two.
    """
    if data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise InputRejected(f"{name} is a workbook; save it as CSV in UTF-8", code="table-unreadable")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = _decoded(data, "utf-16")
    else:
        text = _decoded(data, "utf-8-sig")
        text = _without_mark(data, name) if text is None else text
    if text is None or "\0" in text:
        raise InputRejected(f"{name} is no text in UTF-8, UTF-16, Windows-1252 or GB18030", code="table-unreadable")
    return text.removeprefix("\ufeff")


def _without_mark(data: bytes, name: str) -> str | None:
    """Windows-1252 where no two bytes beyond ASCII meet; else what makes words: Chinese ones, or Latin letters."""
    western, chinese = _decoded(data, "cp1252"), _decoded(data, "gb18030")
    if western is not None and not _PAIRED.search(data):
        return western
    if western is None or chinese is None:
        return western if chinese is None and western is not None and _is_western(western) else chinese
    beyond = [c for c in chinese if not c.isascii()]
    usual = sum(map(_is_usual, _INSIDE_A_WORD.sub("", chinese)))
    if 2 * usual >= len(beyond):
        return chinese
    if not usual and _is_western(western):
        return western
    raise InputRejected(f"{name} could be Windows-1252 or GB18030; save it in UTF-8", code="ambiguous-table")


def _decoded(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


def _is_western(text: str) -> bool:
    """Whether what is beyond ASCII are letters and the signs that stand in tables."""
    return all(c.isascii() or c.isalpha() or c in _WESTERN_SIGNS for c in text)


def _is_usual(character: str) -> bool:
    """Whether it is one of the 3,755 frequent characters or the signs of GB 2312."""
    try:
        pair = character.encode("gb2312")
    except UnicodeEncodeError:
        return False
    return len(pair) == 2 and pair[0] <= _LAST_FREQUENT


def separated(text: str, name: str, separator: str | None = None) -> Separated:
    """Titles and rows; `separator` None: the one of comma, semicolon and tab that makes a table of the text.

    Blank lines, empty lines at the end and columns without title and content are left out, and so are row numbers
    before the first column, as R and pandas write them.

    Raises:
        InputRejected: naming the rows whose cells are not as many as the titles, or the separators that would do.
    """
    if mark := re.match(r"\s*\"?sep=([,;\t])\"?[ \t,;]*(?:\r\n|\r|\n)", text):
        text, separator = text[mark.end() :], separator or mark.group(1)
    if not re.split(r"[\r\n]", text, maxsplit=1)[0].strip():
        raise InputRejected(f"{name} is empty", code="table-unreadable")
    chosen = separator or _separator(text, name)
    titles, rows = _parsed(text, chosen, name)
    if wrong := _uneven(titles, rows):
        listed = ", ".join(f"{len(rows[i])} in row {i + 1}" for i in wrong[:20])
        more = f" and others in rows {row_list([i + 1 for i in wrong[20:]])}" if len(wrong) > 20 else ""
        raise InputRejected(
            f"{name} is no table: {len(titles)} titles, but the cells are {listed}{more}", code="table-unreadable"
        )
    if rows and len(rows[0]) == len(titles) + 1:
        titles = ["", *titles]
    return Separated(chosen, *_without_padding(titles, rows))


def without_row_numbers(table: Separated) -> Separated:
    """The table without a first column of row numbers: untitled or with a name that programs give, and unique."""
    cells = [row[0].strip() for row in table.rows]
    if (
        not cells
        or table.titles[0] not in _ROW_NUMBERS
        or not all(re.fullmatch(r"\d+", cell, re.ASCII) for cell in cells)
    ):
        return table
    numbers = [int(cell) for cell in cells]
    in_a_row = numbers in (list(range(len(cells))), list(range(1, len(cells) + 1)))
    if not in_a_row and (table.titles[0] != "" or len(set(numbers)) < len(numbers)):
        return table
    return Separated(table.separator, table.titles[1:], tuple(row[1:] for row in table.rows))


def _separator(text: str, name: str) -> str:
    # Of the first line what is in quotes does not count.
    first = re.sub(r'"[^"]*"', "", re.split(r"[\r\n]", text.lstrip("\r\n"), maxsplit=1)[0])
    present = [s for s in SEPARATORS if s in first]
    if len(present) < 2:
        return present[0] if present else ","
    fitting = [s for s in present if not _uneven(*_parsed(text, s, name))]
    if len(fitting) > 1:
        named = " and ".join({",": "comma", ";": "semicolon", "\t": "tab"}[s] for s in fitting)
        raise InputRejected(
            f"{name}: {named} both make a table of the text; say which with separator in a file for --map",
            code="ambiguous-table",
        )
    return fitting[0] if fitting else max(present, key=first.count)


def _parsed(text: str, separator: str, name: str) -> tuple[list[str], list[list[str]]]:
    before = csv.field_size_limit(MOST_CELL_CHARACTERS)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        lines = [line for line in reader if len(line) > 1 or any(cell.strip() for cell in line)]
    except csv.Error as error:
        raise InputRejected(
            f"{name} is no CSV table: line {reader.line_num}: {error}", code="table-unreadable"
        ) from error
    finally:
        csv.field_size_limit(before)
    while len(lines) > 1 and not any(cell.strip() for cell in lines[-1]):
        lines.pop()
    if not lines:
        raise InputRejected(f"{name} is empty", code="table-unreadable")
    if "'" in text:
        lines = [[unescaped(cell) for cell in line] for line in lines]
    return [title.strip().strip("\ufeff").strip() for title in lines[0]], lines[1:]


def _uneven(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """Rows whose cells are not as many as the titles, or, in every row, one more: R's names of rows."""
    widths = {len(row) for row in rows}
    if widths == {len(titles) + 1} and len(titles) > 1:
        return []
    return [i for i, row in enumerate(rows) if len(row) != len(titles)]


def _without_padding(
    titles: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    padding = {j for j, title in enumerate(titles) if not title and not any(row[j].strip() for row in rows)}
    if not padding or len(padding) == len(titles):
        return tuple(titles), tuple(map(tuple, rows))
    columns = [j for j in range(len(titles)) if j not in padding]
    return tuple(titles[j] for j in columns), tuple(tuple(row[j] for j in columns) for row in rows)
