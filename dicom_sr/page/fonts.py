"""Fonts of the page. DejaVu comes with matplotlib; Chinese, Japanese and Korean need a font of the system."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from pathlib import Path

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

from pipeline.fonts import han_font_path

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
