"""What the training data looked like, and how far a new exam lies from it.

Three views: each feature's range, a multivariate distance (Mahalanobis with Ledoit and Wolf's shrunk covariance,
divided by the square root of the number of columns) with its quantiles over held-out training cases, and facts
of the protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.signature.names import PROTOCOL
from pipeline.signature.record import Floats, Signature

# Kept for the card; a new model of a known vendor is no reason to doubt the result.
NOT_JUDGED = ("model",)


@dataclass(frozen=True)
class Outside:
    """`features` farthest out first; `share` of the signature's columns; `ratio` to the 99 % training distance."""

    features: tuple[str, ...]
    share: float
    distance: float
    ratio: float
    protocol: tuple[str, ...]

    @property
    def any(self) -> bool:
        return bool(self.features or self.protocol) or self.ratio > 1


def distances(standardised: Floats, precision: Floats) -> Floats:
    """Root mean squared Mahalanobis distance of each case (cases, p) from the training mean."""
    squared = np.einsum("ij,jk,ik->i", standardised, precision, standardised, optimize=True)
    return np.asarray(np.sqrt(np.maximum(squared, 0) / standardised.shape[1]), dtype=np.float64)


def judge(signature: Signature, raw: Floats, standardised: Floats, protocol: Mapping[str, object] | None) -> Outside:
    """Where one case (p,) lies outside what the signature was trained on."""
    low, high = signature.array("range_low"), signature.array("range_high")
    out = (raw < low) | (raw > high)
    far = sorted(np.flatnonzero(out), key=lambda j: -abs(standardised[j]))
    distance = float(distances(standardised[None, :], signature.array("precision"))[0])
    ratio = distance / signature.header.distance_quantiles["0.99"]
    names = tuple(signature.header.columns[j] for j in far)
    return Outside(names, float(out.mean()), distance, ratio, _strange_protocol(signature, protocol or {}))


def farthest(signature: Signature, standardised: Floats, count: int = 5) -> tuple[str, ...]:
    """Columns with the largest deviation from the training mean."""
    order = np.argsort(-np.abs(standardised), kind="stable")[:count]
    return tuple(signature.header.columns[j] for j in order)


def _strange_protocol(signature: Signature, protocol: Mapping[str, object]) -> tuple[str, ...]:
    """`protocol` has facts under the names of the table's columns, with or without the prefix."""
    acquired = {name.removeprefix(PROTOCOL): value for name, value in protocol.items()}
    strange = []
    for name, fact in signature.header.protocol.items():
        value = acquired.get(name)
        if value is None or value == "" or name in NOT_JUDGED:
            continue
        if fact.values and str(value).strip().lower() not in {v.lower() for v in fact.values}:
            strange.append(f"{name} {value} (trained on {', '.join(fact.values)})")
        elif fact.low is not None and fact.high is not None:
            try:
                number = float(str(value))
            except ValueError:
                strange.append(f"{name} {value} (trained on {fact.low:g} to {fact.high:g})")
                continue
            slack = 1e-6 + 0.01 * abs(fact.high)
            if not fact.low - slack <= number <= fact.high + slack:
                strange.append(f"{name} {number:g} (trained on {fact.low:g} to {fact.high:g})")
    return tuple(strange)
