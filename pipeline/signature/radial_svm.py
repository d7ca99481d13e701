"""The support vector machine with a radial kernel.

Arrays `support` (s, p), `dual` (s); constants `gamma`, `intercept`.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from pipeline.signature.model import Model
from pipeline.signature.record import Floats

ARRAYS: Final = ("support", "dual")
# Nodes of the Gauss-Legendre sum that integrates the gradient
NODES: Final = 64


def decision(model: Model, values: Floats) -> Floats:
    """Decision values of standardised cases (cases, p)."""
    return kernel(model, values) @ model.array("dual") + model.constants["intercept"]


def kernel(model: Model, values: Floats) -> Floats:
    """exp(-gamma |z - s|^2) of every case with every support vector, (cases, s)."""
    support = model.array("support")
    squared = (
        ((values[:, None, :] - support[None, :, :]) ** 2).sum(axis=2) if len(values) * support.size < 2e7 else None
    )
    if squared is None:
        squared = np.stack([((row - support) ** 2).sum(axis=1) for row in values])
    return np.asarray(np.exp(-model.constants["gamma"] * squared))


def contributions(model: Model, row: Floats) -> tuple[float, Floats]:
    """The decision at the training mean, and per column the Aumann-Shapley value on the straight line from there.

    Integrated gradients (Sundararajan 2017): exact for the path, additive, and one bounded sum (64 nodes x support
    vectors x columns), where Shapley values would need sampling.
    """
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
