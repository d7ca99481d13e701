"""What both pages of the appendix share: files, and characteristics as rows and as JSON."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.records import Json
from pipeline.research.appendix.characteristics import Characteristic
from pipeline.research.html_tables import STYLE, table
from pipeline.research.tables.reading import csv_of
from pipeline.signature.whole_files import write_atomically

_MORE_STYLE = "img { max-width: 100% } .scroll { overflow-x: auto } td, th { font-size: 14px }"


def write_files(
    folder: Path, name: str, facts: dict[str, Json], title: str, body: Sequence[str], frames: Mapping[str, pd.DataFrame]
) -> None:
    """The JSON document `name`, the CSV tables and `report.html`."""
    text = json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(folder / name, text.encode())
    for file, frame in frames.items():
        write_atomically(folder / file, csv_of(frame))
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}{_MORE_STYLE}</style></head><body>{''.join(body)}</body></html>"
    )
    write_atomically(folder / "report.html", page.encode())


def characteristics_table(rows: Sequence[Characteristic], sizes: Mapping[str, int]) -> str:
    """An HTML table; `sizes`: how many patients each group has, in the order of the characteristics' cells."""
    heads = ["", "", *(f"{name} (n = {n})" for name, n in sizes.items()), "missing", "test", "P", ""]
    return f'<div class="scroll">{table(heads, lines_of(rows))}</div>'


def section(title: str, body: str) -> str:
    """A heading, escaped, and what stands under it."""
    return f"<h2>{html.escape(title)}</h2>{body}"


def lines_of(rows: Sequence[Characteristic]) -> list[list[Json]]:
    """Rows of an HTML table: one per level, the test beside the first of a column."""
    lines: list[list[Json]] = []
    for one in rows:
        for n, level in enumerate(one.levels):
            first = n == 0
            lines.append(
                [one.column if first else "", level, *(_cell(one, pair) for pair in one.cells[level]),
                 sum(one.missing) if first else "", one.test if first else "", one.p if first else "",
                 one.caution if first else ""]
            )  # fmt: skip
    return lines


def json_of(one: Characteristic, names: Sequence[str]) -> Json:
    """A characteristic as JSON has it."""
    cells: dict[str, Json] = {
        level: {name: [_finite(v) for v in pair] for name, pair in zip(names, pairs, strict=True)}
        for level, pairs in one.cells.items()
    }
    return {
        "column": one.column, "continuous": one.continuous, "cells": cells,
        "missing": dict(zip(names, one.missing, strict=True)), "test": one.test, "p": one.p, "caution": one.caution,
    }  # fmt: skip


def plain(record: Mapping[str, object]) -> Json:
    """A record as JSON has it; what is no number is null."""
    return {k: v if isinstance(v, (str, int, float)) and v == v else None for k, v in record.items()}


def _cell(one: Characteristic, pair: tuple[float, float]) -> str:
    if not np.isfinite(pair[1]):
        return "–"
    return f"{pair[0]:.1f} ± {pair[1]:.1f}" if one.continuous else f"{pair[0]:.0f} ({pair[1]:.1%})"


def _finite(value: float) -> Json:
    return value if np.isfinite(value) else None
