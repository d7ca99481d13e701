"""Which segment is the tumour, which is an axillary lymph node, and on which side: codes and words decide together.

A name is read as a whole: what it says more specifically wins ("nodal mass" is a node), a name that fits two roles
is no role, and a name that says nothing known never joins a region.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.records import Code, Role, Side
from pipeline.roi.describe import Description
from pipeline.roi.rules import Rules, plain


@dataclass(frozen=True, slots=True)
class Recognised:
    """`role` None: neither. `unclear`: it names a role in a way that contradicts itself, so that nobody can tell."""

    role: Role | None
    why: str
    unclear: bool = False


@dataclass(frozen=True, slots=True)
class WordVerdict:
    """What one name says. `excluded`: certainly neither. `general`: a word for a finding that may be either role."""

    role: Role | None = None
    why: str = ""
    excluded: bool = False
    unclear: bool = False
    general: bool = False


NOTHING = WordVerdict()
EXCLUDING = (
    ("neither", "says that it is neither"),
    ("denied", "says that there is none, or that it is healthy"),
    ("level", "is a level of nodes, elective tissue"),
)


def role_of(segment: Description, rules: Rules) -> Recognised:
    """The role of one segment by its property type, anatomic region, label, description and tracking identifier."""
    meaning = segment.type.meaning if segment.type else ""
    excluded = rules["neither"]
    if excluded.has_code(segment.type) or any(excluded.has_code(a) for a in segment.anatomies):
        return Recognised(None, f"coded as {meaning or 'a region'} that is neither")
    label = read_words(segment.label, rules)
    if label.excluded:
        return Recognised(None, label.why)
    coded = _by_code(segment, meaning, rules)
    if coded.excluded:
        return Recognised(None, coded.why)
    if coded.role:
        return _agreed(coded, label, segment)
    for by_text in (label, read_words(segment.text, rules), read_words(segment.tracking_id or "", rules)):
        if by_text.role or by_text.unclear or by_text.excluded:
            return Recognised(by_text.role, by_text.why, by_text.unclear)
    return Recognised(None, label.why or "no code or word that tells")


def _agreed(coded: WordVerdict, label: WordVerdict, segment: Description) -> Recognised:
    """The role by code, unless the label names the other one."""
    against = label.role not in (None, coded.role) and not label.general
    if against or (label.unclear and not (coded.role == "lymph_nodes" and label.general)):
        return Recognised(None, f'the code says {coded.why}, the label "{segment.label}"', unclear=True)
    return Recognised(coded.role, coded.why)


def read_words(name: str, rules: Rules) -> WordVerdict:
    """What a label, a description or a code's meaning says."""
    text = plain(name)
    if not text:
        return NOTHING
    own = [g for g in ("neither", "tumor", "lymph_nodes") if rules[g].own.within(text)]
    if own:
        return _by_own_words(own, name)
    for group, excluded in EXCLUDING:
        match = rules[group].words.search(text)
        if match:
            return WordVerdict(None, f'"{match[0].strip()}" {excluded}', excluded=True)
    if rules["other_gtv"].words.within(text):
        return WordVerdict(None, f'"{name}" is a GTV of both or of something else', excluded=True)
    return _by_words(text, name, rules)


def _by_own_words(groups: list[str], name: str) -> WordVerdict:
    """A site's own words decide before ours."""
    if groups[0] == "neither":
        return WordVerdict(None, f'"{name}" is neither by the site\'s rules', excluded=True)
    if len(groups) > 1:
        return WordVerdict(None, f'"{name}" names both', unclear=True)
    return WordVerdict("tumor" if groups == ["tumor"] else "lymph_nodes", f'"{name}" by the site\'s rules')


