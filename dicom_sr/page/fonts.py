"""Fonts of the page: for each character the first font that has it, and only fonts that a text needs."""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from fontTools.subset import Options  # type: ignore[import-untyped]
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

from pipeline.pictures.fonts import bold_path, font_path, own_font_path

# Ligatures and other substitutions, kerning and placing of marks, and what both rest on; baselines.
LAYOUT_TABLES = ("GSUB", "GPOS", "GDEF", "kern", "BASE")
# What the makers' tools leave in some fonts.
TOOL_TABLES = ("TSI0", "TSI1", "TSI2", "TSI3", "TSI5")
MISSING = "\N{WHITE SQUARE}"
OWN = "DejaVu Sans"


@cache
def _family(path: Path) -> str:
    """Makes a font of the system known to matplotlib, with its bold face where it has one; its family's name."""
    font_manager.fontManager.addfont(str(path))
    name = str(FT2Font(str(path)).family_name)
    bold = bold_path(path)
    if bold is not None:
        font_manager.fontManager.addfont(str(bold))
    else:
        _also_as_bold(name)
    return name


def _also_as_bold(family: str) -> None:
    """These fonts have one weight; without an entry for bold, each look-up would complain."""
    entries = font_manager.fontManager.ttflist
    regular = next(entry for entry in reversed(entries) if entry.name == family)
    if not any(entry.name == family and entry.weight in (700, "bold") for entry in entries):
        entries.append(dataclasses.replace(regular, weight=700))


@contextmanager
def shapes_only() -> Iterator[None]:
    """Fonts are embedded without their tables for laying out text, which takes half the time of writing a PDF.

    Text in a PDF is laid out already: each glyph has its place. fontTools knows such tables as `drop_tables`, but
    matplotlib hands it none of ours, so they are added to its defaults meanwhile.
    """
    usual = Options._drop_tables_default
    unwanted = (*LAYOUT_TABLES, *TOOL_TABLES)
    Options._drop_tables_default = [*usual, *(table for table in unwanted if table not in usual)]
    try:
        yield
    finally:
        Options._drop_tables_default = usual


def families(text: str) -> tuple[str, ...]:
    """Font families that draw `text`, to be tried in turn for each character."""
    paths = {font_path(c) for c in set(text)} - {None, own_font_path()}
    return (OWN, *sorted(_family(path) for path in paths if path is not None))


def drawable(text: str) -> str:
    """`text` with a box in place of each character that no font here has; spaces are plain, and what has no shape
    (control and formatting characters) is left out."""
    return "".join(c if font_path(c) is not None else MISSING for c in _shapes(text))


def undrawable(text: str) -> str:
    """The characters that no font here has, each once."""
    return "".join(dict.fromkeys(c for c in _shapes(text) if font_path(c) is None))


def _shapes(text: str) -> str:
    one_line = (" " if c.isspace() else c for c in text)
    return "".join(c for c in one_line if unicodedata.category(c) not in ("Cc", "Cf", "Cs"))


def shaped(text: str) -> bool:
    """Whether the glyphs of `text` are not its characters one by one: scripts of South and South-East Asia, combining
    marks, half-width katakana with voicing marks. Not those from right to left: readers of a PDF put their glyphs in
    order by themselves."""
    return any(
        "\u0300" <= c <= "\u036f" or "\u0900" <= c <= "\u109f" or "\u1780" <= c <= "\u1cff" for c in text
    ) or any("\uff61" <= c <= "\uff9f" or "\u3099" <= c <= "\u309c" for c in text)
