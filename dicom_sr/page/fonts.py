"""Fonts of the page. DejaVu comes with matplotlib; Chinese, Japanese and Korean need a font of the system."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from pathlib import Path

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

# Where Debian, Ubuntu, Fedora and Alpine put fonts with Han characters; `script/setup` installs the first.
HAN_FONTS = (
    "/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf",
    "/usr/share/fonts/truetype/droid/DroidSansFallback.ttf",
    "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/google-noto-cjk/NotoSansCJK-Regular.ttc",
)
MISSING = "\N{WHITE SQUARE}"


@lru_cache(maxsize=1)
def _found() -> tuple[tuple[str, ...], frozenset[int]]:
    base = Path(font_manager.findfont("DejaVu Sans"))
    families, known = ["DejaVu Sans"], set(FT2Font(str(base)).get_charmap())
    for path in HAN_FONTS:
        if Path(path).is_file():
            font_manager.fontManager.addfont(path)
            font = FT2Font(path)
            _also_as_bold(font.family_name)
            families.append(font.family_name)
            known |= set(font.get_charmap())
            break
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
