"""The curves of a set of predictions as tables for CSVs and plots: ROC, precision-recall, calibration, net benefit."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import pandas as pd

from pipeline.research import calibration, metrics
from pipeline.research.metrics import Bools, Patients
from pipeline.signature.record import Floats

THRESHOLDS = np.round(np.arange(0.01, 1.0, 0.01), 2)


class Predicted(Protocol):
    """Cases by patient, their classes and the probabilities they got: a cohort, or held-out cases of training."""

    @property
    def name(self) -> str: ...

    @property
    def probabilities(self) -> Floats: ...

    @property
    def positive(self) -> Bools: ...

    @property
    def patients(self) -> Patients: ...


def roc_table(decisions: Floats, positive: Bools) -> pd.DataFrame:
    """False and true positive rate at every distinct score."""
    from sklearn.metrics import roc_curve

    fpr, tpr, _ = roc_curve(positive, decisions, drop_intermediate=False)
    return pd.DataFrame({"false_positive_rate": fpr, "true_positive_rate": tpr})


def precision_recall_table(decisions: Floats, positive: Bools) -> pd.DataFrame:
    """Precision and recall at every distinct score."""
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(positive, decisions)
    return pd.DataFrame({"recall": recall, "precision": precision})


def calibration_table(cohort: Predicted, bins: int = 10) -> pd.DataFrame:
    """Observed share of the positive class, with Wilson's interval, in bins of equally many cases."""
    order = np.argsort(cohort.probabilities, kind="stable")
    rows = []
    for part in np.array_split(order, min(bins, max(1, len(order) // 5))):
        observed = metrics.share(cohort.positive[part], cohort.patients[part])
        assert observed is not None
        mean = float(cohort.probabilities[part].mean())
        rows.append((mean, observed.value, observed.low, observed.high, len(part)))
    return pd.DataFrame(rows, columns=["predicted", "observed", "observed_low", "observed_high", "n"])


def decision_curve_table(cohort: Predicted) -> pd.DataFrame:
    """Net benefit per threshold probability (Vickers and Elkin 2006), by dcurves."""
    from dcurves import dca

    data = pd.DataFrame({"outcome": cohort.positive.astype(int), "signature": cohort.probabilities})
    curve = dca(data=data, outcome="outcome", modelnames=["signature"], thresholds=THRESHOLDS)
    low, high = net_benefit_band(cohort)
    of_signature = curve["model"] == "signature"
    for column, ends in (("net_benefit_low", low), ("net_benefit_high", high)):
        band = dict(zip(np.round(THRESHOLDS, 2).tolist(), ends.tolist(), strict=True))
        curve[column] = curve["threshold"].round(2).map(band).where(of_signature)
    return curve[["model", "threshold", "net_benefit", "net_benefit_low", "net_benefit_high", "test_pos_rate"]]


def net_benefit_band(cohort: Predicted) -> tuple[Floats, Floats]:
    """The 95 % band of the net benefit at every threshold, by a bootstrap of patients."""
    each = net_benefit_of_each(cohort.probabilities, cohort.positive, THRESHOLDS)
    samples = [each[drawn].mean(axis=0) for drawn in calibration.resampled(cohort.patients)]
    low, high = np.quantile(np.array(samples), (0.025, 0.975), axis=0)
    return low, high


def net_benefit_of_each(probabilities: Floats, positive: Bools, thresholds: Floats) -> Floats:
    """What each case adds at each threshold (cases, thresholds); their mean is the net benefit."""
    acted = probabilities[:, None] >= thresholds
    each: Floats = np.where(acted, np.where(positive[:, None], 1.0, -thresholds / (1 - thresholds)), 0.0)
    return each
