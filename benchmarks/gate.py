"""How often noise passes the gate to activation, and how often the AUC's interval holds the truth.

Scores of two normal classes of equal variance, `DRAWS` cohorts per row. `gate.noise_passes…`: the share of cohorts at a
true AUC of 0.5 that the gate calls evidence if it had no minimum of cases (with it, below 10 per class nothing passes).
`gate.coverage…`: the share of intervals that hold the true AUC. `ours` is the share, `reference` the bound (at most
2.5 %, at least 93 %), `within` whether it is kept to within three Monte Carlo errors. DeLong's interval beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from scipy import stats

from pipeline.research import metrics
from pipeline.signature import gate

SIZES = ((5, 5), (5, 50), (10, 10), (20, 20), (34, 11), (50, 50))
AREAS = (0.5, 0.7, 0.8, 0.9, 0.95)
DRAWS, NOISE, COVERED = 4000, 0.025, 0.93


def run(draws: int = DRAWS) -> Iterator[dict[str, object]]:
    """A row per size for noise, and one per size and true AUC for coverage."""
    rng = np.random.default_rng(20060559)
    for positives, negatives in SIZES:
        positive = np.arange(positives + negatives) < positives
        for area in AREAS:
            shift = math.sqrt(2) * float(stats.norm.ppf(area))
            passed, held, by_delong = 0, 0, 0
            for _ in range(draws):
                scores = rng.normal(size=len(positive)) + shift * positive
                found, delong = gate.discrimination(scores, positive), metrics.delong(scores, positive)
                passed += gate.verdict(found, minimum_per_class=1) == gate.AS_TRAINED
                held += found.low <= area <= found.high
                by_delong += delong.low <= area <= delong.high
            size = f"{positives}+{negatives}"
            if area == 0.5:
                yield _row(f"gate.noise_passes.{size}", passed / draws, NOISE, draws, most=True)
            row = _row(f"gate.coverage.{size}.auc_{area:g}", held / draws, COVERED, draws, most=False)
            yield row | {"delong": by_delong / draws}


def _row(name: str, share: float, bound: float, draws: int, *, most: bool) -> dict[str, object]:
    error = 3 * math.sqrt(bound * (1 - bound) / draws)
    return {
        "name": name,
        "ours": share,
        "reference": bound,
        "unit": "share",
        "ratio": share / bound,
        "max_rel_diff": abs(share - bound) / bound,
        "within": share <= bound + error if most else share >= bound - error,
    }
