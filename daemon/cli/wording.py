"""How commands say things: widths, colours, ages, and reasons short enough for a line."""

from __future__ import annotations

import re
import shutil
import textwrap

from rich.console import Console
from rich.text import Text

WIDTH = 100
UID = re.compile(r"\b(?=[\d.]{12})[12](?:\.\d+){2,}")


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


def age(seconds: float) -> str:
    """A duration as a person says it."""
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {name}"
    return f"{max(seconds, 0):.0f} s"


def bytes_in_words(number: float) -> str:
    for size, name in ((1024**4, "TiB"), (1024**3, "GiB"), (1024**2, "MiB")):
        if number >= size:
            return f"{number / size:.1f} {name}"
    return f"{number / 1024:.0f} KiB"


def in_words(state: str, reason: str) -> str:
    """State and reason, which is made of noun phrases, as one sentence. What to type is said by whoever prints it."""
    return f"waiting, missing: {reason}" if state == "waiting" else f"{state}: {reason}"


def brief(reason: str) -> str:
    """A reason for one line of a list: of UIDs only their end."""
    return UID.sub(lambda uid: f"…{uid[0][-6:]}", reason)
