"""Names of genes: what spreadsheets made of them, Entrez numbers beside them, and rows of one name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.signature.record import Floats

_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sept?|oct|nov|dec)"
# MARCH1, SEPT2, DEC1 and OCT4 become dates, 2310009E13 becomes 2.31E+19 (Ziemann 2016, Genome Biology 17: 177).
_MANGLED = re.compile(
    rf"\d{{1,2}}-{_MONTH}(?:-\d{{2,4}})?|{_MONTH}-\d{{1,4}}|\d{{4}}[-/]\d{{1,2}}[-/]\d{{1,2}}(?: 00:00(?::00)?)?"
    r"|\d{1,2}/\d{1,2}/\d{2,4}|\d(?:\.\d+)?E\+\d{2}",
    re.IGNORECASE,
)
_WITH_ENTREZ = re.compile(r"([^|]+)\|\d+")
_UNKNOWN = frozenset(("", "?", "NA", "nan", "None", "---"))


@dataclass(frozen=True)
class Rows:
    """Which rows of a matrix are used, by name.

    `positions`: of the used rows; `names`: theirs. `mangled`: names that a spreadsheet made into dates or numbers.
    `unnamed`: rows without a name. `duplicated`: names with several rows, of which the one with the largest mean is
    used.
    """

    positions: tuple[int, ...]
    names: tuple[str, ...]
    mangled: tuple[str, ...]
    unnamed: int
    duplicated: tuple[str, ...]


def is_mangled(name: str) -> bool:
    """Whether a name is what a spreadsheet program makes of a gene's: `1-Mar`, `Sep-02`, `2.31E+13`."""
    return _MANGLED.fullmatch(name) is not None


def rows_of(names: Sequence[str], values: Floats) -> Rows:
    """One row for each gene.

    Mangled names are left out: `1-Mar` is MARCH1 or MARC1, and nothing in the file says which. `SYMBOL|ENTREZ`, as
    Firehose writes, is the symbol. `values`: (patients, rows).
    """
    cleaned = [match.group(1) if (match := _WITH_ENTREZ.fullmatch(name.strip())) else name.strip() for name in names]
    used: dict[str, int] = {}
    mangled: dict[str, None] = {}
    duplicated: dict[str, None] = {}
    unnamed = 0
    means = (
        np.nanmean(np.vstack([values, np.full((1, values.shape[1]), np.nan)]), axis=0) if _any_twice(cleaned) else None
    )
    for position, name in enumerate(cleaned):
        if name in _UNKNOWN:
            unnamed += 1
        elif is_mangled(name):
            mangled[name] = None
        elif name in used:
            assert means is not None
            duplicated[name] = None
            if means[position] > means[used[name]] or np.isnan(means[used[name]]):
                used[name] = position
        else:
            used[name] = position
    return Rows(tuple(used.values()), tuple(used), tuple(mangled), unnamed, tuple(duplicated))


def _any_twice(names: Sequence[str]) -> bool:
    return len(set(names)) < len(names)
