"""Which font draws which character. DejaVu comes with matplotlib; other scripts need a font of the system."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from matplotlib import get_data_path
from matplotlib.ft2font import FT2Font
from PIL import ImageFont

ROOT = Path("/usr/share/fonts")
# Where Debian, Ubuntu, Fedora and Alpine put them, in the order in which they are asked; `script/setup` installs
# WenQuanYi (Chinese, Japanese, Korean) and Noto's UI fonts (Thai, Devanagari and other scripts of Asia).
PATTERNS = (
    "**/wqy-microhei.ttc",
    "**/DroidSansFallbackFull.ttf",
    "**/DroidSansFallback.ttf",
    "**/NanumGothic.ttf",
    "**/NotoSans*UI-Regular.ttf",
    "**/NotoSans?*-Regular.ttf",
    "**/NotoSansCJK-Regular.ttc",
)
# A character of each script that must be drawable, beyond what DejaVu has (Latin, Greek, Cyrillic, Arabic, Hebrew).
SCRIPTS = {"Chinese": "王", "Japanese": "や", "Korean": "홍", "Thai": "ส", "Devanagari": "क"}
PACKAGES = "fonts-wqy-microhei fonts-noto-ui-core"

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@cache
def own_font_path() -> Path:
    """DejaVu Sans, which is always there."""
    return Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


@cache
def font_path(character: str) -> Path | None:
    """The first font that has this character; None where no font here has it."""
    return next((path for path in (own_font_path(), *_installed()) if ord(character) in _characters(path)), None)


def missing_scripts() -> list[str]:
    """The scripts that no font here draws."""
    return [name for name, character in SCRIPTS.items() if font_path(character) is None]


def font_for(character: str, size: int) -> Font:
    """The font that draws this character in a picture; DejaVu's box where none does."""
    return _font(font_path(character) or own_font_path(), size)


@cache
def _installed() -> tuple[Path, ...]:
    return tuple(dict.fromkeys(path for pattern in PATTERNS for path in sorted(ROOT.glob(pattern))))


@cache
def fingerprint() -> str:
    """SHA-256 that tells apart sets of fonts which may draw a text differently.

    A font's table directory, at its beginning, has a checksum of each of its tables.
    """
    digest = hashlib.sha256()
    for path in (own_font_path(), *_installed()):
        for face in (path, bold_path(path)):
            if face is not None:
                with face.open("rb") as file:
                    digest.update(f"{face.name}\0{face.stat().st_size}\0".encode() + file.read(4096))
    return digest.hexdigest()


def bold_path(path: Path) -> Path | None:
    """The bold face of a font, where it has one."""
    bold = path.with_name(path.stem.removesuffix("-Regular") + "-Bold" + path.suffix)
    return bold if bold.is_file() else None


@cache
def _characters(path: Path) -> frozenset[int]:
    """What a font has, in both its faces; nothing where the file is no font that can be read."""
    try:
        faces = [FT2Font(str(face)).get_charmap() for face in (path, bold_path(path)) if face is not None]
    except (OSError, RuntimeError, ValueError):
        return frozenset()
    return frozenset.intersection(*map(frozenset, faces))


@cache
def _font(path: Path, size: int) -> Font:
    return ImageFont.truetype(str(path), size)
