"""Which segment is the tumour, which is an axillary lymph node, and on which side: codes first, then words."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipeline.records import Code, Role, Side
from pipeline.roi.describe import Description
from pipeline.roi.rules import Rules

CONJUNCTION = re.compile(r"\b(and|with)\b|[+&/]|[和及与、]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Recognised:
    """`role` None: neither. `unclear`: it names a role in a way that contradicts itself, so that nobody can tell."""

    role: Role | None
    why: str
    unclear: bool = False


def role_of(segment: Description, rules: Rules) -> Recognised:
    """The role of one segment by its property type, anatomic region, label and description."""
    meaning = segment.type.meaning if segment.type else ""
    excluded = rules["neither"]
    if excluded.has_code(segment.type) or any(excluded.has_code(a) for a in segment.anatomies):
        return Recognised(None, f"coded as {meaning or 'a region'} that is neither")
    word = excluded.word_in(meaning) or excluded.word_in(segment.label)
    if word:
        return Recognised(None, f'"{word}" says that it is neither')
    by_code = _by_code(segment, meaning, rules)
    return by_code or _by_words(segment, rules)


def _region(segment: Description, rules: Rules) -> str:
    """Where the coded anatomy is: node, axilla, breast, elsewhere, or nothing."""
    for name, group in (("node", "lymph_nodes"), ("axilla", "axillary_regions"), ("breast", "breast_regions")):
        for code in segment.anatomies:
            if rules[group].has_code(code) or rules[group].word_in(code.meaning):
                return name
    return "elsewhere" if segment.anatomies else ""


def _by_code(segment: Description, meaning: str, rules: Rules) -> Recognised | None:
    region = _region(segment, rules)
    if region == "elsewhere":
        return Recognised(None, f"coded as lying in {segment.anatomies[0].meaning or segment.anatomies[0].value}")
    nodes, tumor, metastasis = rules["lymph_nodes"], rules["tumor"], rules["metastasis"]
    if nodes.has_code(segment.type) or nodes.word_in(meaning):
        return Recognised("lymph_nodes", f"property type {meaning}")
    spread = metastasis.has_code(segment.type) or bool(metastasis.word_in(meaning))
    growth = tumor.has_code(segment.type) or bool(tumor.word_in(meaning))
    if region == "node" or (region == "axilla" and (growth or spread)):
        return Recognised(
            "lymph_nodes", f"property type {meaning or 'not given'}, region {segment.anatomies[0].meaning}"
        )
    if growth and not spread:
        if nodes.word_in(segment.label) and not tumor.word_in(segment.label):
            return Recognised(None, f'the code says {meaning}, the label "{segment.label}"', unclear=True)
        return Recognised("tumor", f"property type {meaning}")
    return None


def _by_words(segment: Description, rules: Rules) -> Recognised:
    for text in (segment.label, segment.text):
        node = rules["lymph_nodes"].word_in(text)
        tumor = rules["tumor"].word_in(text)
        axilla = rules["axillary_regions"].word_in(text)
        if tumor and ((axilla and not node) or (node and CONJUNCTION.search(text))):
            return Recognised(None, f'"{text}" names both', unclear=True)
        if node or axilla:
            return Recognised("lymph_nodes", f'"{node or axilla}" in "{text}"')
        if tumor and not rules["metastasis"].word_in(text):
            return Recognised("tumor", f'"{tumor}" in "{text}"')
    return Recognised(None, "no code or word that tells")


def side_of(segment: Description, rules: Rules) -> tuple[Side | None, bool]:
    """The side told by modifiers and regions, else by words; and whether what is told contradicts itself."""
    codes = [*segment.modifiers, *segment.anatomies, *([segment.type] if segment.type else [])]
    coded = {s for c in codes for s in _sides_in(c.meaning, rules, c)}
    told = coded | _sides_in(segment.label, rules)
    if told == {"left"}:
        return "L", False
    if told == {"right"}:
        return "R", False
    return None, {"left", "right"} <= told


def _sides_in(text: str, rules: Rules, code: Code | None = None) -> set[str]:
    """Sides that one code or text names; both sides at once name neither."""
    if rules["both"].has_code(code) or rules["both"].word_in(text):
        return {"both"}
    return {s for s in ("left", "right") if rules[s].has_code(code) or rules[s].word_in(text)}
