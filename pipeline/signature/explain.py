"""What each column did to one decision, in units of the decision function.

Logistic: weight times standardised value, exact. SVM with a radial kernel: the Aumann-Shapley value (integrated
gradients, Sundararajan 2017) along the straight line from the training mean: exact for the path, additive, and one
bounded sum (64 Gauss-Legendre nodes x support vectors x columns), where Shapley values would need sampling. Trees:
the change of node value along the paths. All three: contributions + baseline = decision.
"""

from __future__ import annotations

import numpy as np

from pipeline.signature import trees
from pipeline.signature.classifiers import Model
from pipeline.signature.record import Floats

NODES = 64


def contributions(model: Model, row: Floats) -> tuple[float, Floats]:
    """Baseline and contribution per column of one standardised case (p,)."""
    if model.kind == "svm":
        return _svm(model, row)
    if model.kind == "logistic":
        return model.constants["intercept"], model.array("weights") * row
    base, steps = trees.path_contributions(model.arrays, row)
    return base * model.constants["scale"] + model.constants["intercept"], steps * model.constants["scale"]


def _svm(model: Model, row: Floats) -> tuple[float, Floats]:
    support, dual, gamma = model.array("support"), model.array("dual"), model.constants["gamma"]
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    t, w = (nodes + 1) / 2, weights / 2
    # |t x - s|^2 = t^2 |x|^2 - 2 t x.s + |s|^2, per node and support vector
    squared = t[:, None] ** 2 * (row @ row) - 2 * t[:, None] * (support @ row) + (support**2).sum(axis=1)
    pull = w[:, None] * np.exp(-gamma * squared) * dual
    # The gradient of the decision at t x is -2 gamma sum_i dual_i (t x - s_i) K_i(t); its mean over t times x.
    mean_gradient = -2 * gamma * ((t @ pull).sum() * row - pull.sum(axis=0) @ support)
    baseline = float(np.exp(-gamma * (support**2).sum(axis=1)) @ dual + model.constants["intercept"])
    return baseline, row * mean_gradient


def by_variable(columns: tuple[str, ...], values: Floats) -> dict[str, float]:
    """Contributions with the columns of one category added up under its name."""
    sums: dict[str, float] = {}
    for column, value in zip(columns, values.tolist(), strict=True):
        name = column.split("=")[0] if "=" in column else column
        sums[name] = sums.get(name, 0.0) + value
    return sums
