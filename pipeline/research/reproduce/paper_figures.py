"""The paper's figures, drawn again. Every function returns an HTML element that needs no other file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import leaves_list, linkage

from pipeline.research import drawing
from pipeline.research.drawing import add_colour_bar, as_image, new_figure
from pipeline.research.metrics import auc
from pipeline.research.reproduce.findings import Correlation, Signature

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {"training": "#1b4f9c", "external": "#c0392b", "prospective_retrospective": "#2e8b57"}
_GROUPS = {"R": "#c0392b", "N": "#1b4f9c"}
_CURVES = {
    "Multiomic signature": ("#c0392b", "-"),
    "ALN-tumour signature": ("#1b4f9c", "-"),
    "Radiologists": ("#2e8b57", "-"),
    "Treat all": ("#888888", "--"),
    "Treat none": ("#222222", ":"),
}
_BLOCKS = ("TT1C", "TT2FS", "TADC", "LT1C", "LT2FS", "LADC")


def roc(signature: Signature, *, as_published: bool, title: str) -> str:
    """ROC curves of the three cohorts; `as_published`: validation scored with the probability of N."""
    from sklearn.metrics import roc_curve

    figure = new_figure(4.4, 4.2, layout="constrained")
    axes = figure.add_subplot()
    for name in ("training", "external", "prospective_retrospective"):
        sign = -1 if as_published and name != "training" else 1
        scores, positive = sign * signature.scores[name], signature.cohorts[name].positive
        false, true, _ = roc_curve(positive, scores)
        label = f"{name.replace('_', '–').capitalize()}: {auc(scores, positive):.2f}"
        axes.plot(false, true, color=_COLOURS[name], linewidth=1.8, label=label)
    axes.plot([0, 1], [0, 1], ":", color="grey", linewidth=1)
    axes.set(xlabel="1 − specificity", ylabel="Sensitivity", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.set_title(title, fontsize=10)
    axes.legend(loc="lower right" if as_published else "center", title="AUC", fontsize=8)
    return as_image(figure, title)


def decision_curve(curves: pd.DataFrame) -> str:
    figure = new_figure(6.2, 4.2, layout="constrained")
    axes = figure.add_subplot()
    for name, values in curves.items():
        colour, line = _CURVES[str(name)]
        axes.plot(curves.index, values, line, color=colour, linewidth=1.8 if line == "-" else 1.2, label=name)
    axes.set(xlabel="Threshold probability", ylabel="Net benefit", xlim=(0, 1), ylim=(-0.08, 0.42))
    axes.legend(fontsize=8)
    return as_image(figure, "Decision curves")


def grouped_heatmap(features: pd.DataFrame, groups: pd.Series) -> str:
    """Fig 2A: features by patients, patients sorted by node status and clustered within, features in six blocks."""
    order: list[str] = []
    for group in ("R", "N"):
        inside = features[(groups.reindex(features.index) == group).to_numpy()]
        order += list(inside.index[leaves_list(linkage(inside.to_numpy(), "complete"))])
    values = features.loc[order].T
    figure = new_figure(9.0, 6.2)
    bar = figure.add_axes((0.08, 0.945, 0.80, 0.025))
    colours = [_GROUPS[str(groups[p])] for p in order]
    bar.imshow([[_rgb(c) for c in colours]], aspect="auto")
    bar.axis("off")
    edge = sum(groups.reindex(order) == "R") / len(order)
    for name, at in (("node-positive (R)", edge / 2), ("node-negative (N)", (1 + edge) / 2)):
        figure.text(0.08 + 0.80 * at, 0.975, name, ha="center", va="bottom", fontsize=9)
    axes = figure.add_axes((0.08, 0.03, 0.80, 0.905))
    picture = axes.imshow(values.to_numpy(), aspect="auto", cmap="RdYlBu_r", vmin=-2, vmax=2, interpolation="nearest")
    _mark_blocks(axes, list(values.index))
    add_colour_bar(figure, picture, "z-score")
    return as_image(figure, "Heatmap of the 180 features by node status")


def correlation_heatmap(correlation: Correlation, marker: str) -> str:
    """Fig 5: Spearman correlation of features (rows) and markers (columns); a dot where P<0.05."""
    title, alternative = f"{marker} ({correlation.patients} patients)", f"Spearman correlation with {marker}"
    return drawing.correlation_heatmap(correlation.rho, correlation.p, title, alternative)


def _mark_blocks(axes: Axes, names: list[str]) -> None:
    blocks = [next(b for b in sorted(_BLOCKS, key=len, reverse=True) if name.startswith(b)) for name in names]
    for block in _BLOCKS:
        rows = [n for n, own in enumerate(blocks) if own == block]
        if rows:
            axes.axhline(rows[0] - 0.5, color="white", linewidth=1.2)
            axes.text(-4, float(np.mean(rows)), block, ha="right", va="center", fontsize=8)
    axes.set_xticks([])
    axes.set_yticks([])


def _rgb(colour: str) -> tuple[float, float, float]:
    from matplotlib.colors import to_rgb

    return to_rgb(colour)
