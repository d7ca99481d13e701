"""One language: its words by key, and what the analysis says, in it.

Codes, numbers and `result.json` are the same in every language. The analysis writes its sentences in English; `told`
finds the sentence in the English table, takes its fields out and puts them into the sentence of this language.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

from config.schema import Settings
from dicom_sr.language.sentence_patterns import Patterns
from pipeline.records import Code

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
_CODES: Mapping[Language, Code] = MappingProxyType(
    {"en": Code("en", "RFC5646", "English"), "zh": Code("zh", "RFC5646", "Chinese")}
)
# Of what is told only in another language than that of the analysis.
SEPARATOR = "; "
# Numbers need no language.
_WORD = re.compile(r"[A-Za-z]{3}")

Table = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Words:
    """Called with a key and the fields of its sentence. `patterns` None: the analysis speaks this language."""

    language: Language
    table: Table = field(repr=False)
    patterns: Patterns | None = field(default=None, repr=False)

    @property
    def code(self) -> Code:
        return _CODES[self.language]

    def __call__(self, key: str, /, **fields: object) -> str:
        return self.table["words"][key].format(**fields)

    def listed(self, parts: Iterable[str], by: str = "semicolon") -> str:
        """Parts with what stands between them: `semicolon`, `comma`, `and`, `or` or `gap`."""
        return self(by).join(parts)

    def told(self, sentence: str, code: str = "") -> str:
        """A sentence of the analysis. What is not in the table is told by its code, else where it can be read."""
        if self.patterns is None or not _WORD.search(sentence):
            return sentence
        translated = self.known(sentence)
        return translated or self.table["codes"].get(code) or self("reason_elsewhere")

    def known(self, sentence: str) -> str | None:
        """The same where the table has it, else None. In English everything is known."""
        if self.patterns is None:
            return sentence
        whole = self.patterns.match(sentence)
        if whole is not None:
            key, fields = whole
            return self._filled(key, fields).rstrip("。")
        pieces = sentence.split(SEPARATOR)
        for count in range(len(pieces) - 1, 0, -1):
            whole = self.patterns.match(SEPARATOR.join(pieces[:count]))
            if whole is not None:
                key, fields = whole
                rest = self.told(SEPARATOR.join(pieces[count:]))
                return self.listed((self._filled(key, fields).rstrip("。"), rest))
        return None

    def named(self, name: str) -> str:
        """What stands in a field of a sentence: a name that has another one in this language, else as it is."""
        if self.patterns is None:
            return name
        key = self.patterns.names.get(name)
        return name if key is None else self.table["names"][key]

    def _filled(self, key: str, fields: Mapping[str, str]) -> str:
        filled = {name: self._field(name, text) for name, text in fields.items()}
        return self.table["reasons"][key].format(**filled)

    def _field(self, name: str, text: str) -> str:
        """A field that holds sentences is told, one that holds a name or names is named."""
        kind = name.rstrip("0123456789")
        if kind in Patterns.SENTENCES:
            return self.told(text)
        if kind in Patterns.LISTS:
            return self.listed(self._entry(one) for one in text.split(SEPARATOR))
        named = self.named(text)
        if named != text:
            return named
        return self.listed((self._entry(one) for one in text.split(", ")), "comma") if ", " in text else text

    def _entry(self, text: str) -> str:
        """One of several: a sentence, a name, or a value as it is."""
        named = self.named(text)
        return named if named != text or " " not in text else self.known(text) or text


@cache
def words_in(language: Language) -> Words:
    table = _read(language)
    if language == "en":
        return Words(language, table)
    english = _read("en")
    return Words(language, table, Patterns.of(english["reasons"], english["names"]))


def words_of(settings: Settings) -> Words:
    """In the language that the settings ask for."""
    return words_in(settings.report.language)


def _read(language: Language) -> Table:
    return tomllib.loads((Path(__file__).parent / f"{language}.toml").read_text("utf-8"))


ENGLISH = words_in("en")
