"""The figures of the page. Every function returns an HTML element that needs no other file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pipeline.research.drawing import as_image, correlation_heatmap, new_figure
from pipeline.research.microenvironment.cell_tables import Cells
from pipeline.research.microenvironment.correlations import Correlations

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_UP, _DOWN, _NEITHER = "#c0392b", "#1b4f9c", "#b8b8b8"
# Of a heatmap; what has the smallest P is shown.
MOST_ROWS = 60
# Of the bar and dot plots.
MOST_TERMS = 20
_NAMED = 12
_LONGEST = 52


def volcano(table: pd.DataFrame, differing: Sequence[str], groups: tuple[str, str]) -> str:
    """Moderated P against the difference: red higher in the first group, blue lower, grey not different."""
    figure = new_figure(5.6, 4.6, layout="constrained")
    axes = figure.add_subplot()
    x = table["difference"].to_numpy()
    y = -np.log10(np.maximum(table["moderated_p"].to_numpy(), 1e-300))
    chosen = table.index.isin(differing)
    colours = ((~chosen, _NEITHER, "not different"), (chosen & (x > 0), _UP, f"higher in {groups[0]}"),
               (chosen & (x < 0), _DOWN, f"lower in {groups[0]}"))  # fmt: skip
    for which, colour, label in colours:
        axes.scatter(x[which], y[which], s=5, color=colour, label=f"{label} ({int(which.sum())})", linewidths=0)
    for gene in table.loc[chosen].nsmallest(_NAMED, "moderated_p").index:
        row = table.index.get_loc(gene)
        axes.annotate(str(gene), (x[row], y[row]), fontsize=6, xytext=(2, 2), textcoords="offset points")
    axes.axvline(0, color="#dddddd", linewidth=0.8, zorder=0)
    axes.set(xlabel=f"log2 fold change, {groups[0]} − {groups[1]}", ylabel="−log10 moderated P")
    axes.legend(fontsize=7, markerscale=2, loc="upper left", bbox_to_anchor=(0, 1.14), ncols=3, columnspacing=0.8)
    return as_image(figure, "Volcano plot of the genes")


def term_bars(table: pd.DataFrame) -> str:
    """The sets with the smallest P: bars of their genes among those that differ, higher and lower ones."""
    shown = _shown_terms(table)
    figure = new_figure(7.0, 1.2 + 0.24 * len(shown), layout="constrained")
    axes = figure.add_subplot()
    axes.barh(range(len(shown)), shown["up"], color=_UP, label="higher")
    axes.barh(range(len(shown)), shown["down"], left=shown["up"], color=_DOWN, label="lower")
    axes.plot(shown["expected"], range(len(shown)), "|", color="black", markersize=9, label="expected by chance")
    _name_terms(axes, shown)
    axes.set_xlabel("genes that differ")
    axes.legend(fontsize=7)
    return as_image(figure, "Bar plot of over-represented gene sets")


def term_dots(table: pd.DataFrame) -> str:
    """The same sets as dots: share of the set, size by the number of genes, colour by q."""
    shown = _shown_terms(table)
    figure = new_figure(7.4, 1.2 + 0.24 * len(shown), layout="constrained")
    axes = figure.add_subplot()
    dots = axes.scatter(
        shown["overlap"] / shown["size"], range(len(shown)), s=20 + 160 * shown["overlap"] / shown["overlap"].max(),
        c=shown["q"], cmap="RdBu", vmin=0, vmax=max(0.1, float(shown["q"].max())), edgecolors="#444444", linewidths=0.4,
    )  # fmt: skip
    _name_terms(axes, shown)
    axes.set_xlabel("share of the set's genes that differ; size: their number")
    figure.colorbar(dots, ax=axes, label="q", shrink=0.6)
    return as_image(figure, "Dot plot of over-represented gene sets")


def cell_bars(cells: Cells, order: Sequence[int], split: int | None, groups: tuple[str, str]) -> str:
    """Fractions of cells as stacked bars, one per patient in this order; `split`: where the second group begins."""
    import matplotlib as mpl

    figure = new_figure(9.0, 4.0, layout="constrained")
    axes = figure.add_subplot()
    colours = mpl.colormaps["tab20"](np.arange(len(cells.names)) % 20)
    values = np.nan_to_num(cells.values[list(order)])
    bottom = np.zeros(len(values))
    for j, name in enumerate(cells.names):
        hatch = "//" if j >= 20 else None
        axes.bar(range(len(values)), values[:, j], 1.0, bottom=bottom, color=colours[j], label=name, hatch=hatch)
        bottom += values[:, j]
    if split is not None:
        axes.axvline(split - 0.5, color="black", linewidth=1.2)
        for text, at in ((groups[0], split / 2), (groups[1], (split + len(values)) / 2)):
            axes.text(at, 1.02, text, ha="center", transform=axes.get_xaxis_transform(), fontsize=9)
    axes.set(xlim=(-0.5, len(values) - 0.5), ylim=(0, bottom.max() or 1), ylabel="fraction", xticks=[])
    axes.set_xlabel(f"{len(values)} patients")
    axes.legend(fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5))
    return as_image(figure, "Fractions of cells by patient")


def importance(selected: pd.DataFrame, groups: tuple[str, str]) -> str:
    """Mean decrease in Gini of the selected markers: red higher in the first group, blue lower."""
    shown = selected.iloc[::-1]
    figure = new_figure(5.0, 1.2 + 0.17 * len(shown), layout="constrained")
    axes = figure.add_subplot()
    colours = [_UP if difference > 0 else _DOWN for difference in shown["difference"]]
    axes.hlines(range(len(shown)), 0, shown["gini"], color="#dddddd", linewidth=1)
    axes.scatter(shown["gini"], range(len(shown)), c=colours, s=22, zorder=3)
    axes.set_yticks(range(len(shown)), [_short(name) for name in shown.index], fontsize=6.5)
    axes.set(xlabel="mean decrease in Gini", xlim=(0, None))
    axes.set_title(f"red: higher in {groups[0]}; blue: lower", fontsize=8)
    return as_image(figure, "Mean decrease in Gini of the selected markers")


def relations(correlations: Correlations, title: str) -> str:
    """The heatmap of one kind of markers; of many features those with the smallest P."""
    rho, p, q = (correlations.square(column) for column in ("rho", "p", "q"))
    if len(rho) > MOST_ROWS:
        best = set(p.min(axis=1).nsmallest(MOST_ROWS).index)
        rho, p, q = (frame.loc[[name for name in frame.index if name in best]] for frame in (rho, p, q))
    rho.index = pd.Index([_short(name) for name in rho.index])
    rho.columns = pd.Index([_short(name) for name in rho.columns])
    heading = f"{title} ({correlations.patients} patients)"
    return correlation_heatmap(rho, p, heading, f"Spearman correlation with {title}", q=q)


def _shown_terms(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["overlap"] > 0].head(MOST_TERMS).iloc[::-1]


def _name_terms(axes: Axes, shown: pd.DataFrame) -> None:
    several = shown["set"].nunique() > 1
    names = [f"{s}: {t}" if several else str(t) for s, t in zip(shown["set"], shown["term"], strict=True)]
    axes.set_yticks(range(len(shown)), [_short(name) for name in names], fontsize=7)


def _short(name: object) -> str:
    text = str(name)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
