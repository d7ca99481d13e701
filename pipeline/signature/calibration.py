"""From a decision value to a probability: Platt's sigmoid."""

from __future__ import annotations

import numpy as np

from pipeline.signature.record import Floats


def probability(decision: Floats, a: float, b: float) -> Floats:
    """Platt's sigmoid."""
    from scipy.special import expit  # here: the sweep reads signatures and loads no SciPy

    return np.asarray(expit(-(a * decision + b)), dtype=np.float64)
