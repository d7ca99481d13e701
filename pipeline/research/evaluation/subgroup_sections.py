"""The parts of the page on subgroups and on fairness, from the facts of one cohort."""

from __future__ import annotations

import html
from collections.abc import Mapping

from pipeline.records import Json
from pipeline.research import html_tables

_MEASURES = ("auc", "sensitivity", "specificity", "calibration_in_the_large")


def sections(row: Mapping[str, Json]) -> list[str]:
    """HTML of both; nothing where the table has no column to divide it by."""
    rows = html_tables.rows(row.get("subgroups", []))
    return [*_subgroups(row, rows), *_fairness(row, rows)] if rows else []


def _subgroups(row: Mapping[str, Json], rows: list[dict[str, Json]]) -> list[str]:
    between, tests = row["interactions"], row["subgroup_tests"]
    assert isinstance(between, dict)
    assert isinstance(tests, dict)
    by_column = {str(one["column"]): one for one in html_tables.rows(between["columns"])}
    lines: list[list[Json]] = []
    for r in rows:
        minus = r["minus_reference"]
        line = [r["column"], r["level"], r["n"], r["positives"], html_tables.interval(r["auc"]) or r["why_not"]]
        line += [_p(r["p_above_chance"], r["p_adjusted"])]
        line += [html_tables.interval(minus["auc"]) if isinstance(minus, dict) else "reference"]
        one = by_column.pop(str(r["column"]), None)
        lines.append([*line, *_tests(one)])
    heads = ["column", "level", "cases", "positive", "AUC", "P by chance (adjusted)", "AUC minus reference",
             "slope x level: P (adjusted)", "AUCs differ: P (adjusted)"]  # fmt: skip
    note = (
        f"P values in brackets are adjusted by Holm, for {tests['tests']} subgroups against chance and for "
        f"{between['tests']} tests between levels. Levels are compared where {between['minimum_per_class']} patients "
        "of either class are there; the reference is the largest level. With so many questions to one cohort a small "
        "P that is not adjusted means little."
    )
    left_out = [
        f"{one['column']}: {', '.join(map(str, levels))}"
        for one in html_tables.rows(between["columns"])
        if isinstance(levels := one["left_out"], list) and levels and not one["why_not"]
    ]
    few = f" Levels not compared, too few: {'; '.join(left_out)}." if left_out else ""
    return ["<h3>Subgroups</h3>", html_tables.table(heads, lines), f"<p>{html.escape(note + few)}</p>"]


def _fairness(row: Mapping[str, Json], rows: list[dict[str, Json]]) -> list[str]:
    facts = row["fairness"]
    assert isinstance(facts, dict)
    columns, absent = facts["columns"], facts["columns_not_in_table"]
    assert isinstance(columns, list)
    assert isinstance(absent, list)
    lines: list[list[Json]] = []
    for r in rows:
        if r["column"] not in columns:
            continue
        line = [r["column"], r["level"], r["n"], r["positives"]]
        lines.append([*line, *(html_tables.interval(r[name]) or "too few" for name in _MEASURES)])
        if isinstance(minus := r["minus_reference"], dict):
            differences = [html_tables.interval(minus[name]) or "too few" for name in _MEASURES]
            lines.append(["", f"minus {r['reference']}", "", "", *differences])
    heads = ["column", "level", "cases", "events", "AUC", "sensitivity", "specificity", "calibration in the large"]
    missing = f"<p>The table does not tell: {html.escape(', '.join(map(str, absent)))}.</p>" if absent else ""
    return ["<h3>Fairness</h3>", html_tables.table(heads, lines) if lines else "", missing]


def _tests(one: Mapping[str, Json] | None) -> list[str]:
    """The two cells of a column's tests, in the row of its first level."""
    if one is None:
        return ["", ""]
    if one["why_not"]:
        return [f"not tested: {one['why_not']}", ""]
    return [_test(one["slope"]), _test(one["auc"])]


def _test(test: Json) -> str:
    assert isinstance(test, dict)
    return _p(test["p"], test["p_adjusted"]) if "p" in test else f"not tested: {test['why_not']}"


def _p(p: Json, adjusted: Json) -> str:
    return "" if p is None else f"{html_tables.number(p)} ({html_tables.number(adjusted)})"
