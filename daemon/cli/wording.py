"""How commands print: widths, colours, lines that are broken between words."""

from __future__ import annotations

import shutil
import textwrap

from rich.console import Console
from rich.text import Text

WIDTH = 100


def console() -> Console:
    """Colours only on a terminal; as wide as that, or as COLUMNS says, and never wider than WIDTH."""
    columns = shutil.get_terminal_size((WIDTH, 24)).columns
    return Console(width=min(WIDTH, columns), highlight=False, markup=False, emoji=False)


def hanging(out: Console, line: str, style: str = "", head: str = "", head_style: str = "") -> None:
    """Print a line broken between words, the rest of it indented. `head`: its beginning, in a style of its own."""
    whole = head + line
    deeper = " " * (len(whole) - len(whole.lstrip()) + 4)
    text = textwrap.fill(whole, out.width, subsequent_indent=deeper, break_long_words=False, break_on_hyphens=False)
    out.print(Text.assemble((text[: len(head)], head_style), (text[len(head) :], style)), soft_wrap=True)
