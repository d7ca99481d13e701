"""The appendix's figures. Every function returns an HTML element that needs no other file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pipeline.research.appendix.calls import THRESHOLDS, Judged
from pipeline.research.drawing import as_image, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = ("#2e8b57", "#1b4f9c", "#e08e0b", "#c0392b")
_WIDTH, _GAP = 0.03, 0.04


def sankey(stages: pd.DataFrame, title: str) -> str:
    """Who is classified right: a column of bars per stage, bands between them as wide as patients are many.

    Args:
        stages: (patients, stages), text; the last stage gives the colour of a band.
    """
    figure = new_figure(8.4, 4.6, layout="constrained")
    axes = figure.add_subplot()
    colours = {group: _COLOURS[n % len(_COLOURS)] for n, group in enumerate(_order(stages.iloc[:, -1]))}
    places = [_bars(axes, stages.iloc[:, n], n, last=n == stages.shape[1] - 1) for n in range(stages.shape[1])]
    unit = (1 - _GAP * 3) / len(stages)
    last = str(stages.columns[-1])
    for n, (a, b) in enumerate(pairwise([str(c) for c in stages.columns])):
        left, right = dict(places[n]), dict(places[n + 1])
        keys = list(dict.fromkeys([a, b, last]))
        counts = stages.groupby(keys, sort=False).size()
        for key, count in sorted(
            counts.items(), key=lambda item: [_rank(stages[k], v) for k, v in zip(keys, item[0], strict=True)]
        ):
            start, end, colour = key[0], key[1], colours[key[-1]]
            height = count * unit
            _band(axes, (n + _WIDTH, left[start]), (n + 1 - _WIDTH, right[end]), height, colour)
            left[start] -= height
            right[end] -= height
    axes.set(xlim=(-0.3, stages.shape[1] - 0.7), ylim=(-0.02, 1.1))
    axes.axis("off")
    return as_image(figure, title)


def net_benefit(rows: Sequence[Judged], prevalence: float) -> str:
    """Net benefit of acting on each call at some thresholds, on everyone (dotted), and on nobody (0)."""
    figure = new_figure(6.2, 4.0, layout="constrained")
    axes = figure.add_subplot()
    for row in rows:
        axes.plot(THRESHOLDS, row.net_benefit, "--" if row.rule else "-", marker="o", markersize=3, label=row.name)
    everyone = [prevalence - (1 - prevalence) * t / (1 - t) for t in THRESHOLDS]
    axes.plot(THRESHOLDS, everyone, ":", color="black", label="everyone")
    axes.axhline(0, color="#888888", linewidth=0.8)
    axes.set_ylim(min(0, *(min(row.net_benefit) for row in rows)) - 0.03, None)
    axes.set(xlabel="threshold probability", ylabel="net benefit", xticks=THRESHOLDS)
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    return as_image(figure, "Net benefit of the calls")


def _order(column: pd.Series) -> list[str]:
    return list(dict.fromkeys(sorted(column, key=lambda value: _rank(column, value))))


def _rank(column: pd.Series, value: object) -> tuple[int, str]:
    """Both and right first, neither and wrong last."""
    text = str(value)
    first = 0 if text in ("both", "right") or text.endswith(" right") else 2 if text == "neither" else 1
    return first, text


def _bars(axes: Axes, column: pd.Series, at: int, *, last: bool) -> Mapping[str, float]:
    """Draw a stage; returns the upper end of each bar."""
    unit, top, tops = (1 - _GAP * 3) / len(column), 1.0, {}
    for value in _order(column):
        count = int((column == value).sum())
        axes.bar(at, count * unit, 2 * _WIDTH, bottom=top - count * unit, color="#444444")
        x, side = (at + _WIDTH + 0.01, "left") if last else (at - _WIDTH - 0.01, "right")
        axes.text(x, top - count * unit / 2, f"{value}\n{count}", ha=side, va="center", fontsize=8)
        tops[value] = top
        top -= count * unit + _GAP
    axes.text(at, 1.05, str(column.name), ha="center", fontsize=9, fontweight="bold")
    return tops


def _band(axes: Axes, start: tuple[float, float], end: tuple[float, float], height: float, colour: str) -> None:
    """A band from the upper end `start` to the upper end `end`."""
    t = np.linspace(0, 1, 40)
    smooth = t * t * (3 - 2 * t)
    x = start[0] + (end[0] - start[0]) * t
    y = start[1] + (end[1] - start[1]) * smooth
    axes.fill_between(x, y - height, y, color=colour, alpha=0.45, linewidth=0)
