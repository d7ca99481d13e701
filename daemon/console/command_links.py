"""Commands that a sentence names, each with what does the same in the console, where the reader may use it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from daemon.console.orders import OF_EXAM
from daemon.finding import Finding

COMMAND = re.compile(r"`(axrad [^`]+)`|\b(axrad (?:retry|cancel|deliver|accept|reject) [0-9a-f]{16}(?: --[a-z-]+)*)")
STUDY = re.compile(r"[0-9a-f]{16}")
# Orders that are a command with an option.
OPTIONS: Final = {("retry", "--new-revision"): "redo", ("retry", "--accept-identity"): "accept-identity"}
# Of checks: the row of the table of pages, the page on which what they tell is seen, and its title.
PAGES: Final = {
    "destination": ("destinations", "/destinations", "Destinations"),
    "dead-letters": ("destinations", "/destinations", "Destinations"),
    "proposals": ("exams", "/exams?state=waiting", "Exams"),
    "workers": ("workers", "/workers", "Workers"),
    "features": ("signatures", "/signatures", "Signatures"),
    "in-use": ("signatures", "/signatures", "Signatures"),
}
May = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a sentence. `path` and `title`: what does the same here as a command; empty where nothing does."""

    text: str
    command: bool = False
    path: str = ""
    title: str = ""


def pieces(sentence: str, may: May) -> list[Piece]:
    """A sentence of ours, parted where it names commands."""
    parted, place = [], 0
    for match in COMMAND.finditer(sentence):
        command = match[1] or match[2]
        parted += [Piece(sentence[place : match.start()]), Piece(command, True, *_order(command, may))]
        place = match.end()
    return [piece for piece in (*parted, Piece(sentence[place:])) if piece.text]


def of_finding(finding: Finding, may: May) -> list[Piece]:
    """What a check says, in which others may have written, and its remedy, which is ours; last the page to look at."""
    statement = Piece(Finding(finding.code, finding.level, finding.text, subject=finding.subject).sentence + " ")
    remedy = pieces(f"{finding.remedy[:1].upper()}{finding.remedy[1:]}.", may) if finding.remedy else []
    return [statement, *remedy, *_page(finding.code, may)]


def _order(command: str, may: May) -> tuple[str, str]:
    verb, *rest = command.split()[1:]
    study = next((word for word in rest if STUDY.fullmatch(word)), "")
    name = next((OPTIONS[verb, word] for word in rest if (verb, word) in OPTIONS), verb)
    if not study or name not in OF_EXAM or not may(name):
        return "", ""
    return f"/exams/{study}/{name}", OF_EXAM[name].title


def _page(code: str, may: May) -> Iterator[Piece]:
    row, path, title = PAGES.get(code, ("", "", ""))
    if may(row):
        yield Piece("", path=path, title=title)
