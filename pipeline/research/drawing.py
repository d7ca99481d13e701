"""Figures as HTML elements that need no other file."""

from __future__ import annotations

import base64
import io
import warnings
from typing import TYPE_CHECKING, Any  # Any: arguments of matplotlib's Figure, each of its own type

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import dendrogram, leaves_list, linkage

if TYPE_CHECKING:
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

_STYLE = {"font.family": "DejaVu Sans", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False,
          "legend.frameon": False, "text.parse_math": False}  # fmt: skip


def new_figure(width: float, height: float, **how: Any) -> Figure:
    """An empty figure, width and height in inches; `how` goes to matplotlib."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as NewFigure

    mpl.rcParams.update(_STYLE)
    figure = NewFigure(figsize=(width, height), dpi=130, **how)
    FigureCanvasAgg(figure)
    return figure


def as_image(figure: Figure, alternative: str) -> str:
    """The figure as an `<img>` that holds its PNG; `alternative` is its alternative text."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # Letters that the font lacks are drawn as boxes.
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font")
        figure.savefig(buffer, format="png", metadata={"Software": None})
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{alternative}" src="data:image/png;base64,{data}">'


def clustered_heatmap(features: pd.DataFrame, title: str) -> str:
    """Fig 4: features by patients, both clustered (complete linkage, Euclidean), with their trees."""
    values = features.T
    rows, columns = (linkage(table, "complete") for table in (values.to_numpy(), values.to_numpy().T))
    figure = new_figure(5.4, 6.4)
    for tree, place, side in ((rows, (0.02, 0.03, 0.12, 0.83), "left"), (columns, (0.15, 0.87, 0.70, 0.10), "top")):
        axes = figure.add_axes(place)
        dendrogram(tree, ax=axes, orientation=side, no_labels=True, color_threshold=0, above_threshold_color="#333333")
        for line in axes.collections:
            line.set_linewidth(0.5)
        axes.axis("off")
    axes = figure.add_axes((0.15, 0.03, 0.70, 0.83))
    shown = values.to_numpy()[leaves_list(rows)[::-1]][:, leaves_list(columns)]
    picture = axes.imshow(shown, aspect="auto", cmap="RdYlBu_r", vmin=-2, vmax=2, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    add_colour_bar(figure, picture, "z-score")
    return as_image(figure, title)


def correlation_heatmap(
    rho: pd.DataFrame, p: pd.DataFrame, title: str, alternative: str, *, q: pd.DataFrame | None = None
) -> str:
    """Fig 5: Spearman correlations of features (rows) with markers (columns).

    A dot where P < 0.05; with `q`, a ring where q < 0.05.
    """
    figure = new_figure(3.6 + 0.19 * rho.shape[1], 1.8 + 0.14 * rho.shape[0], layout="constrained")
    axes = figure.add_subplot()
    limit = max(0.5, float(np.nanmax(np.abs(rho.to_numpy()), initial=0)) if q is not None else 0.5)
    picture = axes.imshow(rho.to_numpy(), aspect="auto", cmap="RdBu_r", vmin=-limit, vmax=limit)
    ink = np.where(np.abs(rho.to_numpy()) > 0.6 * limit, "white", "black")
    y, x = np.nonzero(p.to_numpy() < 0.05)
    axes.scatter(x, y, s=3, color=ink[y, x])
    if q is not None:
        y, x = np.nonzero(q.to_numpy() < 0.05)
        axes.scatter(x, y, s=28, facecolors="none", edgecolors=ink[y, x], linewidths=0.8)
    axes.set_xticks(range(rho.shape[1]), rho.columns, rotation=90, fontsize=6)
    axes.set_yticks(range(rho.shape[0]), rho.index, fontsize=5.5)
    axes.set_title(title, fontsize=10)
    figure.colorbar(picture, ax=axes, shrink=0.5, label="Spearman ρ")
    return as_image(figure, alternative)


def add_colour_bar(figure: Figure, picture: ScalarMappable, label: str) -> None:
    """The scale of a picture's colours, at the right edge of the figure."""
    axes = figure.add_axes((0.90, 0.38, 0.02, 0.26))
    figure.colorbar(picture, cax=axes, label=label)
