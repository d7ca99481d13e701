"""From a decision value to a probability: Platt's sigmoid."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from pipeline.signature.record import Floats


def probability(decision: Floats, a: float, b: float) -> Floats:
    """Platt's sigmoid."""
    return np.asarray(expit(-(a * decision + b)), dtype=np.float64)
