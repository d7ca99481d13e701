"""What regions are called: codes of `roi_rules.toml`, words of `vocabulary.toml`, and a site's own before both."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pipeline.errors import InputRejected
from pipeline.records import Code
from pipeline.vocabulary import FILE, Concept, Table, built_in_table, concepts_of, normalise, site_table

# The groups of a rule file, and the concept of the vocabulary that has their words.
CONCEPTS = {
    "tumor": "tumor",
    "lymph_nodes": "lymph_nodes",
    "metastasis": "metastasis",
    "axillary_regions": "axilla",
    "breast_regions": "breast",
    "neither": "neither",
    "left": "left",
    "right": "right",
    "both": "both_sides",
}
GROUPS = tuple(CONCEPTS)
# Concepts that are words alone.
WORDS = (
    "lesion",
    "gtv",
    "nodal_gtv",
    "primary_gtv",
    "other_gtv",
    "level",
    "denied",
    "joined",
    "nodal_letter",
    "axillary_node_name",
)
SCHEMES = {
    "SNM3": "SRT",
    "99SDM": "SRT",
    "SNOMED-RT": "SRT",
    "SNOMED-CT": "SCT",
    "HTTP://SNOMED.INFO/SCT": "SCT",
    "NCI": "NCIt",
    "NCIT": "NCIt",
}
_NOTHING = Concept(re.compile("(?!)"))
_CAPITAL = re.compile("(?<=[a-z\xe0-\xff])(?=[A-Z])")
# Radiotherapy writes "A-B" for what of A is not B, and "A-03" for A less 3 mm.
_LESS = re.compile(
    r"(?i)((?:breast|mamma|brust|body|tissue|chest|axilla)(?:[ _](?:l|r|lt|rt|left|right))?) ?- ?(?=gtv)"
)
_LESS_MM = re.compile(r"(?i)(gtv[a-z0-9]*) ?-(?=0\d(?!\d))")
_SPACED = re.compile(r"[-.()\[\]{}#:;~*'\"]")


def plain(name: str) -> str:
    """A region's name as the vocabulary compares it: capitals after small letters start words, brackets separate."""
    less = _LESS_MM.sub(r"\1 minus ", _LESS.sub(r"\1 minus ", name))
    return normalise(_SPACED.sub(" ", _CAPITAL.sub(" ", less)))


@dataclass(frozen=True, slots=True)
class Group:
    """Codes ("scheme:value", a trailing * is a prefix) and words that mean one thing; `own` are a site's words."""

    codes: tuple[str, ...] = ()
    words: Concept = _NOTHING
    own: Concept = _NOTHING

    def has_code(self, code: Code | None) -> bool:
        if code is None:
            return False
        name = f"{_scheme(code)}:{code.value}"
        return any(name.startswith(c[:-1]) if c.endswith("*") else name == c for c in self.codes)

    def search(self, text: str) -> re.Match[str] | None:
        """Where a plain name says it, in a site's words or in ours."""
        return self.own.search(text) or self.words.search(text)

    def within(self, text: str) -> bool:
        """Whether a plain name says it."""
        return self.search(text) is not None


Rules = Mapping[str, Group]


def _scheme(code: Code) -> str:
    upper = code.scheme.strip().upper()
    if upper == "SNOMED":
        return "SCT" if code.value.isdigit() else "SRT"
    return SCHEMES.get(upper, code.scheme.strip())


@cache
def load_rules(own: Path | None = None) -> Rules:
    """The table, with the site's lists before ours. Raises InputRejected if the site's file is wrong."""
    theirs = _checked(own) if own else {}
    replaced = bool(theirs.pop("replace", False))
    ours = {} if replaced else built_in_table("roi_rules.toml")
    table = built_in_table(FILE)
    concepts = {} if replaced else concepts_of([table["concept"]], table["piece"])
    groups = {
        name: Group(
            (*theirs.get(name, {}).get("codes", ()), *ours.get(name, {}).get("codes", ())),
            concepts.get(concept, _NOTHING),
            _own_words(theirs.get(name, {}).get("words", [])),
        )
        for name, concept in CONCEPTS.items()
    }
    return groups | {name: Group(words=concepts.get(name, _NOTHING)) for name in WORDS}


def _own_words(words: list[str]) -> Concept:
    """Whole words where they are Latin, digits may touch; found anywhere where they are not."""
    shapes = []
    for each in words:
        text = plain(each)
        escaped = re.escape(text)
        shapes.append(rf"(?<![a-z]){escaped}(?![a-z])" if text.isascii() else escaped)
    return Concept(re.compile("|".join(shapes))) if shapes else _NOTHING


def _checked(path: Path) -> Table:
    table = site_table(path, "ROI")
    for name, group in table.items():
        if name == "replace" and isinstance(group, bool):
            continue
        if name not in GROUPS or not isinstance(group, dict) or not set(group) <= {"codes", "words"}:
            raise InputRejected(f"the ROI rules {path}: [{name}] is none of {', '.join(GROUPS)} with codes and words")
        if not all(isinstance(v, list) and all(isinstance(x, str) for x in v) for v in group.values()):
            raise InputRejected(f"the ROI rules {path}: codes and words of [{name}] must be lists of strings")
    return table
