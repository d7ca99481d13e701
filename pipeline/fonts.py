"""Where fonts with Han characters lie; those that come with our packages have none."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from PIL import ImageFont

# Where Debian, Ubuntu, Fedora and Alpine put them; `script/setup` installs the first.
HAN_FONTS = (
    "/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf",
    "/usr/share/fonts/truetype/droid/DroidSansFallback.ttf",
    "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/google-noto-cjk/NotoSansCJK-Regular.ttc",
)
# Scripts from the CJK radicals on are not in the Latin font.
FIRST_HAN = 0x2E80

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@cache
def han_font_path() -> Path | None:
    """The first that is installed."""
    return next((path for path in map(Path, HAN_FONTS) if path.is_file()), None)


def font_for(character: str, size: int) -> Font:
    """The font that draws this character: Pillow's own, or one of the system for Han characters."""
    return _font(han_font_path() if ord(character) >= FIRST_HAN else None, size)


@cache
def _font(path: Path | None, size: int) -> Font:
    return ImageFont.truetype(str(path), size) if path else ImageFont.load_default(size)
