"""Forest plots: the AUC of each external cohort and its sites, and of each site by a signature of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.records import Json
from pipeline.research import html_tables
from pipeline.research.evaluation import by_site, subgroups
from pipeline.research.evaluation.figures import draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Names are cut to this many characters: a plot is no place for a sentence.
LONGEST = 40


@dataclass(frozen=True)
class Row:
    """One line: a name, its cases, and value, low and high of the AUC, or (None) why there is none."""

    name: str
    cases: int
    positives: int
    auc: tuple[float, float, float] | None
    why_not: str = ""
    part: bool = False


def external(cohorts: Sequence[tuple[str, Mapping[str, Json]]]) -> list[Row]:
    """Each cohort, and below it its sites where its table names several."""
    rows = []
    for name, facts in cohorts:
        rows.append(_row(name, {**facts, "auc": {"value": facts["auc"], "ci": facts["ci"]}}))
        columns = (
            [r for r in html_tables.rows(facts.get("subgroups", [])) if r["column"] == column]
            for column in by_site.COLUMNS
        )
        sites = [r for r in next((rows for rows in columns if rows), []) if r["level"] != subgroups.NOT_TOLD]
        if len(sites) > 1:
            rows += [_row(str(r["level"]), r, part=True) for r in sites]
    return rows


def each_site_by_the_others(facts: Mapping[str, Json]) -> list[Row]:
    """The sites of leave-one-site-out."""
    return [_row(str(r["site"]), r) for r in html_tables.rows(facts["sites"])]


def plot(rows: Sequence[Row], label: str) -> str:
    """The rows from top to bottom as one `<svg>`: squares grow with the number of cases, lines are 95 % intervals."""

    def paint(axes: Axes) -> None:
        places = np.arange(len(rows))[::-1]
        largest = max(row.cases for row in rows)
        for y, row in zip(places, rows, strict=True):
            colour = "tab:grey" if row.part else "tab:blue"
            text = row.why_not
            if row.auc is not None:
                value, low, high = row.auc
                axes.plot([low, high], [y, y], color=colour, linewidth=1.5)
                area = 20 + 70 * row.cases / largest
                axes.scatter([value], [y], s=area, marker="s", color=colour, zorder=3)
                text = f"{value:.2f} ({low:.2f} to {high:.2f})"
            axes.text(1.03, y, text, va="center", transform=axes.get_yaxis_transform())
        axes.axvline(0.5, color="grey", linestyle=":")
        axes.set(xlim=(0, 1), ylim=(-0.7, len(rows) - 0.3), xlabel=label)
        axes.set_yticks(places, [_label(row) for row in rows])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)

    return draw(paint, 8.6, 0.8 + 0.3 * len(rows), text=True)


def _row(name: str, facts: Mapping[str, Json], *, part: bool = False) -> Row:
    area, why = facts["auc"], facts.get("why_not")
    counts = [int(str(facts[key])) for key in ("n", "positives")]
    if not isinstance(area, dict):
        return Row(name, counts[0], counts[1], None, str(why or ""), part)
    ends = area["ci"]
    assert isinstance(ends, list)
    low, high = (float(str(end)) for end in ends)
    return Row(name, counts[0], counts[1], (float(str(area["value"])), low, high), "", part)


def _label(row: Row) -> str:
    name = row.name if len(row.name) <= LONGEST else f"{row.name[: LONGEST - 1]}…"
    return f"{'↳ ' if row.part else ''}{name} ({row.positives} of {row.cases})"
