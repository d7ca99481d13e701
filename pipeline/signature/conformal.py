"""A class-conditional conformal band: in which classes may this case be, at a set error rate for each class?

Calibration scores are the out-of-fold probabilities of the training cases, so coverage is that of cross-conformal
prediction (Vovk 2015): 1 - alpha holds closely, not exactly, and only for exams like those of training.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.signature.record import Floats, Signature


@dataclass(frozen=True)
class Band:
    """The positive class is possible from `lowest_positive` up, the negative class up to `highest_negative`."""

    alpha: float
    lowest_positive: float
    highest_negative: float

    @property
    def edges(self) -> tuple[float, float]:
        """Strictly below the first only the negative class is possible, strictly above the second only the positive."""
        return min(self.lowest_positive, self.highest_negative), max(self.lowest_positive, self.highest_negative)

    def classes(self, probability: float) -> tuple[bool, bool]:
        """(positive possible, negative possible)."""
        return probability >= self.lowest_positive, probability <= self.highest_negative


def cases_needed(alpha: float) -> int:
    """Calibration cases per class below which no set could ever leave a class out."""
    return math.ceil(1 / alpha - 1e-9) - 1


def band(signature: Signature, alpha: float) -> Band | str:
    """The band at `alpha`, or the sentence that says why there is none."""
    positive, negative = signature.array("oof_positive"), signature.array("oof_negative")
    if signature.header.calibration.method == "paper":
        return "no conformal band: this signature has no out-of-fold scores (recipe paper)"
    needed = cases_needed(alpha)
    for scores, name in ((positive, "positive"), (negative, "negative")):
        if len(scores) < needed:
            return f"no conformal band at error rate {alpha:g}: {len(scores)} {name} cases, {needed} are needed"
    return Band(alpha, _kth(positive, alpha), -_kth(-negative[::-1], alpha))


def _kth(ascending: Floats, alpha: float) -> float:
    """The k-th smallest score: p value (1 + #{scores <= s}) / (n + 1) exceeds alpha from there up."""
    k = math.floor(alpha * (len(ascending) + 1) + 1e-9)
    return float(ascending[k - 1])
