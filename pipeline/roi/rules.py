"""The rule table that says which codes and words mean what: `config/roi_rules.toml`, and a site's own before it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from pipeline.errors import InputRejected
from pipeline.records import Code

GROUPS = (
    "tumor",
    "lymph_nodes",
    "metastasis",
    "axillary_regions",
    "breast_regions",
    "neither",
    "left",
    "right",
    "both",
)


@dataclass(frozen=True, slots=True)
class Group:
    """Codes ("scheme:value", a trailing * is a prefix) and words that mean one thing."""

    codes: tuple[str, ...]
    words: tuple[tuple[str, ...], ...]
    foreign: tuple[str, ...]

    def has_code(self, code: Code | None) -> bool:
        if code is None:
            return False
        name = f"{'SRT' if code.scheme in ('SNM3', '99SDM') else code.scheme}:{code.value}"
        return any(name.startswith(c[:-1]) if c.endswith("*") else name == c for c in self.codes)

    def word_in(self, text: str) -> str | None:
        """The first of the words that stands in the text, whole; words in Chinese anywhere."""
        tokens = words_of(text)
        for word in self.words:
            if any(tokens[i : i + len(word)] == word for i in range(len(tokens) - len(word) + 1)):
                return " ".join(word)
        return next((w for w in self.foreign if w in text), None)


Rules = Mapping[str, Group]


def words_of(text: str) -> tuple[str, ...]:
    """Words in lower case; digits, punctuation and a capital after a small letter end one: LymphNode2 is two words."""
    spread = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return tuple(re.findall(r"[a-z]+", spread.lower()))


@cache
def load_rules(own: Path | None = None) -> Rules:
    """The table, with the site's lists before ours. Raises InputRejected if the site's file is wrong."""
    ours = tomllib.loads(resources.files("config").joinpath("roi_rules.toml").read_text(encoding="utf-8"))
    theirs = _read(own) if own else {}
    base = {} if theirs.pop("replace", False) else ours
    return {name: _group((theirs.get(name, {}), base.get(name, {}))) for name in GROUPS}


def _read(path: Path) -> dict[str, Any]:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputRejected(f"the ROI rules {path} cannot be read: {error}") from error
    for name, group in data.items():
        if name == "replace" and isinstance(group, bool):
            continue
        if name not in GROUPS or not isinstance(group, dict) or not set(group) <= {"codes", "words"}:
            raise InputRejected(f"the ROI rules {path}: [{name}] is none of {', '.join(GROUPS)} with codes and words")
        if not all(isinstance(v, list) and all(isinstance(x, str) for x in v) for v in group.values()):
            raise InputRejected(f"the ROI rules {path}: codes and words of [{name}] must be lists of strings")
    return data


def _group(tables: Iterable[Mapping[str, list[str]]]) -> Group:
    tables = tuple(tables)
    words = [w for t in tables for w in t.get("words", [])]
    plain = [w for w in words if w.isascii()]
    return Group(
        tuple(c for t in tables for c in t.get("codes", [])),
        tuple(words_of(w) for w in plain),
        tuple(w for w in words if not w.isascii()),
    )