def _by_words(text: str, name: str, rules: Rules) -> WordVerdict:
    node = rules["nodal_gtv"].search(text) or rules["lymph_nodes"].search(text)
    tumor = rules["primary_gtv"].search(text) or rules["tumor"].search(text)
    general = rules["lesion"].search(text) or (None if rules["nodal_gtv"].search(text) else rules["gtv"].search(text))
    spread, axilla = rules["metastasis"].search(text), rules["axillary_regions"].search(text)
    if node:
        both = f'"{name}" names both'
        if tumor and not spread:
            return WordVerdict(None, both, unclear=True)
        if general and _joined(text, node.span(), general.span(), rules):
            return WordVerdict(None, both, unclear=True)
        return WordVerdict("lymph_nodes", f'"{node[0].strip()}" in "{name}"')
    if axilla and spread:
        return WordVerdict("lymph_nodes", f'"{spread[0]}" and "{axilla[0]}" in "{name}"')
    concept = tumor or general
    if concept and axilla:
        return WordVerdict(None, f'"{name}" may be a tumour or a lymph node', unclear=True, general=True)
    if concept and spread:
        return WordVerdict(None, f'"{name}" is a metastasis and does not say where', excluded=True)
    if concept and rules["nodal_letter"].within(text):
        return WordVerdict(None, f'"{name}" may be a tumour or a lymph node', unclear=True, general=True)
    if concept:
        return WordVerdict("tumor", f'"{concept[0].strip()}" in "{name}"', general=tumor is None)
    return WordVerdict(None, f'"{name}" names a region of the body, no node') if axilla else NOTHING


def _joined(text: str, one: tuple[int, int], other: tuple[int, int], rules: Rules) -> bool:
    """Whether two words stand to each other as in "lesion and node"."""
    first, second = sorted((one, other))
    return rules["joined"].within(text[first[1] : second[0]])


def _region(segment: Description, rules: Rules) -> str:
    """Where the coded anatomy is: node, axilla, breast, elsewhere, or nothing."""
    for name, group in (("node", "lymph_nodes"), ("axilla", "axillary_regions"), ("breast", "breast_regions")):
        for code in segment.anatomies:
            if rules[group].has_code(code) or rules[group].search(plain(code.meaning)):
                return name
    return "elsewhere" if segment.anatomies else ""


def _by_code(segment: Description, meaning: str, rules: Rules) -> WordVerdict:
    region = _region(segment, rules)
    if region == "elsewhere":
        where = segment.anatomies[0].meaning or segment.anatomies[0].value
        return WordVerdict(None, f"coded as lying in {where}", excluded=True)
    nodes, tumor, metastasis = rules["lymph_nodes"], rules["tumor"], rules["metastasis"]
    concepts = read_words(meaning, rules)
    if any(_another_node(a, rules) for a in segment.anatomies) or (segment.type and _another_node(segment.type, rules)):
        return WordVerdict(None, "coded as a lymph node elsewhere than in the axilla", excluded=True)
    if nodes.has_code(segment.type) or concepts.role == "lymph_nodes":
        return WordVerdict("lymph_nodes", f"property type {meaning}")
    spread = metastasis.has_code(segment.type) or metastasis.search(plain(meaning)) is not None
    growth = tumor.has_code(segment.type) or concepts.role == "tumor"
    if region == "node" or (region == "axilla" and (growth or spread)):
        return WordVerdict(
            "lymph_nodes", f"property type {meaning or 'not given'}, region {segment.anatomies[0].meaning}"
        )
    if spread:
        return NOTHING
    if concepts.excluded and not growth:
        return WordVerdict(None, f"coded as {meaning}: {concepts.why}", excluded=True)
    return WordVerdict("tumor", f"property type {meaning}") if growth else NOTHING


def _another_node(code: Code, rules: Rules) -> bool:
    """Whether a code's meaning names a lymph node with a place that is not the axilla."""
    if rules["lymph_nodes"].has_code(code):
        return False
    text = plain(code.meaning)
    node = rules["lymph_nodes"].words.within(text)
    return node and text.isascii() and not rules["axillary_node_name"].words.within(text)


def side_of(segment: Description, rules: Rules) -> tuple[Side | None, bool]:
    """The side told by modifiers and regions, else by words; and whether what is told contradicts itself."""
    codes = [*segment.modifiers, *segment.anatomies, *([segment.type] if segment.type else [])]
    coded = {s for c in codes for s in _sides_in(c.meaning, rules, c)}
    sides = coded | _sides_in(segment.label, rules)
    if sides == {"left"}:
        return "L", False
    if sides == {"right"}:
        return "R", False
    return None, {"left", "right"} <= sides


def _sides_in(name: str, rules: Rules, code: Code | None = None) -> set[str]:
    """Sides that one code or name tells; both sides at once tell neither."""
    text = plain(name)
    if rules["both"].has_code(code) or rules["both"].search(text):
        return {"both"}
    return {s for s in ("left", "right") if rules[s].has_code(code) or rules[s].search(text)}
