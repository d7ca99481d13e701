"""What a series' names say, by the rule tables alone."""

from __future__ import annotations

import re
from typing import NamedTuple

from pipeline.sequences.records import Label
from pipeline.sequences.rules import Rules
from pipeline.vocabulary import normalise

__all__ = [
    "PHASE_NUMBER", "NameReadings", "NameVerdict", "base_of_phase", "judge", "normalise", "ordinal_of_subtraction",
    "readings_of", "subtracted_series",
]  # fmt: skip


class NameVerdict(NamedTuple):
    """`concepts`: all that the name says, by the names of the rule tables."""

    label: Label
    confidence: float
    why: str
    concepts: frozenset[str]


def judge(name: str, vendor: str, rules: Rules) -> NameVerdict:
    """The label that a name alone suggests; `other` with little confidence where it says nothing known."""
    text = normalise(name)
    concepts = _concepts(text, rules)
    maker = vendor.lower()
    for decision in rules.decisions:
        if decision.fits(concepts, maker):
            shown = sorted((decision.all_of | decision.any_of) & concepts)
            return NameVerdict(decision.label, decision.confidence, f"its name says {', '.join(shown)}", concepts)
    return NameVerdict("other", 0.2, "its name says nothing known", concepts)


def _concepts(text: str, rules: Rules) -> frozenset[str]:
    return frozenset(key for key, concept in rules.concepts.items() if concept.within(text))


# The number of a phase in a name; GE's mask has the same name without it and so comes first.
PHASE_NUMBER = re.compile(r"(?<![a-z])ph(?:ase)? ?(\d+)(?![a-z0-9])")
_PHASE_PREFIX = re.compile(r"^(?P<before>.*?(?:^|: *))ph ?\d+ ?[/:_ -] ?(?P<base>.+)$")


def base_of_phase(name: str) -> str | None:
    """The name of the mask that a normalised name of the form "Ph2/NAME" belongs to; None for other names."""
    match = _PHASE_PREFIX.match(name)
    return match["before"] + match["base"] if match else None


def subtracted_series(name: str) -> int | None:
    """The number of the series that a subtraction was made from: "(10037/801/1)-(10037/800/1)", "SUB_S8-S5"."""
    numbers = re.search(r"\(\d+/(\d+)/[^)]*\)\s*-\s*\(", name) or re.search(r"S(\d+)\s*-\s*S?\d+", name, re.IGNORECASE)
    return int(numbers[1]) if numbers else None


def ordinal_of_subtraction(name: str) -> int | None:
    """The number of the phase that a subtraction was made from: "SUB 2", "PH 2"."""
    ordinal = re.search(r"(?:sub|ph|phase|pass)\D{0,4}(\d{1,2})\b", name, re.IGNORECASE)
    return int(ordinal[1]) if ordinal else None


class NameReadings(NamedTuple):
    """All that matching reads in a name, whether or not it comes to bear."""

    concepts: frozenset[str]
    phase: str | None
    follows_a_mask: bool
    subtracted: int | None
    ordinal: int | None


def readings_of(name: str, rules: Rules) -> NameReadings:
    """Two names with the same readings are judged alike."""
    text = normalise(name)
    numbered = PHASE_NUMBER.search(text)
    return NameReadings(
        _concepts(text, rules),
        numbered[1] if numbered else None,
        base_of_phase(text) is not None,
        subtracted_series(name),
        ordinal_of_subtraction(name),
    )
