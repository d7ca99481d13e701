"""What a series' names say, by the rule tables alone."""

from __future__ import annotations

import re
from typing import NamedTuple

from pipeline.sequences.records import Label
from pipeline.sequences.rules import Rules
from pipeline.vocabulary import normalise

__all__ = ["NameVerdict", "base_of_phase", "judge", "normalise"]


class NameVerdict(NamedTuple):
    """`concepts`: all that the name says, by the names of the rule tables."""

    label: Label
    confidence: float
    why: str
    concepts: frozenset[str]


def judge(name: str, vendor: str, rules: Rules) -> NameVerdict:
    """The label that a name alone suggests; `other` with little confidence where it says nothing known."""
    text = normalise(name)
    concepts = frozenset(key for key, concept in rules.concepts.items() if concept.within(text))
    maker = vendor.lower()
    for decision in rules.decisions:
        if decision.fits(concepts, maker):
            shown = sorted((decision.all_of | decision.any_of) & concepts)
            return NameVerdict(decision.label, decision.confidence, f"its name says {', '.join(shown)}", concepts)
    return NameVerdict("other", 0.2, "its name says nothing known", concepts)


_PHASE_PREFIX = re.compile(r"^(?P<before>.*?(?:^|: *))ph ?\d+ ?[/:_ -] ?(?P<base>.+)$")


def base_of_phase(name: str) -> str | None:
    """The name of the mask that a normalised name of the form "Ph2/NAME" belongs to; None for other names."""
    match = _PHASE_PREFIX.match(name)
    return match["before"] + match["base"] if match else None
