"""Role, side and number of a measurement, by the codes and words that are used for segments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.measurements.graphics import Unusable
from pipeline.records import Code, InstanceRef, Role, Side
from pipeline.roi.describe import Description
from pipeline.roi.roles import read_words, role_of, side_of
from pipeline.roi.rules import Rules

# A tracking identifier that names the tool that drew, not what was drawn: "Cornerstone3DTools@^0.1.0:Bidirectional".
_TOOL = re.compile(r"(?i)^[a-z0-9 ]*(tools?|cornerstone[a-z0-9]*)@|^web annotation$|^[0-9.]+$|^[0-9a-f-]{32,36}$")
# A number that stands alone or behind a word for a lesion: not "T2", "23 mm", "4 x 5", "BI-RADS 5", "1.5".
_NUMBER = re.compile(
    r"(?i)(?:(?<![\w.,/])|(?<=[^\W\d_a-z])|(?<=\bln)|(?<=\blk)|(?<=node)|(?<=tumor)|(?<=tumour)|(?<=lesion)|(?<=mass))"
    r"#?(\d{1,3})(?![\d.,]*\d|\s*(?:mm|cm|ml|cc|%|x\b|×|years?|weeks?|[.:/]\d))(?![a-z_])"
)
# A size in a label says nothing of whose it is; behind a plus it is a margin, which does.
_SIZE = re.compile(r"(?i)(?<![\d.,+±])(?<![+±]\s)\d+(?:[.,]\d+)?(?:\s*[x×*]\s*\d+(?:[.,]\d+)?)*\s*(?:mm|cm)\b")
_NOT_A_NUMBER = re.compile(r"(?i)bi-?rads\s*\d\w?|level\s*\d|\bT[1-4]\w?\b|\bN[0-3]\w?\b|\b(grade|phase|b)\s*[\d.]+")


@dataclass(frozen=True, slots=True)
class Said:
    """Texts and codes of one measurement. `labels`: every text, the one meant as a label first."""

    labels: tuple[str, ...] = ()
    finding: Code | None = None
    category: Code | None = None
    sites: tuple[Code, ...] = ()
    modifiers: tuple[Code, ...] = ()
    tracking_id: str = ""

    @property
    def label(self) -> str:
        """The text that messages show."""
        return next(iter(self.labels), "") or self.tracking_text

    @property
    def tracking_text(self) -> str:
        """The tracking identifier, unless it names a tool."""
        return "" if _TOOL.search(self.tracking_id) else self.tracking_id


@dataclass(frozen=True, slots=True)
class Understood:
    """`lesion`: the number in the label, None where it has none or several."""

    role: Role
    side: Side | None
    lesion: int | None
    why: str


def understand(words: Said, rules: Rules) -> Understood:
    """Raises Unusable if texts and codes name no role, neither role, or contradict each other."""
    texts = [t for t in (_SIZE.sub(" ", each).strip() for each in (*words.labels, words.tracking_text)) if t]
    described = Description(
        Path(),
        InstanceRef("", "", "", ""),
        0,
        texts[0] if texts else "",
        " / ".join(texts[1:]),
        words.category,
        words.finding,
        words.sites,
        words.modifiers,
    )
    by_text = {v.role for v in (read_words(t, rules) for t in texts) if v.role and not v.general}
    if len(by_text) > 1:
        raise Unusable("contradictory", "the texts of the measurement name both a tumour and a lymph node")
    recognised = role_of(described, rules)
    if recognised.role is None:
        raise Unusable("contradictory" if recognised.unclear else "no-role", recognised.why)
    sides = [side_of(replace(described, label=text), rules) for text in texts or [""]]
    if any(contradictory for _, contradictory in sides) or {s for s, _ in sides} >= {"L", "R"}:
        raise Unusable("contradictory", "the texts and codes of the measurement name both sides")
    side = next((s for s, _ in sides if s), None)
    return Understood(recognised.role, side, _lesion(texts), recognised.why)


def _lesion(texts: Sequence[str]) -> int | None:
    """The one number of the first text that has numbers."""
    for text in texts:
        numbers = {int(n) for n in _NUMBER.findall(_NOT_A_NUMBER.sub(" ", text))} - {0}
        if numbers:
            return next(iter(numbers)) if len(numbers) == 1 else None
    return None
