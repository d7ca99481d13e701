"""Pieces of the pages that research commands write: their style, tables, numbers and intervals."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from pipeline.records import Json

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { border-bottom: 1px solid #ddd; padding: .3rem .8rem; text-align: left }
td.n { text-align: right; font-variant-numeric: tabular-nums }
.row { display: flex; flex-wrap: wrap; gap: 1rem }
.row svg { max-width: 22rem; height: auto }
.wide svg { max-width: 100%; height: auto }
.loud { background: #b00020; color: #fff; padding: 1rem; font-size: 1.2rem; font-weight: 600 }
.warn { background: #fff3cd; padding: .6rem 2rem }
code { font-size: 90% }
"""


def rows(listed: Json) -> list[dict[str, Json]]:
    """A list of records of a JSON document."""
    assert isinstance(listed, list)
    return [row for row in listed if isinstance(row, dict)]


def interval(estimate: Json) -> str:
    """An estimate with its 95 % interval, or why there is none."""
    if not isinstance(estimate, dict):
        return ""
    if "why_not" in estimate:
        return str(estimate["why_not"])
    ends = estimate["ci"]
    assert isinstance(ends, list)
    text = f"{number(estimate['value'])} ({number(ends[0])} to {number(ends[1])})"
    return f"{text}, P = {number(estimate['p'])}" if "p" in estimate else text


def number(value: Json) -> str:
    """A number for people; text as it is."""
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) >= 0.001 or value == 0 else f"{value:.1e}"
    return "" if value is None else str(value)


def table(heads: list[str], lines: list[list[Json]]) -> str:
    """An HTML table; numbers to the right."""
    head = "".join(f"<th>{html.escape(h)}</th>" for h in heads)
    body = "".join(
        "<tr>" + "".join(f"<td{_class(c)}>{html.escape(number(c))}</td>" for c in line) + "</tr>" for line in lines
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _class(cell: Json) -> str:
    return ' class="n"' if isinstance(cell, (int, float)) else ""


def reclassification(first: str, others: Sequence[tuple[str, Mapping[str, Json]]]) -> str:
    """Agreement with the calls of `first` and net reclassification when each of the others answers instead."""
    lines: list[list[Json]] = []
    for title, row in others:
        net, counts = row["net_reclassification"], row["reclassified"]
        assert isinstance(net, dict)
        assert isinstance(counts, dict)
        line: list[Json] = [title, interval(row["agreement"]), interval(row["kappa"]) or "not defined"]
        for name in ("positives", "negatives"):
            moved = counts[name]
            assert isinstance(moved, dict)
            line.append(f"{interval(net[name])}; {moved['low_becomes_high']} up, {moved['high_becomes_low']} down")
        lines.append([*line, interval(net["both"])])
    heads = ["instead answers", f"same call as {first}", "kappa", "net, positives", "net, negatives", "NRI"]
    return table(heads, lines)
