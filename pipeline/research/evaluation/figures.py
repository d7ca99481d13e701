"""The plots of an evaluation, as SVG text that depends on the numbers alone."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pipeline.research import metrics
from pipeline.research.evaluation import evaluate
from pipeline.research.evaluation.evaluate import Evaluation
from pipeline.research.evaluation.scored_cohort import Scored
from pipeline.research.evaluation.survival import Curve

_STYLE = {"svg.hashsalt": "axrad", "svg.fonttype": "path", "font.size": 9, "axes.spines.top": False,
          "axes.spines.right": False, "legend.frameon": False}  # fmt: skip


def draw(paint: Callable[[Any], None], width: float = 4.2, height: float = 3.6) -> str:
    """One set of axes, painted and returned as an `<svg>` element."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        paint(figure.add_subplot())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def roc(scored: Sequence[Scored]) -> str:
    """ROC curves of all cohorts."""

    def paint(axes: Any) -> None:
        for one in scored:
            table = evaluate.roc_table(one)
            found = metrics.delong(one.decisions, one.positive)
            label = f"{one.name}: {found.value:.2f} ({found.low:.2f} to {found.high:.2f})"
            axes.plot(table["false_positive_rate"], table["true_positive_rate"], label=label)
        axes.plot([0, 1], [0, 1], ":", color="grey")
        axes.set(xlabel="1 - specificity", ylabel="sensitivity", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        axes.legend(loc="lower right", title="AUC (95 % CI)")

    return draw(paint)


def precision_recall(scored: Sequence[Scored]) -> str:
    """Precision-recall curves; the dotted lines are the prevalences."""

    def paint(axes: Any) -> None:
        for one in scored:
            table = evaluate.precision_recall_table(one)
            (line,) = axes.step(table["recall"], table["precision"], where="post", label=one.name)
            axes.axhline(one.positive.mean(), linestyle=":", color=line.get_color())
        axes.set(xlabel="recall (sensitivity)", ylabel="precision (PPV)", ylim=(0, 1.02))
        axes.legend(loc="lower left")

    return draw(paint)


def calibration(one: Scored) -> str:
    """Observed against predicted, with intervals."""

    def paint(axes: Any) -> None:
        table = evaluate.calibration_table(one)
        error = [table["observed"] - table["observed_low"], table["observed_high"] - table["observed"]]
        axes.plot([0, 1], [0, 1], ":", color="grey")
        axes.errorbar(table["predicted"], table["observed"], yerr=np.maximum(error, 0), fmt="o-", capsize=2)
        axes.set(xlabel="predicted probability", ylabel="observed share", xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.set_title(one.name)

    return draw(paint)


def decision_curve(one: Scored) -> str:
    """Net benefit of acting on the signature, on everyone, on no one."""

    def paint(axes: Any) -> None:
        table = evaluate.decision_curve_table(one)
        for model, rows in table.groupby("model", sort=True):
            axes.plot(rows["threshold"], rows["net_benefit"], label=model)
        top = float(one.positive.mean())
        axes.set(
            xlabel="threshold probability", ylabel="net benefit", xlim=(0, 1), ylim=(-0.1 * top - 0.02, top + 0.03)
        )
        axes.set_title(one.name)
        axes.legend()

    return draw(paint)


def scores(one: Scored, cutoff: float) -> str:
    """Distribution of the probability in both classes; the line is the cutoff."""

    def paint(axes: Any) -> None:
        edges = np.linspace(0, 1, 21)
        axes.hist(
            [one.probabilities[~one.positive], one.probabilities[one.positive]],
            bins=edges,
            label=[one.table.negative_value, one.table.positive_value],
        )
        axes.axvline(cutoff, color="black", linestyle="--")
        axes.set(xlabel="probability of the positive class", ylabel="cases")
        axes.set_title(one.name)
        axes.legend()

    return draw(paint)


def survival_curves(curves: Sequence[Curve], title: str) -> str:
    """Kaplan and Meier's curves with their intervals."""

    def paint(axes: Any) -> None:
        for curve in curves:
            (line,) = axes.step(curve.times, curve.survival, where="post", label=curve.title)
            axes.fill_between(curve.times, curve.low, curve.high, step="post", alpha=0.15, color=line.get_color())
        axes.set(xlabel="time", ylabel="free of the event", ylim=(0, 1.02))
        axes.set_title(title)
        axes.legend()

    return draw(paint)


def nested(found: Evaluation) -> str:
    """Fold AUCs of nested cross-validation."""

    def paint(axes: Any) -> None:
        assert found.nested is not None
        values = found.nested.fold_aucs.ravel()
        axes.hist(values, bins=np.linspace(0, 1, 41), color="tab:grey")
        axes.axvline(found.nested.auc.value, color="black")
        axes.axvline(0.5, color="grey", linestyle=":")
        axes.set(xlabel="AUC of a held-out fold", ylabel="folds", xlim=(min(0.4, values.min()), 1.01))

    return draw(paint)


def of(found: Evaluation) -> dict[str, list[str]]:
    """All figures by cohort name; "" has those of all cohorts together."""
    cutoff = found.signature.header.cutoff
    drawn = {"": [roc(found.scored), precision_recall(found.scored)]}
    if found.nested is not None:
        drawn[""].append(nested(found))
    for one in found.scored:
        drawn[one.name] = [scores(one, cutoff), calibration(one), decision_curve(one)]
        if found.curves.get(one.name):
            drawn[one.name].append(survival_curves(found.curves[one.name], one.name))
    return drawn
