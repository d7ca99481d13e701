"""Finds which sentence of the English table a text is, and what stands in its fields."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

_FIELD = re.compile(r"\{(\w+)\}")
_ANY, _WORD, _NUMBER = r".+", r"\S+", r"[-+<>]?\d[\d.,e+-]*(?: ?%)?"
# What a field can hold, by its name without a number at its end; all others whatever ends with the sentence.
_KINDS = {
    **dict.fromkeys(("sentence", "sentences", "why", "reasons", "segments"), _ANY),
    **dict.fromkeys(("count", "total", "number", "share", "off", "degrees", "ratio", "drawn"), _NUMBER),
    **dict.fromkeys(("input", "group", "keyword"), r"[\w.=-]+"),
    **dict.fromkeys(("signature", "other"), _WORD),
    "side": "[LR]",
}


@dataclass(frozen=True, slots=True)
class Patterns:
    """`names`: the key of what stands in a field. A sentence with more words of its own is tried first."""

    SENTENCES: ClassVar = frozenset({"sentence", "sentences", "why"})
    LISTS: ClassVar = frozenset({"reasons", "segments"})
    patterns: tuple[tuple[str, re.Pattern[str]], ...]
    names: Mapping[str, str]

    @classmethod
    def of(cls, reasons: Mapping[str, str], names: Mapping[str, str]) -> Patterns:
        ordered = sorted(reasons.items(), key=lambda item: -len(_FIELD.sub("", item[1])))
        one_of = "|".join(re.escape(name) for name in sorted(names.values(), key=len, reverse=True))
        compiled = tuple((key, re.compile(_pattern(text, one_of), re.DOTALL)) for key, text in ordered)
        return cls(compiled, {text: key for key, text in names.items()})

    def match(self, sentence: str) -> tuple[str, dict[str, str]] | None:
        """The key of the sentence and its fields; None where the table has none like it."""
        for key, pattern in self.patterns:
            match = pattern.fullmatch(sentence)
            if match is not None:
                return key, match.groupdict()
        return None


def _pattern(text: str, names: str) -> str:
    parts = _FIELD.split(text.rstrip("."))
    return "".join(_field(part, names) if n % 2 else re.escape(part) for n, part in enumerate(parts)) + r"\.?"


def _field(name: str, names: str) -> str:
    if name.startswith("_"):
        return f"(?P<{name}>{_ANY})"
    kind = name.rstrip("0123456789")
    inside = names if kind == "region" else _KINDS.get(kind, r"(?:(?!; ).)*?")
    return f"(?P<{name}>{inside})"
