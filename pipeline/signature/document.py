"""A short document in sections, written as Markdown and as HTML: the model card, the methods section."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h2 { margin-top: 2rem; border-bottom: 2px solid #ddd }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { border-bottom: 1px solid #ddd; padding: .3rem .8rem; text-align: left; vertical-align: top }
td:first-child { min-width: 9rem }
code { font-size: 90%; overflow-wrap: anywhere }
.loud { background: #b00020; color: #fff; padding: 1rem; font-weight: 600 }
.open { background: #fff3cd; padding: .5rem 1rem; border-left: 4px solid #c98a00 }
"""


@dataclass(frozen=True)
class Grid:
    """A table; cells are text."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Warned:
    """A sentence that must not be overlooked."""

    text: str


@dataclass(frozen=True)
class Unknown:
    """What no file tells, so that the authors must."""

    what: str

    @property
    def text(self) -> str:
        return f"Unknown (the authors must say): {self.what}."


Block = str | Grid | Bullets | Warned | Unknown


@dataclass(frozen=True)
class Section:
    """Blocks under a heading. In text, `code` stands between backticks."""

    title: str
    blocks: tuple[Block, ...]


def facts(*rows: tuple[str, str]) -> Grid:
    """A table of names and values without heads; rows without a value are left out."""
    return Grid(("", ""), tuple(row for row in rows if row[1]))


def markdown(title: str, sections: Sequence[Section]) -> str:
    """The document as Markdown."""
    parts = [f"# {plain(title)}", ""]
    for section in sections:
        parts += [f"## {plain(section.title)}", ""] if section.title else []
        for block in section.blocks:
            parts += [*_lines(block), ""]
    return "\n".join(parts)


def page(title: str, sections: Sequence[Section]) -> str:
    """The document as one HTML page that needs nothing else."""
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style></head><body><h1>{html.escape(title)}</h1>{fragment(sections)}</body></html>\n"
    )


def fragment(sections: Sequence[Section], level: int = 2) -> str:
    """The sections as HTML, their headings of this level."""
    parts = []
    for section in sections:
        parts += [f"<h{level}>{html.escape(section.title)}</h{level}>"] if section.title else []
        parts += [_html(block) for block in section.blocks]
    return "".join(parts)


def inline(text: str) -> str:
    """Text as HTML."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


def plain(text: str) -> str:
    """Text as Markdown that holds no HTML: names of scanners, levels and cohorts are what somebody else wrote.

    What stands between backticks is shown as it is.
    """
    spans = re.split(r"(`[^`]+`)", text)
    return "".join(s if s.startswith("`") and len(s) > 1 else _without_markup(s) for s in spans)


def _without_markup(text: str) -> str:
    return re.sub(r"&(?=#?\w+;)", "&amp;", text).replace("<", "&lt;")


def _lines(block: Block) -> list[str]:
    match block:
        case Grid(heads, rows):
            return [_row(heads), _row(tuple("---" for _ in heads)), *(_row(row) for row in rows)]
        case Bullets(lines):
            return [f"- {plain(line)}" for line in lines]
        case Warned(text):
            return [f"**{plain(text)}**"]
        case Unknown():
            return [f"> {plain(block.text)}"]
        case _:
            return [plain(block)]


def _row(cells: tuple[str, ...]) -> str:
    return "|".join(["", *(f" {_cell(cell)} " if cell else " " for cell in cells), ""])


def _cell(text: str) -> str:
    return plain(" ".join(text.split())).replace("|", "\\|")


def _html(block: Block) -> str:
    match block:
        case Grid(heads, rows):
            head = f"<tr>{''.join(f'<th>{inline(h)}</th>' for h in heads)}</tr>" if any(heads) else ""
            body = "".join(f"<tr>{''.join(f'<td>{inline(cell)}</td>' for cell in row)}</tr>" for row in rows)
            return f"<table>{head}{body}</table>"
        case Bullets(lines):
            return f"<ul>{''.join(f'<li>{inline(line)}</li>' for line in lines)}</ul>"
        case Warned(text):
            return f'<p class="loud">{inline(text)}</p>'
        case Unknown():
            return f'<p class="open">{inline(block.text)}</p>'
        case _:
            return f"<p>{inline(block)}</p>"
