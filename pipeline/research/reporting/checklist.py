"""Checklists of the field as data, and filled in.

TRIPOD+AI and CLEAR. An item that no file answers stays open and names who must answer it.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

from pipeline.research.reporting.answer import Answer, Material, Status, partly
from pipeline.research.reporting.topics import TOPICS
from pipeline.result import Record

NAMES = ("tripod_ai", "clear")
AUTHORS = "the study's authors"
WHO = {"authors": AUTHORS, "site": "the site"}


class Item(Record):
    """One item: its number and subject, what answers it, and who does where that leaves it open."""

    number: str
    section: str
    subject: str
    topic: str | None = None
    who: Literal["authors", "site"] = "authors"
    of: Literal["development", "evaluation"] | None = None
    essential: bool = True


class Checklist(Record):
    """A checklist with its source. `main_items`: numbers without the letters of their parts."""

    name: str
    year: int
    title: str
    authors: str
    doi: str
    main_items: int
    item: tuple[Item, ...]


@dataclass(frozen=True)
class Filled:
    """A checklist with an answer to each item, in its order."""

    checklist: Checklist
    answers: tuple[tuple[Item, Answer], ...]

    @property
    def counts(self) -> Counter[Status]:
        """How many items are answered, open, not applicable."""
        return Counter(answer.status for _, answer in self.answers)


@cache
def checklists() -> tuple[Checklist, ...]:
    """The checklists that ship."""
    folder = resources.files(__package__) / "data"
    texts = [(folder / f"{name}.toml").read_text(encoding="utf-8") for name in NAMES]
    return tuple(Checklist.model_validate(tomllib.loads(text)) for text in texts)


def fill(material: Material) -> tuple[Filled, ...]:
    """Every checklist, answered as far as the files know."""
    return tuple(
        Filled(checklist, tuple((item, _answer(item, material)) for item in checklist.item))
        for checklist in checklists()
    )


def _answer(item: Item, material: Material) -> Answer:
    if item.topic is None:
        return partly("", "the whole item: no file tells it")
    return TOPICS[item.topic](material)
