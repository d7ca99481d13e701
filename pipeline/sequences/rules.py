"""The rule tables of `config/sequence_rules.toml` and `config/vocabulary.toml`, and a site's own laid over."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import get_args

from pipeline.errors import InputRejected
from pipeline.sequences.records import Label
from pipeline.vocabulary import FILE, Concept, Table, add_pieces, built_in_table, concepts_of, site_table

LABELS: tuple[str, ...] = get_args(Label)
BUILT_IN = ("sequence_rules.toml", FILE)


@dataclass(frozen=True)
class Decision:
    """The label for a name with these concepts."""

    label: Label
    confidence: float
    all_of: frozenset[str]
    any_of: frozenset[str]
    none_of: frozenset[str]
    vendor: str

    def fits(self, concepts: frozenset[str], vendor: str) -> bool:
        return (
            self.all_of <= concepts
            and (not self.any_of or bool(self.any_of & concepts))
            and not self.none_of & concepts
            and vendor.startswith(self.vendor)
        )


@dataclass(frozen=True)
class Rules:
    concepts: Mapping[str, Concept]
    decisions: tuple[Decision, ...]
    prefer: Mapping[str, Mapping[str, float]]


@lru_cache(maxsize=8)
def rules(site_file: Path | None = None) -> Rules:
    """The rules, with a site's file (`sequences.rules`) laid over the built-in table.

    Raises:
        InputRejected: the site's file cannot be read or breaks the form of the table.
    """
    tables = [built_in_table(name) for name in BUILT_IN]
    if site_file is not None:
        tables.append(site_table(site_file, "sequence"))
    try:
        return _build(tables)
    except (KeyError, TypeError, ValueError, AttributeError, re.error) as error:
        raise InputRejected(f"the sequence rules {site_file or ''} are not well formed: {error}") from error


def _build(tables: list[Table]) -> Rules:
    prefer: dict[str, dict[str, float]] = {}
    decisions: list[Decision] = []
    pieces: dict[str, str] = {}
    for table in tables:
        unknown = set(table) - {"piece", "concept", "decide", "prefer"}
        if unknown:
            raise ValueError(f"unknown table {sorted(unknown)[0]}")
        add_pieces(pieces, table.get("piece", {}))
        # A later table is a site's own: its decisions come first.
        decisions = [_decision(d) for d in table.get("decide", [])] + decisions
        for sequence, points in table.get("prefer", {}).items():
            prefer.setdefault(sequence, {}).update({k: float(v) for k, v in points.items()})
    concepts = concepts_of((t.get("concept", {}) for t in tables), pieces)
    used = {c for d in decisions for c in d.all_of | d.any_of | d.none_of} | {c for p in prefer.values() for c in p}
    if used - set(concepts):
        raise ValueError(f"a rule names the unknown concept {sorted(used - set(concepts))[0]}")
    return Rules(concepts, tuple(decisions), prefer)


def _decision(table: Table) -> Decision:
    unknown = set(table) - {"label", "confidence", "all", "any", "none", "vendor"}
    if unknown or table["label"] not in LABELS:
        raise ValueError(f"a decision for {table['label']} has an unknown label or key {sorted(unknown)}")
    confidence = float(table["confidence"])
    if not 0 < confidence <= 1:
        raise ValueError(f"the confidence of a decision for {table['label']} is outside 0 to 1")
    all_of, any_of, none_of = (frozenset(table.get(key, [])) for key in ("all", "any", "none"))
    return Decision(table["label"], confidence, all_of, any_of, none_of, table.get("vendor", "").lower())
