"""Platt's sigmoid fitted to decision values, and the cutoff: by Youden's index, a sensitivity or net benefit."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from pipeline.signature.record import Floats


def platt(decision: Floats, positive: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """`a, b` of P = 1 / (1 + exp(a f + b)), by Newton's method on Platt's smoothed targets (Platt 1999; Lin 2007).

    A slope that would turn the classes round (a > 0) is refused in favour of none: a = 0, P = the prevalence. One
    positive class everywhere means that more decision is never less probability.
    """
    n1, n0 = int(positive.sum()), int((~positive).sum())
    target = np.where(positive, (n1 + 1) / (n1 + 2), 1 / (n0 + 2))
    prevalence = float(np.log((n0 + 1) / (n1 + 1)))
    scale = float(np.abs(decision).max()) or 1.0
    a, b = _newton(decision / scale, target, prevalence)
    if a >= 0:
        mean = float(target.mean())
        return 0.0, float(np.log((1 - mean) / mean))
    return a / scale, b


def cutoff(rule: str, probabilities: Floats, positive: npt.NDArray[np.bool_]) -> float:
    """The cutoff by a rule of the settings: `youden`, `sensitivity=S` or `net-benefit=T`."""
    kind, _, number = rule.partition("=")
    if kind == "sensitivity":
        return fixed_sensitivity(probabilities, positive, float(number))
    if kind == "net-benefit":
        return best_net_benefit(probabilities, positive, float(number))
    return youden(probabilities, positive)


def fixed_sensitivity(probabilities: Floats, positive: npt.NDArray[np.bool_], least: float) -> float:
    """The highest cutoff at which at least this share of the positives is called; half-way to the next lower score."""
    calls = math.ceil(least * int(positive.sum()) - 1e-9)
    lowest = float(np.sort(probabilities[positive])[-calls])
    below = probabilities[probabilities < lowest]
    return (lowest + float(below.max())) / 2 if len(below) else lowest


def best_net_benefit(probabilities: Floats, positive: npt.NDArray[np.bool_], threshold: float) -> float:
    """The cutoff with the largest net benefit where a positive is worth threshold odds of negatives called.

    Vickers and Elkin 2006. Half-way between the two neighbouring scores, the lowest of equally good ones; above all
    scores where calling nobody is best.
    """
    order = np.unique(probabilities)
    best, chosen = 0.0, (float(order[-1]) + 1) / 2
    for i in range(len(order) - 1, -1, -1):
        called = probabilities >= order[i]
        benefit = float((called & positive).sum() - (called & ~positive).sum() * threshold / (1 - threshold))
        if benefit >= best - 1e-12:
            best, chosen = benefit, float(order[i] if i == 0 else (order[i - 1] + order[i]) / 2)
    return chosen


def youden(probabilities: Floats, positive: npt.NDArray[np.bool_]) -> float:
    """The cutoff with the largest sensitivity + specificity - 1, a case at the cutoff being positive.

    Half-way between the two neighbouring scores; the lowest of equally good ones.
    """
    order = np.unique(probabilities)
    best, chosen = -np.inf, 0.5
    for i, value in enumerate(order):
        called = probabilities >= value
        index = called[positive].mean() - called[~positive].mean()
        if index > best + 1e-12:
            best = index
            chosen = float(value if i == 0 else (order[i - 1] + value) / 2)
    return chosen


def _newton(x: Floats, target: Floats, b: float) -> tuple[float, float]:
    def loss(a: float, b: float) -> float:
        f = a * x + b
        return float(np.sum(np.logaddexp(0, -f) + target * f))

    # P = expit(-f): cross entropy = sum target*log(1+e^f) + (1-target)*log(1+e^-f) = sum log(1+e^-f) + target*f.
    a, value = 0.0, loss(0.0, b)
    for _ in range(200):
        p = expit(-(a * x + b))
        residual, weight = target - p, p * (1 - p) + 1e-12
        gradient = np.array([(residual * x).sum(), residual.sum()])
        hessian = np.array([[(weight * x * x).sum(), (weight * x).sum()], [(weight * x).sum(), weight.sum()]])
        step = np.linalg.solve(hessian + 1e-12 * np.eye(2), gradient)
        size = 1.0
        while size > 1e-10 and (new := loss(a - size * step[0], b - size * step[1])) > value - 1e-4 * size * (
            gradient @ step
        ):
            size /= 2
        if size <= 1e-10 or np.abs(gradient).max() < 1e-10:
            break
        a, b, value = a - size * float(step[0]), b - size * float(step[1]), new
    return a, b
