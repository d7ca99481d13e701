"""The plots of an evaluation, as SVG text that depends on the numbers alone."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline.research import calibration as calibration_of
from pipeline.research import metrics
from pipeline.research.evaluation import curves
from pipeline.research.evaluation.evaluate import Evaluation
from pipeline.research.evaluation.scored_cohort import Scored
from pipeline.research.evaluation.survival import Curve
from pipeline.signature.record import TopChoice

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STYLE = {"svg.hashsalt": "axrad", "svg.fonttype": "path", "font.size": 9, "axes.spines.top": False,
          "axes.spines.right": False, "legend.frameon": False, "text.parse_math": False}  # fmt: skip


def draw(paint: Callable[[Axes], None], width: float = 4.2, height: float = 3.6, *, text: bool = False) -> str:
    """One set of axes, painted and returned as an `<svg>` element, width and height in inches.

    `text`: letters stay text, which the browser draws in a font that has them: for names from a table.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context({**_STYLE, **({"svg.fonttype": "none"} if text else {})}), warnings.catch_warnings():
        # Letters that matplotlib's own font lacks are measured as boxes.
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font")
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        paint(figure.add_subplot())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    document = buffer.getvalue()
    return document[document.index("<svg") :]


def roc(scored: Sequence[Scored]) -> str:
    """ROC curves of all cohorts."""

    def paint(axes: Axes) -> None:
        for cohort in scored:
            table = curves.roc_table(cohort.decisions, cohort.positive)
            area = metrics.newcombe(cohort.decisions, cohort.positive, cohort.patients)
            label = f"{cohort.name}: {area.value:.2f} ({area.low:.2f} to {area.high:.2f})"
            axes.plot(table["false_positive_rate"], table["true_positive_rate"], label=label)
        axes.plot([0, 1], [0, 1], ":", color="grey")
        axes.set(xlabel="1 - specificity", ylabel="sensitivity", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        axes.legend(loc="lower right", title="AUC (95 % CI)")

    return draw(paint)


def precision_recall(scored: Sequence[Scored]) -> str:
    """Precision-recall curves; the dotted lines are the prevalences."""

    def paint(axes: Axes) -> None:
        for cohort in scored:
            table = curves.precision_recall_table(cohort.decisions, cohort.positive)
            (line,) = axes.step(table["recall"], table["precision"], where="post", label=cohort.name)
            axes.axhline(cohort.positive.mean(), linestyle=":", color=line.get_color())
        axes.set(xlabel="recall (sensitivity)", ylabel="precision (PPV)", ylim=(0, 1.02))
        axes.legend(loc="lower left")

    return draw(paint)


def calibration(cohort: curves.Predicted) -> str:
    """Observed against predicted: a smooth curve with its band, and groups of equally many cases with intervals."""

    def paint(axes: Axes) -> None:
        table = curves.calibration_table(cohort)
        error = [table["observed"] - table["observed_low"], table["observed_high"] - table["observed"]]
        axes.plot([0, 1], [0, 1], ":", color="grey")
        curve = calibration_of.smooth_curve(cohort.probabilities, cohort.positive, cohort.patients)
        axes.plot(curve["predicted"], curve["observed"])
        axes.fill_between(curve["predicted"], curve["observed_low"], curve["observed_high"], alpha=0.2)
        axes.errorbar(
            table["predicted"], table["observed"], yerr=np.maximum(error, 0), fmt="o", capsize=2, color="grey"
        )
        axes.set(xlabel="predicted probability", ylabel="observed share", xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.set_title(cohort.name)

    return draw(paint)


def decision_curve(cohort: curves.Predicted) -> str:
    """Net benefit of acting on the signature, on everyone, on no one."""

    def paint(axes: Axes) -> None:
        table = curves.decision_curve_table(cohort)
        for model, rows in table.groupby("model", sort=True):
            (line,) = axes.plot(rows["threshold"], rows["net_benefit"], label=model)
            if model == "signature":
                low, high = rows["net_benefit_low"], rows["net_benefit_high"]
                axes.fill_between(rows["threshold"], low, high, alpha=0.2, color=line.get_color())
        top = float(cohort.positive.mean())
        axes.set(
            xlabel="threshold probability", ylabel="net benefit", xlim=(0, 1), ylim=(-0.1 * top - 0.02, top + 0.03)
        )
        axes.set_title(cohort.name)
        axes.legend()

    return draw(paint)


def scores(cohort: Scored, cutoff: float) -> str:
    """Distribution of the probability in both classes; the line is the cutoff."""

    def paint(axes: Axes) -> None:
        edges = np.linspace(0, 1, 21)
        axes.hist(
            [cohort.probabilities[~cohort.positive], cohort.probabilities[cohort.positive]],
            bins=edges.tolist(),
            label=[cohort.table.negative_value, cohort.table.positive_value],
        )
        axes.axvline(cutoff, color="black", linestyle="--")
        axes.set(xlabel="probability of the positive class", ylabel="cases")
        axes.set_title(cohort.name)
        axes.legend()

    return draw(paint)


def survival_curves(estimates: Sequence[Curve], title: str) -> str:
    """Kaplan and Meier's curves with their intervals."""

    def paint(axes: Axes) -> None:
        for curve in estimates:
            (line,) = axes.step(curve.times, curve.survival, where="post", label=curve.title)
            axes.fill_between(curve.times, curve.low, curve.high, step="post", alpha=0.15, color=line.get_color())
        axes.set(xlabel="time", ylabel="free of the event", ylim=(0, 1.02))
        axes.set_title(title)
        axes.legend()

    return draw(paint)


def nested(evaluation: Evaluation) -> str:
    """Fold AUCs of nested cross-validation."""

    def paint(axes: Axes) -> None:
        assert evaluation.nested is not None
        values = evaluation.nested.fold_aucs.ravel()
        axes.hist(values, bins=np.linspace(0, 1, 41).tolist(), color="tab:grey")
        axes.axvline(evaluation.nested.auc.value, color="black")
        axes.axvline(0.5, color="grey", linestyle=":")
        axes.set(xlabel="AUC of a held-out fold", ylabel="folds", xlim=(min(0.4, values.min()), 1.01))

    return draw(paint)


def top_choice(choice: TopChoice) -> str:
    """Out-of-fold AUC against the number of features per group, and the number that was chosen."""

    def paint(axes: Axes) -> None:
        axes.plot([int(top) for top in choice.auc], list(choice.auc.values()), marker="o", color="tab:grey")
        axes.axvline(choice.top, color="black", linestyle=":")
        axes.set(xlabel="features per group", ylabel="out-of-fold AUC in training", xscale="log")

    return draw(paint)


# Where the plots of nested cross-validation are in `all_figures`: no cohort has such a name.
NESTED = "\0nested"


def all_figures(evaluation: Evaluation) -> dict[str, list[str]]:
    """All figures by cohort name; those of all cohorts together under "", of held-out cases under `NESTED`."""
    cutoff = evaluation.signature.header.cutoff
    judged = [cohort for cohort in evaluation.scored if not cohort.training]
    plots: dict[str, list[str]] = {"": [roc(judged), precision_recall(judged)] if judged else []}
    if (choice := evaluation.signature.header.top_choice) is not None:
        plots[""].append(top_choice(choice))
    if evaluation.nested is not None:
        plots[NESTED] = [nested(evaluation), calibration(evaluation.nested), decision_curve(evaluation.nested)]
    for cohort in evaluation.scored:
        plots[cohort.name] = [scores(cohort, cutoff)]
        if not cohort.training:
            plots[cohort.name] += [calibration(cohort), decision_curve(cohort)]
        if evaluation.curves.get(cohort.name):
            plots[cohort.name].append(survival_curves(evaluation.curves[cohort.name], cohort.name))
    return plots
