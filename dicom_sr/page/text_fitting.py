"""How texts fit their boxes: smaller, then wrapped, then cut with an ellipsis at the end that matters least."""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal  # Any: arguments of matplotlib's `text`, each of its own type

from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from dicom_sr.page import fonts

DPI = 144
# Letters as they are, and none beyond Latin-1 where a shape or three dots do: for ligatures and for others a PDF embeds
# the font once more, which takes as long as drawing the page; and a ligature is not found by who looks for "fi".
FEATURES = ("-liga", "-clig")
CUT = "..."
# Of the size of letters: the distance of lines, and what of the first is above its baseline. Scripts with marks above
# and below letters need it.
PITCH, ASCENT = 1.35, 1.0

# Marks that begin or end what they stand beside; Latin ones are narrow, and so are Chinese quotation marks.
_OPENING, _CLOSING = "（《【“‘([", "）》】”’)],.;:%"

Keep = Literal["start", "end"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a row. Pieces of the lowest `rank` are cut first; `keep`: the end of it that matters more."""

    text: str
    rank: int = 0
    keep: Keep = "start"
    colour: str = "#f2f4f5"
    bold: bool = False


def style(text: str, px: float, bold: bool) -> dict[str, Any]:
    """What matplotlib needs to draw `text` with letters of `px` pixels."""
    font = FontProperties(family=list(fonts.families(text)), size=px * 72 / DPI, weight="bold" if bold else "normal")
    return {"fontproperties": font, "fontfeatures": FEATURES}


@lru_cache(maxsize=1)
def _probe() -> tuple[Figure, RendererAgg]:
    figure = Figure(figsize=(1, 1), dpi=DPI)
    return figure, FigureCanvasAgg(figure).get_renderer()


@lru_cache(maxsize=8192)
def width(text: str, px: float, *, bold: bool = False) -> float:
    """How many pixels wide a line is."""
    if not text:
        return 0.0
    figure, renderer = _probe()
    probe = figure.text(0, 0, text, parse_math=False, **style(text, px, bold))
    box = probe.get_window_extent(renderer)
    probe.remove()
    return float(box.width)


def line(
    text: str, px: float, least: float, room: float, *, bold: bool = False, keep: Keep = "start"
) -> tuple[str, float]:
    """`text` and its size: smaller down to `least` where it is too wide for `room`, then cut."""
    if width(text, px, bold=bold) <= room:
        return text, px
    for size in _sizes(px, least):
        if width(text, size, bold=bold) <= room:
            return text, size
    return cut(text, min(px, least), room, bold=bold, keep=keep), min(px, least)


def cut(text: str, px: float, room: float, *, bold: bool = False, keep: Keep = "start") -> str:
    """`text`, cut with an ellipsis to the width of `room`; nothing where not even the ellipsis fits."""
    if width(text, px, bold=bold) <= room:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if width(_short(text, middle, keep), px, bold=bold) <= room else (low, middle - 1)
    return _short(text, low, keep) if low or width(CUT, px, bold=bold) <= room else ""


def _short(text: str, count: int, keep: Keep) -> str:
    """The first or last `count` characters; a mark is not parted from its letter."""
    if keep == "end":
        start = len(text) - count
        while start < len(text) and unicodedata.category(text[start])[0] == "M":
            start += 1
        return CUT + text[start:].lstrip()
    while 0 < count < len(text) and unicodedata.category(text[count])[0] == "M":
        count -= 1
    return text[:count].rstrip() + CUT


def pieces(given: Sequence[Piece], px: float, least: float, room: float) -> tuple[float, float, list[float]]:
    """The size of letters for a row, the gap between its pieces, and the width of each."""
    size = gap = 0.0
    shares: list[float] = []
    for size in (px, *_sizes(px, least)):
        shares = [width(p.text, size, bold=p.bold) for p in given]
        gap = size
        if sum(shares) + gap * (len(given) - 1) <= room:
            return size, gap, shares
    excess = sum(shares) + gap * (len(given) - 1) - room
    for n in sorted(range(len(given)), key=lambda n: given[n].rank):
        taken = min(excess, max(0.0, shares[n] - 6 * size))
        shares[n] -= taken
        excess -= taken
    for n in sorted(range(len(given)), key=lambda n: given[n].rank):
        taken = min(max(0.0, excess), shares[n])
        shares[n] -= taken
        excess -= taken
    return size, gap, shares


def lines(
    text: str, px: float, least: float, room: float, height: float, *, bold: bool = False
) -> tuple[list[str], float, bool]:
    """`text` wrapped, its size, and whether it was cut: as large as fits into the box, but at least `least`."""
    size = px
    wrapped: list[str] = []
    for size in (px, *_sizes(px, least)):
        wrapped = wrap(text, size, room, bold=bold)
        if len(wrapped) * size * PITCH <= height + 0.01:
            return wrapped, size, False
    count = int((height + 0.01) // (size * PITCH))
    if count == 0:
        return [], size, bool(wrapped)
    last = cut(" ".join(wrapped[count - 1 :]), size, room, bold=bold)
    return [*wrapped[: count - 1], last], size, True


def wrap(text: str, px: float, room: float, *, bold: bool = False) -> list[str]:
    """Lines not wider than `room`, broken between words and between Chinese characters; a word that is longer than a
    line is broken."""
    wrapped: list[str] = []
    here = ""
    for word in text.split():
        rest = word
        while rest:
            joined = f"{here} {rest}" if here else rest
            if width(joined, px, bold=bold) <= room or (not here and len(rest) == 1):
                here = joined
                break
            before = len(joined) - len(rest)
            places = [before + place for place in _breaks(rest)]
            most = bisect_right(places, room, key=lambda place: width(joined[:place], px, bold=bold))
            end = places[most - 1] if most else before or _fitting(rest, px, room, bold)
            wrapped.append(joined[:end].rstrip())
            here, rest = "", joined[end:]
    return [*wrapped, here] if here else wrapped


def _breaks(word: str) -> list[int]:
    """Where a line may end within a word: beside a Chinese character, but not before a mark that closes, nor after one
    that opens."""
    wide = [unicodedata.east_asian_width(c) in ("W", "F") for c in word]
    return [
        n
        for n in range(1, len(word))
        if (wide[n - 1] or wide[n])
        and not (wide[n] and unicodedata.category(word[n])[0] == "P" and word[n] not in _OPENING)
        and word[n] not in _CLOSING
        and word[n - 1] not in _OPENING
        and unicodedata.category(word[n])[0] != "M"
    ]


def _fitting(word: str, px: float, room: float, bold: bool) -> int:
    """How many characters of a word fill a line: at least one, and no mark is parted from its letter."""
    low, high = 1, len(word) - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if width(word[:middle], px, bold=bold) <= room else (low, middle - 1)
    while low > 1 and unicodedata.category(word[low])[0] == "M":
        low -= 1
    return low


def _sizes(px: float, least: float) -> list[float]:
    """Smaller sizes, a pixel at a time."""
    sizes = []
    size = px - 1
    while size > least:
        sizes.append(size)
        size -= 1
    return [*sizes, least] if least < px else []
