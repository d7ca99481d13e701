"""The scanner group of an exam or of a row: the unit between which harmonisation takes differences out.

A group is one value of a column that says where or on what an exam was acquired (`manufacturer`), or of several
together (`manufacturer+field_strength_t`: "ge + 1.5"). Spelling does not matter: vendors have one name each, field
strengths are rounded to 0.1 T, other texts are compared in lower case.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from config.schema import ScannerGroup
from pipeline.signature.cells import is_missing
from pipeline.signature.names import CLINICAL, EXTRACTION, EXTRACTION_HASH, ID_COLUMNS, PATIENT, PROTOCOL, is_feature

STRENGTH: Final = "field_strength_t"
# Facts that the headers of an exam tell by themselves; for others a site says which scanner is which group.
FROM_HEADERS: Final = ("manufacturer", "model", STRENGTH)
# What may be kept while scanners are harmonised: an exam has it before anything is predicted.
COVARIATES: Final = ("age_years", "clinical_t", "clinical_n", STRENGTH)
_VENDORS: Final[Mapping[str, re.Pattern[str]]] = {
    name: re.compile(pattern)
    for name, pattern in {
        "siemens": r"\bsiemens\b|西门子",
        "ge": r"(?<![a-z0-9])ge(?![a-z0-9])|general electric|^gems|通用电气",
        "philips": r"\bphilips\b|飞利浦",
        "canon": r"\bcanon\b|toshiba|佳能|东芝",
        "united imaging": r"\buih\b|united imaging|联影",
        "hitachi": r"\bhitachi\b|fujifilm|日立|富士胶片",
    }.items()
}
# Columns of the outcome, of pathology and of what is known only later.
_KNOWN_LATER: Final = re.compile(
    r"(ki-?67.*|molecular_subtype|.*subtype.*|(er|pr|her2)(_.*)?|.*receptor.*|.*grade.*|.*histolog.*|.*patholog.*|"
    r"positive_nodes|.*nodes?|p[tnm](_.*|\d.*)?|pcr|.*outcome.*|.*label.*|.*diagnos.*|.*survival.*|.*recurren.*|"
    r"status|.*response.*|aln.*|.*metasta.*)",
    re.IGNORECASE,
)
_NOT_A_SCANNER: Final = frozenset(
    (*ID_COLUMNS, *PATIENT, *CLINICAL, EXTRACTION, EXTRACTION_HASH, "settings_hash", "id", "ID", "case_id", "exam_id",
     "side", "laterality", "origin", "reading", "menopausal_status", "breast_density", "cohort", "split", "series_uid")
)  # fmt: skip


def columns_in(text: str) -> tuple[str, ...]:
    """The columns of `A+B`, each once."""
    return tuple(dict.fromkeys(part.strip() for part in text.split("+") if part.strip()))


def why_no_scanner(column: str) -> str:
    """Why a column cannot say on what scanner an exam was acquired; "" where it may."""
    if is_feature(column):
        return "is a feature"
    if _KNOWN_LATER.fullmatch(column):
        return "is the outcome, pathology or known only later"
    return "does not say where an exam was acquired" if column in _NOT_A_SCANNER else ""


def why_no_covariate(column: str) -> str:
    """Why a column cannot be a covariate of harmonisation; "" where it may."""
    if _KNOWN_LATER.fullmatch(column):
        return "is the outcome, pathology or known only later"
    if column in COVARIATES or (column.startswith(PROTOCOL) and column != PROTOCOL + EXTRACTION_HASH):
        return ""
    return "is not among the facts that every exam has before it is predicted"


def group_of(columns: Sequence[str], facts: Mapping[str, object], rules: Iterable[ScannerGroup] = ()) -> str | None:
    """The scanner group by facts under the names of a table's columns; None where one of them is not told.

    `rules`: the site's word, which comes first; the first one of which every condition holds counts.
    """
    for rule in rules:
        if _holds(rule, facts):
            return spelt("", rule.group)
    cells = [fact(facts, column) for column in columns]
    if any(is_missing(str(cell).strip()) or cell is None for cell in cells):
        return None
    return " + ".join(spelt(column, cell) for column, cell in zip(columns, cells, strict=True))


def fact(facts: Mapping[str, object], column: str) -> object:
    """A fact by its name with or without the prefix of protocol facts; None where it is not told."""
    plain = column.removeprefix(PROTOCOL)
    return next((facts[name] for name in (column, plain, PROTOCOL + plain) if name in facts), None)


def spelt(column: str, cell: object) -> str:
    """A cell in the one spelling by which groups are compared; letters of full width are as others."""
    column = column.removeprefix(PROTOCOL)
    text = " ".join(unicodedata.normalize("NFKC", str(cell)).split()).lower()
    if column == "manufacturer":
        return next((name for name, pattern in _VENDORS.items() if pattern.search(text)), text)
    try:
        number = float(text)
    except ValueError:
        return text
    return f"{round(number, 1):g}" if column == STRENGTH else f"{number:g}"


def _holds(rule: ScannerGroup, facts: Mapping[str, object]) -> bool:
    conditions = {name: getattr(rule, name) for name in FROM_HEADERS}
    return all(
        (here := fact(facts, name)) is not None and spelt(name, here) == spelt(name, wanted)
        for name, wanted in conditions.items()
        if wanted is not None
    )
