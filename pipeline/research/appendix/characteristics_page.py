"""`axrad cohort characteristics`: Table 1 and the univariate table, as page, JSON and CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from pipeline.records import Json
from pipeline.research.appendix import writing
from pipeline.research.appendix.characteristics import Characteristic, characteristics
from pipeline.research.appendix.patients_table import PatientsTable
from pipeline.research.appendix.univariate import Odds, odds_ratios
from pipeline.research.html_tables import table

_NOTE = (
    "<p>Continuous columns: mean ± standard deviation; levels: number (share of those with a value). P is two-sided "
    "and not adjusted for the number of columns. Patients without a value are counted and left out of that line.</p>"
)
_Part = tuple[dict[str, int], list[Characteristic]]


def write(tables: Mapping[str, PatientsTable], columns: Sequence[str], folder: Path) -> dict[str, Json]:
    """Table 1 over the cohorts, each cohort by node status, and each column alone against it.

    Writes `characteristics.json`, `characteristics.csv`, `univariate.csv` and `report.html`, none with a patient's id.
    Returns what the JSON document holds.
    """
    parts = _parts(tables, columns)
    odds = {name: odds_ratios(one, columns) for name, one in tables.items()}
    facts: dict[str, Json] = {
        "schema": "axrad.cohort-characteristics/1",
        "tables": {
            name: {"sha256": t.sha256, "n": len(t), "positive": int(t.positive.sum())} for name, t in tables.items()
        },
        "characteristics": {
            title: [writing.json_of(c, list(sizes)) for c in rows] for title, (sizes, rows) in parts.items()
        },
        "univariate": {name: [writing.plain(asdict(line)) for line in lines] for name, lines in odds.items()},
    }
    body = ["<h1>Characteristics of the patients</h1>"]
    body += [
        writing.section(title, writing.characteristics_table(rows, sizes)) for title, (sizes, rows) in parts.items()
    ]
    body += [writing.section(f"{name}: each column alone", _odds_table(lines)) for name, lines in odds.items()]
    frames = {
        "characteristics.csv": pd.concat([_frame(title, *part) for title, part in parts.items()]),
        "univariate.csv": pd.concat([pd.DataFrame(lines).assign(table=name) for name, lines in odds.items()]),
    }
    writing.write_files(folder, "characteristics.json", facts, "Characteristics", [*body, _NOTE], frames)
    return facts


def _parts(tables: Mapping[str, PatientsTable], columns: Sequence[str]) -> dict[str, _Part]:
    """By title the groups, with their sizes, and their characteristics."""
    groups = {"By cohort": {name: t.frame for name, t in tables.items()}} if len(tables) > 1 else {}
    for name, one in tables.items():
        groups[f"{name}, by node status"] = {
            f"{one.label} = {one.positive_value}": one.frame[one.positive],
            f"{one.label} = {one.negative_value}": one.frame[~one.positive],
        }
    return {
        title: ({name: len(frame) for name, frame in those.items()}, characteristics(those, columns))
        for title, those in groups.items()
    }


def _frame(title: str, sizes: Mapping[str, int], rows: list[Characteristic]) -> pd.DataFrame:
    names = ["column", "level", *sizes, "missing", "test", "p", "caution"]
    return pd.DataFrame(writing.lines_of(rows), columns=names).assign(part=title)


def _odds_table(lines: Sequence[Odds]) -> str:
    rows: list[list[Json]] = []
    for one in lines:
        what = f"{one.level} against {one.reference}" if one.level else "per unit"
        ratio = one.why_not or f"{one.ratio:.2f} ({one.low:.2f} to {one.high:.2f})"
        rows.append([one.column, what, one.n, ratio, one.p, one.p_column])
    return table(["column", "", "n", "odds ratio (95 % CI)", "P", "P of the column"], rows)
