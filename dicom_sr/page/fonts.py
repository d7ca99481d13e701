"""Fonts of the page. DejaVu comes with matplotlib; Chinese, Japanese and Korean need a font of the system."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from fontTools.subset import Options  # type: ignore[import-untyped]
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

from pipeline.fonts import han_font_path

# Ligatures and other substitutions, kerning and placing of marks, and what both rest on; baselines.
LAYOUT_TABLES = ("GSUB", "GPOS", "GDEF", "kern", "BASE")
MISSING = "\N{WHITE SQUARE}"


@lru_cache(maxsize=1)
def _found() -> tuple[tuple[str, ...], frozenset[int]]:
    base = Path(font_manager.findfont("DejaVu Sans"))
    families, known = ["DejaVu Sans"], set(FT2Font(str(base)).get_charmap())
    path = han_font_path()
    if path is not None:
        font_manager.fontManager.addfont(str(path))
        font = FT2Font(str(path))
        _also_as_bold(font.family_name)
        families.append(font.family_name)
        known |= set(font.get_charmap())
    return tuple(families), frozenset(known)


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
    Options._drop_tables_default = [*usual, *(table for table in LAYOUT_TABLES if table not in usual)]
    try:
        yield
    finally:
        Options._drop_tables_default = usual


def families() -> list[str]:
    """Font families to try in turn, all of them present."""
    return list(_found()[0])


def drawable(text: str) -> str:
    """`text` with a box in place of each character that no font here has, and no control characters."""
    known = _found()[1]
    return "".join(c if ord(c) in known else MISSING for c in text if c.isprintable())


def has_all(text: str) -> bool:
    known = _found()[1]
    return all(ord(c) in known for c in text if c.isprintable())
