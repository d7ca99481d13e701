"""What stays of an exam's texts when its files have gone: the words that a rule reads, and nothing else of them.

An exam whose files retention removed is judged again when somebody sends more of it, and then by the names of the
series that it had. So each name keeps the letters and digits without which some rule would read it otherwise; a `*` or
a `0` stands for the others, among them whatever names a person.
"""

from __future__ import annotations

import re
from typing import Any  # Any: values of JSON

from pipeline.analysis.body_part import LOCALIZER, ExamRules
from pipeline.catalog import free_text
from pipeline.sequences.evidence import agent_is_named
from pipeline.sequences.name_verdict import NameReadings, readings_of
from pipeline.sequences.rules import Rules
from pipeline.vocabulary import normalise

# Of series, in which people write freely or which a site names; the others go altogether (`free_text`).
NAMES = ("SeriesDescription", "ProtocolName", "SequenceName", "PulseSequenceName", "BodyPartExamined")
AGENT = "ContrastBolusAgent"
# In the tags of facts that were cleaned.
CLEANED = "names_cleaned"
# A run of Latin letters, one letter of another writing, a number.
_RUN = re.compile(r"[A-Za-z\u00c0-\u024f]+|\d+|[^\W\d_]")
_GAPS = re.compile(r"\*(?:[\s_^]*\*)+")
_Readings = tuple[NameReadings, frozenset[str], bool]


class RemainingWords:
    """For the rules of one site. Names that were met before cost nothing."""

    def __init__(self, rules: Rules, exam_rules: ExamRules) -> None:
        self._rules = rules
        self._exam_concepts = {**exam_rules.ours, **{f"not {k}": v for k, v in exam_rules.elsewhere.items()}}
        self._cleaned: dict[str, str] = {}

    def of_document(self, document: dict[str, Any]) -> dict[str, Any]:
        """The facts of an instance whose file is gone, as JSON. Cleaning them again changes nothing."""
        remaining = free_text.after_the_files(document)
        tags = remaining.get("tags") or {}
        names = {name: self.of(_text(tags[name])) for name in NAMES if tags.get(name)}
        agent = {AGENT: "contrast agent"} if agent_is_named(tags.get(AGENT)) else {}
        return {**remaining, "tags": {**tags, **names, **agent, CLEANED: 1}}

    def of(self, name: str) -> str:
        """The name with all that no rule reads taken out. Every rule reads the two alike."""
        if name not in self._cleaned:
            cleaned, before = self._clean(name), name
            while cleaned != before:
                cleaned, before = self._clean(cleaned), cleaned
            self._cleaned[name] = cleaned
        return self._cleaned[name]

    def _clean(self, name: str) -> str:
        wanted = self._readings(name)
        text = name
        for run in reversed(list(_RUN.finditer(name))):
            filler = "0" if run[0].isdecimal() else "*"
            single = [(at, at + 1) for at in reversed(range(*run.span()))]
            for start, end in [run.span(), *single]:
                shorter = text[:start] + filler + text[end:]
                if self._readings(shorter) == wanted:
                    text = shorter
                    if (start, end) == run.span():
                        break
        without_gaps = _GAPS.sub("*", text)
        return without_gaps if self._readings(without_gaps) == wanted else text

    def _readings(self, name: str) -> _Readings:
        text = normalise(name)
        parts = frozenset(key for key, concept in self._exam_concepts.items() if concept.within(text))
        return readings_of(name, self._rules), parts, LOCALIZER.search(text) is not None


def _text(value: object) -> str:
    return "\\".join(map(str, value)) if isinstance(value, list) else str(value)
